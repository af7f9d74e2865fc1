"""The loop around the consumer: what is committed, paused and dropped, and when."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas.codec import Codec
from schemas.events import Alert, DeadLetter, FeedbackEvent, MinuteCount, Progress
from schemas.topics import Topics, partition_of, request_key
from sinks.batch import Limits
from sinks.consumer import Sink
from sinks.erasure import Purge
from sinks.lane import Backoff, Lane
from sinks.memory import MemoryWriter
from sinks.records import Records
from sinks.rows import ALERTS, EVENTS, MINUTES
from thumbstream.telemetry import Metrics

TOPICS = Topics("t.", event_partitions=2, minute_partitions=2)
CODEC = Codec()
Poll = Callable[["_Consumer"], Sequence["_Message"]]


class _Message:
    def __init__(self, topic: str, partition: int, offset: int, value: bytes | None, key: bytes | None = None) -> None:
        self._place, self._content = (topic, partition, offset), (key, value)

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return self._place[0]

    def partition(self) -> int:
        return self._place[1]

    def offset(self) -> int:
        return self._place[2]

    def timestamp(self) -> tuple[int, int]:
        return 2, 1_780_000_000_000

    def key(self) -> bytes | None:
        return self._content[0]

    def value(self) -> bytes | None:
        return self._content[1]


class _Consumer:
    """Plays the given polls, then stops the loop; remembers what it was told."""

    def __init__(self, polls: Sequence[Poll], stop: threading.Event) -> None:
        self._polls, self._stop = list(polls), stop
        self.committed: list[tuple[str, int, int]] = []
        self.paused: set[tuple[str, int]] = set()
        self.refuses_commits = False

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        self.topics, self.assign, self.revoke = topics, on_assign, on_revoke

    def assignment(self) -> list[TopicPartition]:
        return [TopicPartition(topic, partition) for topic in self.topics for partition in (0, 1)]

    def consume(self, count: int, timeout: float) -> Sequence[_Message]:
        messages = self._polls.pop(0)(self)
        if not self._polls:
            self._stop.set()
        return messages

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert not asynchronous
        if self.refuses_commits:
            raise KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS))
        self.committed += [(position.topic, position.partition, position.offset) for position in offsets]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused |= {(position.topic, position.partition) for position in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        self.paused -= {(position.topic, position.partition) for position in partitions}


class _Run:
    """A loop over a store in memory. Time stands still unless a poll moves `now`; batches are due at once."""

    def __init__(self, *polls: Poll) -> None:
        self.now, self.ready, self.letters = 0.0, list[bool](), list[DeadLetter]()
        self.writer, self.metrics, self.stop = MemoryWriter(), Metrics(), threading.Event()
        self.consumer = _Consumer([self._assign, *polls], self.stop)
        self.lanes = {topic.name: self._lane() for topic in TOPICS}
        records, purge = Records(TOPICS, 1, CODEC), Purge(self.writer, self._clock)
        consumer: Any = self.consumer
        self.sink = Sink(
            consumer, self.lanes, records, purge, self.metrics, self.ready.append, self._clock,
            silent=TOPICS.events.name,
        )  # fmt: skip

    def run(self) -> "_Run":
        self.sink.run(self.stop)
        return self

    def send(self, letters: Sequence[DeadLetter]) -> None:
        self.letters += letters

    def _clock(self) -> float:
        return self.now

    def _lane(self) -> Lane:
        return Lane(self.writer, self, self.metrics, Backoff(max), self._clock, limits=Limits(seconds=0))

    def _assign(self, consumer: _Consumer) -> Sequence[_Message]:
        consumer.assign(consumer, consumer.assignment())
        return []


def _event(request: str, offset: int, **fields: Any) -> _Message:
    given = {"rating": True, **fields}
    event = FeedbackEvent("acme", request, request, "vote", **given)
    key = request_key("acme", request)
    return _Message(TOPICS.events.name, partition_of(key, 2), offset, CODEC.encode(event), key)


def _cell(offset: int, partition: int = 0) -> _Message:
    cell = MinuteCount("acme", "app", (f"{partition}-{offset}",), 0, 1000, offset, 1, 1, 1)
    return _Message(TOPICS.minutes.name, partition, offset, CODEC.encode(cell))


def test_what_is_stored_is_committed_and_marks_are_passed() -> None:
    mark = _Message(TOPICS.minutes.name, 1, 9, CODEC.encode(Progress(1000, 2, 0, 0)))
    it = _Run(lambda _: [_event("r", 4), _cell(7), mark]).run()
    assert len(it.writer.stored(EVENTS)) == len(it.writer.stored(MINUTES)) == 1
    assert {(topic, offset) for topic, _, offset in it.consumer.committed} == {
        (TOPICS.events.name, 5), (TOPICS.minutes.name, 8), (TOPICS.minutes.name, 10),
    }  # fmt: skip
    assert it.ready == [True]


def test_an_outage_of_one_table_pauses_its_topic_and_no_other() -> None:
    def away(consumer: _Consumer) -> Sequence[_Message]:
        it.writer.away = {MINUTES.name}
        return [_cell(1), _event("r", 2)]

    def back(consumer: _Consumer) -> Sequence[_Message]:
        assert consumer.paused == {(TOPICS.minutes.name, 0), (TOPICS.minutes.name, 1)}
        assert [topic for topic, _, _ in consumer.committed] == [TOPICS.events.name]
        it.writer.away, it.now = set(), 60.0
        return []

    it = _Run(away, back, lambda _: [])
    it.run()
    assert it.consumer.paused == set()
    assert it.consumer.committed[-1] == (TOPICS.minutes.name, 0, 2)
    assert it.ready == [True, False, True]


def test_a_stop_during_an_outage_commits_nothing_of_it() -> None:
    def away(_: _Consumer) -> Sequence[_Message]:
        it.writer.away = {MINUTES.name}
        return [_cell(1)]

    it = _Run(away)
    it.run()
    assert it.consumer.committed == []


def test_what_is_polled_from_a_partition_that_was_just_lost_is_left_to_its_next_owner() -> None:
    def lose(consumer: _Consumer) -> Sequence[_Message]:
        consumer.revoke(consumer, [TopicPartition(TOPICS.minutes.name, 0)])
        return [_cell(5, partition=0), _cell(6, partition=1)]

    it = _Run(lose).run()
    assert it.consumer.committed == [(TOPICS.minutes.name, 1, 7)]
    assert [row[2] for row in it.writer.stored(MINUTES)] == ["1-6"]


def test_a_refused_commit_stops_nothing() -> None:
    def refuse(consumer: _Consumer) -> Sequence[_Message]:
        consumer.refuses_commits = True
        return [_cell(1)]

    def accept(consumer: _Consumer) -> Sequence[_Message]:
        consumer.refuses_commits = False
        return [_cell(2)]

    it = _Run(refuse, accept).run()
    assert it.consumer.committed == [(TOPICS.minutes.name, 0, 3)]
    assert len(it.writer.stored(MINUTES)) == 2


def test_a_refused_commit_is_tried_again_a_second_later_though_no_record_comes() -> None:
    def refuse(consumer: _Consumer) -> Sequence[_Message]:
        consumer.refuses_commits = True
        return [_cell(1), _event("r", 2)]

    def accept(consumer: _Consumer) -> Sequence[_Message]:
        consumer.refuses_commits = False
        it.now = 0.9
        return []

    def later(consumer: _Consumer) -> Sequence[_Message]:
        assert consumer.committed == []
        it.now = 1.0
        return []

    def at_last(consumer: _Consumer) -> Sequence[_Message]:
        assert sorted(consumer.committed) == [(TOPICS.events.name, 1, 3), (TOPICS.minutes.name, 0, 2)]
        return []

    it = _Run(refuse, accept, later, at_last)
    assert len(it.run().consumer.committed) == 2


def test_a_refused_commit_is_forgotten_with_its_partition() -> None:
    def refuse(consumer: _Consumer) -> Sequence[_Message]:
        consumer.refuses_commits = True
        return [_cell(1, partition=0), _cell(1, partition=1)]

    def lose(consumer: _Consumer) -> Sequence[_Message]:
        consumer.refuses_commits = False
        consumer.revoke(consumer, [TopicPartition(TOPICS.minutes.name, 0)])
        return []

    it = _Run(refuse, lose)
    assert it.run().consumer.committed == [(TOPICS.minutes.name, 1, 2)]


def _misrouted(offset: int) -> _Message:
    right = _event("r", offset)
    return _Message(right.topic(), 1 - right.partition(), offset, right.value(), right.key())


@pytest.mark.parametrize(("message", "reason"), [
    (_Message(TOPICS.events.name, 0, 3, b"\x00junk"), "undecodable"),
    (_Message(TOPICS.events.name, 0, 3, CODEC.encode(Progress(1, 1, 1, 1))), "undecodable"),
    (_event("r", 3, rating=None), "invalid"),
    (_misrouted(3), "misrouted"),
])  # fmt: skip
def test_events_that_resolve_refuses_are_passed_in_silence_but_counted(message: _Message, reason: str) -> None:
    it = _Run(lambda _: [message, _event("good", 4)]).run()
    assert [row[1] for row in it.writer.stored(EVENTS)] == ["good"]
    assert it.letters == []
    assert it.metrics.value("records_skipped", topic=TOPICS.events.name, reason=reason) == 1
    assert (message.topic(), message.partition()) in {(topic, part) for topic, part, _ in it.consumer.committed}


def test_a_tombstone_on_a_compacted_topic_is_no_row_and_no_fault() -> None:
    alert = Alert(1, "a", "f", "acme", "m", "k", "s", "tenant", {}, "firing", 1, 1, None, 1, 1, 1, 1, 1, 1, None, "", 1)
    messages = [_Message(TOPICS.alerts.name, 0, 1, None), _Message(TOPICS.alerts.name, 0, 2, CODEC.encode(alert))]
    it = _Run(lambda _: messages).run()
    assert len(it.writer.stored(ALERTS)) == 1
    assert it.consumer.committed == [(TOPICS.alerts.name, 0, 3)]
    assert it.letters == []


def test_a_record_of_our_own_that_nobody_can_read_becomes_a_dead_letter() -> None:
    it = _Run(lambda _: [_Message(TOPICS.latest.name, 0, 1, b"junk")]).run()
    assert [(letter.reason, letter.letter_id) for letter in it.letters] == [("undecodable", "t.latest-0-1")]
    assert it.consumer.committed == [(TOPICS.latest.name, 0, 2)]
