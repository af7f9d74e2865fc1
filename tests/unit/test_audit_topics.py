"""The audit from beginning to end without Kafka and ClickHouse: fakes hold what one would have kept, and the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import TopicPartition

from processors.minutes import published
from processors.monitors import rollups
from processors.pipeline import Partition
from schemas.codec import Codec
from schemas.events import DeadLetter, FeedbackEvent, MinuteCount, Record
from schemas.topics import Topics, group_key, request_key, version_of
from tests.simulators.memory import Memory, arrivals
from thumbstream.audit import topic_books
from thumbstream.audit.auditor import Auditor
from thumbstream.audit.cells import ALWAYS, Counts, Name
from thumbstream.audit.rows import StoredRow
from thumbstream.audit.scope import Findings, Scope
from thumbstream.audit.topic_books import TopicBooks

DAY = 86_400_000
THEN = 20_000 * DAY
NOW = THEN + 40 * DAY
FIRST = version_of(1, 0)
CODEC = Codec()
TOPICS = Topics("t.", event_partitions=2, minute_partitions=2)
LETTERS = TOPICS.dead_letters.name
REQUESTS = ("r0", "r3")  # one of each partition


@dataclass(frozen=True, slots=True)
class Message:
    """A record as the client gives it."""

    place: TopicPartition
    at: int
    its_key: bytes
    its_value: bytes

    def error(self) -> None:
        return None

    def key(self) -> bytes:
        return self.its_key

    def value(self) -> bytes:
        return self.its_value

    def offset(self) -> int:
        return self.place.offset

    def partition(self) -> int:
        return self.place.partition

    def timestamp(self) -> tuple[int, int]:
        return 2, self.at


@dataclass(slots=True)
class Log:
    """A consumer and all that it can read. `expired`: topics of which retention has left nothing but the offsets."""

    records: dict[tuple[str, int], list[Message]] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    position: TopicPartition = field(default_factory=lambda: TopicPartition("none"))

    def put(self, topic: str, partition: int, at: int, record: Record, key: bytes = b"key") -> None:
        held = self.records.setdefault((topic, partition), [])
        held.append(Message(TopicPartition(topic, partition, len(held)), at, key, CODEC.encode(record)))

    def _held(self, place: TopicPartition) -> list[Message]:
        return self.records.get((place.topic, place.partition), [])

    def list_topics(self, name: str, **_: Any) -> Any:
        (topic,) = (topic for topic in TOPICS if topic.name == name)
        described = SimpleNamespace(error=None, partitions=dict.fromkeys(range(topic.partitions)))
        return SimpleNamespace(topics={name: described})

    def get_watermark_offsets(self, place: TopicPartition, **_: Any) -> tuple[int, int]:
        end = len(self._held(place))
        return end if place.topic in self.expired else 0, end

    def offsets_for_times(self, asked: Sequence[TopicPartition], **_: Any) -> list[TopicPartition]:
        """Of each partition the first record that is as new; -1 where there is none, as Kafka's client has it."""
        newer = ((place, (one.offset() for one in self._held(place) if one.at >= place.offset)) for place in asked)
        return [TopicPartition(place.topic, place.partition, next(offsets, -1)) for place, offsets in newer]

    def committed(self, places: Sequence[TopicPartition], **_: Any) -> list[TopicPartition]:
        """Everybody has read everything."""
        return [TopicPartition(place.topic, place.partition, len(self._held(place))) for place in places]

    def assign(self, places: Sequence[TopicPartition]) -> None:
        (self.position,) = places

    def consume(self, count: int, _: float) -> list[Message]:
        return self._held(self.position)[self.position.offset :][:count]


@dataclass(slots=True)
class Store:
    """What ClickHouse holds."""

    accepted: dict[int, list[int]] = field(default_factory=dict)  # source partition -> versions
    rows: dict[int, list[StoredRow]] = field(default_factory=dict)
    cells: list[tuple[Name, int, Counts]] = field(default_factory=list)
    letter_ids: set[str] = field(default_factory=set)

    def events(self, source: int, first: int, end: int) -> Iterator[int]:
        return (version for version in self.accepted.get(source, ()) if first <= version < end)

    def latest(self, partition: int) -> Iterable[StoredRow]:
        return self.rows.get(partition, ())

    def stubs(self) -> dict[bytes, int]:
        return {}

    def minutes(self, _: int) -> Iterable[tuple[Name, int, Counts]]:
        return self.cells

    def letters(self) -> set[str]:
        return self.letter_ids

    def mismatches(self) -> set[Any]:
        return set()

    def newest(self) -> int:
        return 0


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    monkeypatch.setattr(topic_books, "Consumer", lambda _: made)
    return made


def audit(store: Store, since: int | None = None) -> Findings:
    scope = Scope(TOPICS, since=since, wait=0.0)
    return Auditor(scope, TopicBooks("nowhere", {}, "group"), cast("Any", store), lambda: NOW / 1000).run()


def differences(findings: Findings) -> list[tuple[str, str, int]]:
    """(hop, what, how many examples)."""
    return [(item.hop, item.what, len(item.examples)) for item in findings.ledger.differences]


def resolved(log: Log, store: Store, partition: int, at: int) -> None:
    """One vote on a partition, and all that becomes of it in topics and tables."""
    request = REQUESTS[partition]
    key = request_key("acme", request)
    said = {"model": '"m"', "prompt_id": '"p"', "prompt_version": '"1"', "environment": '"e"'}
    vote = FeedbackEvent("acme", request, "e1", "vote", event_time=at, rating=True, metadata=said)
    folded = Memory(Partition(partition, 2, rollups())).run(arrivals([(at, vote)]))
    log.put(TOPICS.events.name, partition, at, vote, key)
    log.put(TOPICS.latest.name, partition, at, folded.rows[key], key)
    store.accepted[1000 + partition] = [FIRST]
    store.rows[partition] = [StoredRow("acme", request, FIRST, at)]
    for place, counted in folded.cells.items():
        cell = published(place, counted, 1000 + partition, FIRST)
        log.put(TOPICS.minutes.name, partition, at, cell)
        store.cells.append((_name(cell), FIRST, (cell.negative, cell.positive, cell.neutral)))


def _name(cell: MinuteCount) -> Name:
    return Name(cell.tenant_id, cell.rollup, group_key(cell.group), cell.minute, cell.source_partition % 1000)


QUIET_FROM = {None: 2, THEN: 2, THEN + 1: 1, THEN + DAY: 1, THEN + DAY + 1: 0}  # since -> events that are as new


@pytest.mark.parametrize(("since", "accepted"), QUIET_FROM.items())
def test_partitions_without_a_record_since_balance_and_their_cells_are_judged(
    log: Log, since: int | None, accepted: int
) -> None:
    store = Store()
    resolved(log, store, partition=0, at=THEN)
    resolved(log, store, partition=1, at=THEN + DAY)
    findings = audit(store, since)
    assert differences(findings) == []
    assert findings.ledger.totals()["accepted"] == accepted
    assert findings.ledger.checked["stored cells"] == 2 * len(ALWAYS)


def test_cells_of_a_quiet_range_that_clickhouse_lost_are_missed_in_every_rollup(log: Log) -> None:
    store = Store()
    resolved(log, store, partition=0, at=THEN)
    store.cells.clear()
    assert differences(audit(store, since=THEN + 1)) == [("clickhouse", "cell missing", len(ALWAYS))]


def file(log: Log, letter_id: str, failed_at: int) -> None:
    letter = DeadLetter(letter_id, "sink", "unstorable", "why", "acme", "t", 0, 1, failed_at, b"key", b"original")
    log.put(LETTERS, 0, failed_at, letter)


def test_letters_that_clickhouse_may_have_forgotten_are_not_expected_there(log: Log) -> None:
    """It keeps them for 30 days, and forgets them some time later."""
    store = Store()
    file(log, "old", NOW - 29 * DAY - 1)
    assert differences(audit(store)) == []
    file(log, "young", NOW - 29 * DAY + 1)
    findings = audit(store)
    assert differences(findings) == [("clickhouse", "dead letter missing in feedback_dead_letters", 1)]
    assert findings.ledger.differences[0].examples == ["young"]
    assert findings.ledger.checked["dead letters"] == 1


def test_letters_that_clickhouse_still_holds_are_no_surplus_however_old(log: Log) -> None:
    file(log, "old", NOW - 31 * DAY)
    assert differences(audit(Store(letter_ids={"old"}))) == []
    assert differences(audit(Store(letter_ids={"old", "strange"}))) == [
        ("clickhouse", "dead letter without a record on the topic", 1)
    ]


@pytest.mark.parametrize(("age", "missed"), [(30 * DAY + 1, 0), (30 * DAY, 1)])
def test_when_retention_has_taken_all_letters_only_those_of_younger_events_are_missed(
    log: Log, age: int, missed: int
) -> None:
    file(log, "old", NOW - 31 * DAY)
    log.expired.add(LETTERS)
    log.put(TOPICS.events.name, 0, NOW - age, FeedbackEvent("acme", "r0", "e1", "vote"), b"another key")
    found = differences(audit(Store(letter_ids={"old"})))
    assert found == [("resolve", "refused event without its dead letter", 1)] * missed
