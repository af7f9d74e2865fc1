"""Services that publish to the topic themselves: an emitter, a careless one, and one that uses transactions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException, Message, Producer

from producers.emitter import Emitter, UndeliveredError
from producers.kafka import message
from producers.validation import parse_event
from schemas.codec import Codec
from schemas.events import FeedbackEvent, Progress
from schemas.topics import partition_of
from tests.chaos.stack.ledger import Ledger, Promise
from tests.chaos.stack.plan import PARTITIONS, PREFIX, TENANTS
from tests.chaos.stack.voices import Voices
from tests.chaos.traffic import EXPECTED

_EVENTS = f"{PREFIX}events"
_QUIET = logging.getLogger("chaos.kafka")
_QUIET.setLevel(logging.CRITICAL)  # a client tells of every broker that dies, and here they die
_POISON = 0.04  # share of the careless one's records; about 1 % of all direct ones


def _promise(event: FeedbackEvent) -> Promise:
    return Promise(event.tenant_id, event.request_id, event.event_id)


class Publisher(threading.Thread):
    """Something that happens at a rate until `halt`, then `finish`. What it raises is wondered about."""

    def __init__(self, bootstrap: str, voices: Voices, ledger: Ledger, rate: float) -> None:
        super().__init__(name=type(self).__name__.lower(), daemon=True)
        self._servers, self._voices, self._ledger, self._rate = bootstrap, voices, ledger, rate
        self._halt = threading.Event()
        self._began = time.monotonic()

    def halt(self) -> None:
        """No new records from now on; join the thread to see all acknowledged."""
        self._halt.set()

    def run(self) -> None:
        try:
            while not self._halt.wait(self._voices.dice.expovariate(self._rate)):
                self.act()
            self.finish()
        except Exception as failure:  # noqa: BLE001 - the judge is told
            self._ledger.wonder(f"{self.name} ended: {failure!r}")

    def act(self) -> None:
        """One thing."""
        raise NotImplementedError

    def finish(self) -> None:
        """Whatever must be said before the end."""

    def event(self) -> FeedbackEvent:
        """An event with id and time."""
        now = time.time_ns() // 1_000_000
        tenant, said = self._voices.event(time.monotonic() - self._began, now, named=True)
        return parse_event(said, tenant_id=tenant, source="direct", new_id=str, received_at=None)

    def _producer(self, settings: Mapping[str, Any]) -> Producer:
        fixed = {"partitioner": "murmur2_random", "acks": "all", "enable.idempotence": True, "linger.ms": 5}
        return Producer({"bootstrap.servers": self._servers, **fixed, **settings, "logger": _QUIET})


class Service(Publisher):
    """Uses the emitter; events that were not acknowledged are sent again, with the same ids and times."""

    def __init__(self, bootstrap: str, voices: Voices, ledger: Ledger, rate: float) -> None:
        super().__init__(bootstrap, voices, ledger, rate)
        self._emitters = {tenant: Emitter(bootstrap, tenant, kafka={"logger": _QUIET}) for tenant in TENANTS}
        self._open: dict[str, FeedbackEvent] = {}

    def act(self) -> None:
        event = self.event()
        self._open[event.event_id] = event
        self._emitters[event.tenant_id].send(event)
        if len(self._open) >= 20:
            self._settle(10.0)

    def finish(self) -> None:
        while self._open:
            self._settle(60.0)

    def _settle(self, seconds: float) -> None:
        missing: set[str] = set()
        for emitter in self._emitters.values():
            try:
                emitter.flush(seconds)
            except UndeliveredError as undelivered:
                missing.update(undelivered.event_ids)
        done = [event for event_id, event in self._open.items() if event_id not in missing]
        self._ledger.acknowledge([_promise(event) for event in done], "emitter")
        self._open = {event_id: event for event_id, event in self._open.items() if event_id in missing}
        for event in self._open.values():
            self._ledger.count("emitter sends again")
            self._emitters[event.tenant_id].send(event)


class Careless(Publisher):
    """Mostly good records, some of them twice, and poison: unreadable, forbidden, or in a wrong place."""

    def __init__(self, bootstrap: str, voices: Voices, ledger: Ledger, rate: float) -> None:
        super().__init__(bootstrap, voices, ledger, rate)
        self._kafka, self._codec = self._producer({"message.timeout.ms": 60_000}), Codec()

    def act(self) -> None:
        dice, event = self._voices.dice, self.event()
        key, value = message(self._codec, event)
        if dice.random() < _POISON:
            self._poison(event, key, value)
        else:
            for _ in range(1 + (dice.random() < 0.05)):
                self._produce(key, value, on_delivery=lambda error, _: self._delivered(event, error))
        self._kafka.poll(0)

    def finish(self) -> None:
        if left := self._kafka.flush(90):
            self._ledger.wonder(f"{left} records of the careless one are not acknowledged")

    def _delivered(self, event: FeedbackEvent, error: object) -> None:
        if error is None:
            self._ledger.acknowledge([_promise(event)], "plain producer")
        else:
            self._ledger.count("plain producer: not delivered")

    def _poison(self, event: FeedbackEvent, key: bytes, good: bytes) -> None:
        dice, codec = self._voices.dice, self._codec
        reason = dice.choice(("undecodable", "invalid", "misrouted"))
        self._ledger.count(f"poison: {reason}")
        if reason == "undecodable":
            stranger = codec.encode(Progress(1, 2, 3, 4))
            bad = dice.choice((b"\xff junk", b"", None, good[:-3], good + b"!", stranger, dice.randbytes(40)))
            self._produce(key, bad, reason)
        elif reason == "invalid":
            wrong: Any = dice.choice(
                ({"kind": "vote"}, {"kind": "applause", "rating": True}, {"kind": "vote", "value": 99.0})
            )
            broken = FeedbackEvent(event.tenant_id, event.request_id, event.event_id, **wrong)
            self._produce(key, codec.encode(broken), reason)
        elif dice.random() < 0.5:
            self._produce(b"somebody|else", good, reason)
        else:
            self._produce(key, good, reason, partition=(partition_of(key, PARTITIONS) + 1) % PARTITIONS)

    def _produce(self, key: bytes, value: bytes | None, reason: str = "", **how: Any) -> None:
        headers: Any = [(EXPECTED, reason.encode())] if reason else []
        self._kafka.produce(_EVENTS, value, key, headers=headers, **how)


class Transactional(Publisher):
    """A few events at a time, committed or rolled back; now and then a transaction stays open for seconds."""

    def __init__(self, bootstrap: str, voices: Voices, ledger: Ledger, rate: float, name: str) -> None:
        super().__init__(bootstrap, voices, ledger, rate / 5)
        self._id, self._codec = name, Codec()
        self._kafka: Producer | None = None

    def act(self) -> None:
        try:
            self._transaction()
        except KafkaException as failure:
            self._ledger.count(f"transactions given up: {failure.args[0].name()}")
            self._kafka = None  # the next one fences this one, and ends what it left open

    def _transaction(self) -> None:
        dice, kafka = self._voices.dice, self._begun()
        events = [self.event() for _ in range(dice.randrange(1, 10))]
        for event in events:
            key, value = message(self._codec, event)
            kafka.produce(_EVENTS, value, key)
        kafka.flush(10)
        if dice.random() < 0.1:
            self._halt.wait(dice.uniform(1, 4))
        if dice.random() < 0.3:
            kafka.abort_transaction(30)
            self._ledger.abort([event.event_id for event in events])
            self._ledger.count("transactions rolled back")
        else:
            kafka.commit_transaction(30)
            promises = [_promise(event) for event in events]
            self._ledger.acknowledge(promises, "transaction")
            self._ledger.count("transactions committed")

    def _begun(self) -> Producer:
        if self._kafka is None:
            self._kafka = self._producer({"transactional.id": self._id, "transaction.timeout.ms": 15_000})
            self._kafka.init_transactions(30)
        self._kafka.begin_transaction()
        return self._kafka


def last_words(bootstrap: str, ledger: Ledger) -> None:
    """One plain event for each partition: a transaction's end marker would stay ahead of every committed offset."""
    codec, open_partitions, number = Codec(), set(range(PARTITIONS)), 0
    kafka = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "acks": "all", "logger": _QUIET})

    def delivered(error: object, told: Message) -> None:
        if error is not None:
            ledger.wonder(f"last words: {error}")
        open_partitions.discard(told.partition() or 0)

    while open_partitions:
        event = FeedbackEvent(TENANTS[0], f"last {number}", f"last{number}", "vote", rating=True, source="direct")
        kafka.produce(_EVENTS, codec.encode(event), message(codec, event)[0], on_delivery=delivered)
        ledger.acknowledge([_promise(event)], "plain producer")
        kafka.flush(30)
        number += 1
