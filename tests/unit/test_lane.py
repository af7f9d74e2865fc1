"""A topic's lane: what it commits, what it keeps through an outage, what it reports."""

from collections.abc import Sequence

import pytest

from schemas.events import DeadLetter
from sinks.batch import Source
from sinks.lane import Backoff, Lane
from sinks.memory import MemoryWriter
from sinks.refusals import TooManyRefusedError
from sinks.rows import ERASED, EVENTS, LATEST
from sinks.writer import MisconfiguredError
from thumbstream.telemetry import Metrics


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class _Letters:
    def __init__(self) -> None:
        self.sent: list[DeadLetter] = []
        self.broken = False

    def send(self, letters: Sequence[DeadLetter]) -> None:
        if self.broken:
            raise ConnectionError("broker")
        self.sent += letters


class _Lane:
    """A lane with everything it talks to."""

    def __init__(self, *, reports: bool = True) -> None:
        self.clock, self.letters, self.writer, self.metrics = _Clock(), _Letters(), MemoryWriter(), Metrics()
        self.lane = Lane(self.writer, self.letters, self.metrics, Backoff(max), self.clock, reports=reports)

    def add(self, offset: int, version: int = 1, partition: int = 0) -> None:
        source = Source("topic", partition, offset, 9, b"k", b"v")
        self.lane.add(source, [(ERASED, ("acme", f"r{partition}-{offset}", version, 0))])

    def stored(self) -> list[str]:
        return [row[1] for row in self.writer.stored(ERASED)]


def test_nothing_is_stored_before_it_is_due_and_everything_at_the_end() -> None:
    it = _Lane()
    it.add(4)
    assert it.lane.flush() == {}
    assert it.lane.flush(now_or_never=True) == {0: 5}
    assert it.stored() == ["r0-4"]
    assert it.lane.flush(now_or_never=True) == {}


def test_an_outage_keeps_the_rows_and_commits_nothing_until_it_ends() -> None:
    it = _Lane()
    it.add(4)
    it.writer.away = {"*"}
    it.clock.now = 1.0
    assert it.lane.flush() == {}
    assert it.lane.waiting
    it.writer.away = set()
    assert it.lane.flush() == {}, "the pause is not over"
    it.clock.now = 1.4
    assert it.lane.flush() == {0: 5}
    assert it.stored() == ["r0-4"]
    assert it.metrics.value("write_retries", table=ERASED.name, code="network") == 1


def test_an_outage_of_one_table_leaves_the_other_lanes_alone() -> None:
    it, other = _Lane(), _Lane()
    it.writer.away = {LATEST.name}
    source = Source("topic", 0, 1, 9, b"k", b"v")
    it.lane.add(source, [(LATEST, ("acme", "r", 1, *[0] * (len(LATEST.columns) - 3)))])
    other.add(1)
    assert it.lane.flush(now_or_never=True) == {}
    assert other.lane.flush(now_or_never=True) == {0: 2}


def test_unfit_rows_are_reported_and_the_rest_is_stored_and_committed() -> None:
    it = _Lane()
    for offset in range(5):
        it.add(offset, version=-1 if offset == 3 else 1)
    assert it.lane.flush(now_or_never=True) == {0: 5}
    assert it.stored() == ["r0-0", "r0-1", "r0-2", "r0-4"]
    assert [(letter.letter_id, letter.reason, letter.original) for letter in it.letters.sent] == [
        ("topic-0-3", "unstorable", b"v")
    ]
    assert it.metrics.value("dead_letters", stage="sink", reason="unstorable") == 1


def test_nothing_is_committed_when_a_dead_letter_cannot_be_published() -> None:
    it = _Lane()
    it.add(0, version=-1)
    it.letters.broken = True
    with pytest.raises(ConnectionError):
        it.lane.flush(now_or_never=True)
    it.letters.broken = False
    assert it.lane.flush(now_or_never=True) == {0: 1}
    assert len(it.letters.sent) == 1


def test_a_letter_about_a_letter_is_not_written() -> None:
    it = _Lane(reports=False)
    it.add(0, version=-1)
    assert it.lane.flush(now_or_never=True) == {0: 1}
    assert it.letters.sent == []


def test_a_record_nobody_can_read_is_reported_once_and_passed() -> None:
    it = _Lane()
    it.lane.refuse(Source("topic", 0, 7, 9, None, b"?"), "undecodable", "why")
    assert it.lane.flush(now_or_never=True) == {0: 8}
    assert it.lane.flush(now_or_never=True) == {}
    assert [(letter.reason, letter.message) for letter in it.letters.sent] == [("undecodable", "why")]


def test_too_many_unfit_rows_stop_the_sink_and_commit_nothing() -> None:
    it = _Lane()
    for offset in range(60):
        it.add(offset, version=-1)
    with pytest.raises(TooManyRefusedError):
        it.lane.flush(now_or_never=True)
    assert it.letters.sent == []


def sixty_wrong_ones(good_after_each: int) -> _Lane:
    it = _Lane()
    for first in range(0, 60 * (good_after_each + 1), good_after_each + 1):
        it.lane.refuse(Source("topic", 0, first, 9, b"k", b"v"), "undecodable", "no schema")
        for place in range(good_after_each):
            it.add(first + 1 + place)
    return it


def test_wrong_records_far_apart_are_not_in_a_row_however_large_the_batch() -> None:
    it = sixty_wrong_ones(good_after_each=100)
    assert it.lane.flush(now_or_never=True) == {0: 60 * 101}
    assert len(it.letters.sent) == 60


def test_wrong_records_close_together_stop_the_sink_although_the_batch_is_large() -> None:
    it = sixty_wrong_ones(good_after_each=10)
    for offset in range(1_000, 6_000):
        it.add(offset)
    with pytest.raises(TooManyRefusedError):
        it.lane.flush(now_or_never=True)


def test_an_outage_amid_unfit_rows_counts_them_once() -> None:
    it = _Lane()
    for round_ in range(5):
        for offset in range(12):
            it.lane.refuse(Source("topic", 0, offset, 9, None, b"?"), "undecodable", "why")
        it.add(99)
        it.writer.away = {"*"} if round_ < 4 else set()
        it.clock.now += 60
        assert bool(it.lane.flush()) is (round_ == 4)
        if round_ < 4:
            it.lane.drop([0])
    assert len(it.letters.sent) == 12


def test_a_lost_partition_takes_its_rows_and_letters_along_and_ends_the_wait() -> None:
    it = _Lane()
    it.add(4, partition=0)
    it.lane.refuse(Source("topic", 0, 5, 9, None, b"?"), "undecodable", "why")
    it.add(4, partition=1)
    it.writer.away = {"*"}
    it.lane.flush(now_or_never=True)
    it.writer.away = set()
    it.lane.drop([0])
    assert it.lane.waiting
    it.clock.now = 60
    assert it.lane.flush() == {1: 5}
    assert (it.stored(), it.letters.sent) == (["r1-4"], [])
    it.add(4, partition=0)
    it.writer.away = {"*"}
    it.lane.flush(now_or_never=True)
    it.lane.drop([0])
    assert not it.lane.waiting


def test_a_missing_table_is_not_waited_for() -> None:
    it = _Lane()
    it.writer._rows.pop(EVENTS)
    it.lane.add(Source("topic", 0, 0, 9, None, None), [(EVENTS, ())])
    with pytest.raises(MisconfiguredError):
        it.lane.flush(now_or_never=True)
