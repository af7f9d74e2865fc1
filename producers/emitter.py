"""For services that publish feedback themselves: the same checks, keys, partitions and bytes as the gateway's."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

import uuid_utils
from confluent_kafka import KafkaError, Message, Producer

from producers.kafka import message, producer_settings
from producers.validation import RefusedError, parse_event
from schemas.codec import Codec
from schemas.constraints import Violation, violation
from schemas.events import AMEND, FeedbackEvent
from schemas.topics import Topics

_DELIVERY_MS = 120_000
_WAIT_SECONDS = 0.1


class UndeliveredError(RuntimeError):
    """Events that the broker did not acknowledge; `event_ids` in the order of sending. Sending them again is safe."""

    def __init__(self, event_ids: list[str]) -> None:
        shown = ", ".join(event_ids[:10]) + (", ..." if len(event_ids) > 10 else "")
        super().__init__(f"{len(event_ids)} events are not acknowledged: {shown}")
        self.event_ids = event_ids


class Emitter:
    """Publishes one tenant's events. `send` queues, `flush` waits; the end of a `with` block flushes. Thread-safe.

    Every event gets an id and a time, if it has none, so that the client's own retries are harmless. To send an event
    again yourself, give the same `event_id` and the same `event_time`.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        tenant_id: str,
        *,
        topics: Topics | None = None,
        source: str = "emitter",
        kafka: Mapping[str, Any] | None = None,
        queue: int = 10_000,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        new_id: Callable[[], str] = lambda: str(uuid_utils.uuid7()),
    ) -> None:
        """`kafka` is passed through to the client; `queue` bounds the unacknowledged events; `clock` gives epoch ms."""
        self._topic = (topics or Topics()).events.name
        self._tenant_id, self._source, self._clock, self._new_id = tenant_id, source, clock, new_id
        self._codec = Codec()
        self._numbers = itertools.count()
        self._open: dict[int, str] = {}  # number of a send -> event id
        self._failed: dict[int, str] = {}
        self._lock = threading.Lock()
        own = {
            "queue.buffering.max.messages": queue,
            "delivery.timeout.ms": _DELIVERY_MS,
            "logger": logging.getLogger("producers.kafka"),
        }
        self._producer = Producer(producer_settings(bootstrap_servers, kafka or {}, own))

    def send(self, event: Mapping[str, Any] | FeedbackEvent) -> str:
        """Queue one event, in the native form or as a record, and give its id.

        Waits while the queue is full. RefusedError, or another ValueError where a text is not Unicode, for an event
        that breaks a rule: nothing is sent then.
        """
        complete = self._record(event) if isinstance(event, FeedbackEvent) else self._parsed(event)
        key, value = message(self._codec, complete)
        number = next(self._numbers)
        with self._lock:
            self._open[number] = complete.event_id
        while not self._produced(number, key, value):
            self._producer.poll(_WAIT_SECONDS)
        self._producer.poll(0)
        return complete.event_id

    def _produced(self, number: int, key: bytes, value: bytes) -> bool:
        """False while the queue is full."""
        try:
            self._producer.produce(self._topic, value, key, on_delivery=partial(self._delivered, number))
        except BufferError:
            return False
        except BaseException:
            with self._lock:
                del self._open[number]
            raise
        return True

    def _parsed(self, value: object) -> FeedbackEvent:
        fields = dict(value) if isinstance(value, Mapping) else value
        if isinstance(fields, dict) and fields.get("event_time") is None:
            fields["event_time"] = self._clock()
        return parse_event(
            fields, tenant_id=self._tenant_id, source=self._source, new_id=self._new_id, received_at=None
        )

    def _record(self, event: FeedbackEvent) -> FeedbackEvent:
        if event.tenant_id not in ("", self._tenant_id):
            raise RefusedError(Violation("tenant_id", "forbidden", f"this emitter sends for {self._tenant_id} only"))
        if event.kind == AMEND:
            raise RefusedError(Violation("kind", "unknown_kind", "only a gateway can know which feedback ids are real"))
        complete = replace(
            event,
            tenant_id=self._tenant_id,
            event_id=event.event_id or self._new_id(),
            event_time=self._clock() if event.event_time is None else event.event_time,
            source=event.source or self._source,
        )
        found = violation(complete)
        if found is not None:
            raise RefusedError(found)
        return complete

    def _delivered(self, number: int, error: KafkaError | None, _: Message) -> None:
        with self._lock:
            event_id = self._open.pop(number)
            if error is not None:
                self._failed[number] = event_id

    def flush(self, timeout: float = 30.0) -> None:
        """Wait until everything sent is acknowledged, at most `timeout` seconds.

        UndeliveredError names what failed since the last flush and what is still open; the latter may yet arrive.
        """
        self._producer.flush(timeout)
        with self._lock:
            missing = {**self._failed, **self._open}
            self._failed = {}
        if missing:
            raise UndeliveredError([missing[number] for number in sorted(missing)])

    def __enter__(self) -> Emitter:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Flush. An error that is on its way already is not replaced by ours."""
        try:
            self.flush()
        except UndeliveredError as undelivered:
            if error is None:
                raise
            error.add_note(str(undelivered))
