"""From events to acknowledged messages: on Kafka, or in memory for tests. One suite of tests runs over both."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from confluent_kafka import KafkaError, Message, Producer

from producers.kafka import chosen_partition, message, producer_settings
from producers.topic_check import TopicCheck
from schemas.codec import Codec
from schemas.events import FeedbackEvent
from schemas.topics import Topic
from thumbstream.telemetry import Metrics, die

Outcomes = list[str | None]
_FULL = "the backlog of unacknowledged events is full"
_LATE = "the broker did not acknowledge in time"
_POLL_SECONDS = 0.2


class Publisher(Protocol):
    """Where the gateway puts events."""

    async def publish(self, events: Sequence[FeedbackEvent]) -> Outcomes:
        """Per event None once it is durable, or why nothing is known of it. Answers within 10 s, whatever happens.

        Raises ValueError or TypeError, and publishes nothing, when an event does not fit its schema.
        """
        ...

    async def trouble(self) -> str | None:
        """Why events cannot be published at this moment, asked of the broker; None when all is well."""
        ...

    async def close(self) -> None:
        """Wait for what is on its way, then stop."""
        ...


class MemoryPublisher:
    """Keeps messages in `messages` as (key, value) and acknowledges at once; `down` says why it does not."""

    def __init__(self, *, backlog: int = 20_000) -> None:
        self.messages: list[tuple[bytes, bytes]] = []
        self.down: str | None = None
        self._backlog = backlog
        self._codec = Codec()

    async def publish(self, events: Sequence[FeedbackEvent]) -> Outcomes:
        """As the protocol says."""
        messages = [message(self._codec, event) for event in events]
        if len(events) > self._backlog:
            return [_FULL] * len(events)
        if self.down is None:
            self.messages.extend(messages)
        return [self.down] * len(events)

    async def trouble(self) -> str | None:
        """As the protocol says."""
        return self.down

    async def close(self) -> None:
        """As the protocol says."""
        self.down = "closed"


class _Batch:
    """The events of one `publish` and the future that waits for all of them."""

    __slots__ = ("_left", "_lock", "future", "outcomes", "size")

    def __init__(self, future: asyncio.Future[Outcomes], count: int, size: int) -> None:
        self.future, self.size = future, size
        self.outcomes: Outcomes = [None] * count
        self._left = count
        self._lock = threading.Lock()  # the event loop and the polling thread both settle

    def settle(self, index: int, problem: str | None) -> bool:
        """Note one event's outcome; true when it was the last one that was open."""
        with self._lock:
            self.outcomes[index] = problem
            self._left -= 1
            return self._left == 0


class KafkaPublisher:
    """One producer and one thread that polls it. Made and used on one event loop.

    The backlog is bounded in messages and bytes: beyond it `publish` answers at once that nothing is promised.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: Topic,
        metrics: Metrics,
        *,
        extra: Mapping[str, Any] | None = None,
        backlog: int = 20_000,
        backlog_bytes: int = 64 << 20,
        answer_seconds: float = 9.0,
        on_fatal: Callable[[str], object] = die,
    ) -> None:
        """`extra` are settings passed through to the client; `on_fatal` ends the process: its producer is of no use."""
        self._topic, self._partitions, self._metrics, self._codec = topic.name, topic.partitions, metrics, Codec()
        self._backlog, self._backlog_bytes, self._answer_seconds = backlog, backlog_bytes, answer_seconds
        self._messages = self._bytes = 0  # the backlog; touched by the event loop only
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_fatal = on_fatal
        self._done: list[_Batch] = []  # touched by the polling thread only
        self._check = TopicCheck(bootstrap, topic, metrics, extra or {})
        self._producer = Producer(
            producer_settings(
                bootstrap,
                extra or {},
                {
                    "queue.buffering.max.messages": 2 * backlog,
                    "queue.buffering.max.kbytes": 2 * backlog_bytes // 1024,
                    "error_cb": self._client_error,
                    "logger": logging.getLogger("producers.kafka"),
                },
            )
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka-acknowledgements", daemon=True)
        self._thread.start()

    async def publish(self, events: Sequence[FeedbackEvent]) -> Outcomes:
        """As the protocol says."""
        messages = [message(self._codec, event) for event in events]
        size = sum(len(key) + len(value) for key, value in messages)
        if self._messages + len(messages) > self._backlog or self._bytes + size > self._backlog_bytes:
            return [_FULL] * len(messages)
        if not messages:
            return []
        self._loop = asyncio.get_running_loop()
        batch = _Batch(self._loop.create_future(), len(messages), size)
        self._held(len(messages), size)
        started = time.monotonic()
        for index, (key, value) in enumerate(messages):
            self._produce(batch, index, key, value, chosen_partition(events[index], self._partitions))
        del messages, key, value  # the client has its own copy, and a dead broker makes the wait long
        outcomes = await self._outcomes(batch)
        self._metrics.observe("acknowledge_seconds", time.monotonic() - started)
        return outcomes

    def _produce(self, batch: _Batch, index: int, key: bytes, value: bytes, partition: int) -> None:
        delivered = partial(self._delivered, batch, index)
        try:
            self._producer.produce(self._topic, value, key, partition, on_delivery=delivered)
        except Exception as problem:  # noqa: BLE001 - a full queue or a fatal client: in any case it is not durable
            if batch.settle(index, str(problem)):
                self._finish([batch])

    async def _outcomes(self, batch: _Batch) -> Outcomes:
        try:
            async with asyncio.timeout(self._answer_seconds):
                return await batch.future
        except TimeoutError:
            return [_LATE] * len(batch.outcomes)

    def _held(self, messages: int, size: int) -> None:
        self._messages += messages
        self._bytes += size
        self._metrics.set("publish_backlog", self._messages)

    def _finish(self, batches: list[_Batch]) -> None:
        """On the event loop: give the room back and wake whoever waits."""
        for batch in batches:
            self._held(-len(batch.outcomes), -batch.size)
            if not batch.future.done():
                batch.future.set_result(batch.outcomes)

    def _poll(self) -> None:
        """The polling thread: one hop to the event loop a round, however many events were acknowledged in it."""
        while not self._stopping.is_set():
            self._producer.poll(_POLL_SECONDS)
            self._hop()

    def _hop(self) -> None:
        done, self._done = self._done, []
        if done and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._finish, done)

    def _delivered(self, batch: _Batch, index: int, error: KafkaError | None, _: Message) -> None:
        if batch.settle(index, None if error is None else error.str()):
            self._done.append(batch)

    def _client_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._on_fatal(f"the Kafka producer cannot go on: {error.str()}")

    async def trouble(self) -> str | None:
        """As the protocol says; asked at most once a second."""
        return await self._check.trouble()

    async def close(self) -> None:
        """As the protocol says."""
        await asyncio.to_thread(self._drain)
        await asyncio.sleep(0)  # lets the last acknowledgements reach those who wait
        self._check.close()

    def _drain(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._producer.flush(self._answer_seconds)
        self._hop()
