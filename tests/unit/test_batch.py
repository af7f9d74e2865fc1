"""When rows are stored, what is committed afterwards, what a lost partition takes along, and when to give up."""

from collections.abc import Sequence
from typing import Any

import pytest

from schemas.topics import version_of
from sinks.batch import Batch, Entry, Limits, Source
from sinks.continuity import SHORTER, complaint
from sinks.lane import Backoff
from sinks.refusals import Tally, TooManyRefusedError, store
from sinks.rows import EVENTS, MINUTES, Row
from sinks.writer import UnfitRowsError

LIMITS = Limits(rows=10, size=100, seconds=1.0, backlog=5)


def _source(offset: int, partition: int = 0, size: int = 1) -> Source:
    return Source("t", partition, offset, 0, None, b"x" * size)


def _filled(rows: int, size: int = 1) -> Batch:
    batch = Batch(LIMITS)
    for offset in range(rows):
        batch.add(_source(offset, size=size), [(EVENTS, (offset,))], now=100.0)
    return batch


def test_an_empty_batch_is_never_due() -> None:
    assert not Batch(LIMITS).due(1e9)
    assert not Batch(LIMITS)


@pytest.mark.parametrize(("rows", "size", "now", "due"), [
    (9, 1, 100.9, False), (10, 1, 100.0, True), (1, 100, 100.0, True), (1, 99, 100.0, False), (1, 1, 101.0, True),
])  # fmt: skip
def test_a_batch_is_due_at_the_first_of_rows_bytes_and_age(rows: int, size: int, now: float, due: bool) -> None:
    assert _filled(rows, size).due(now) is due


def test_under_backlog_a_batch_may_grow_but_not_grow_old() -> None:
    assert not _filled(49).due(100.9, backlog=True)
    assert _filled(50).due(100.0, backlog=True)
    assert _filled(1).due(101.0, backlog=True)


def test_offsets_move_past_records_that_give_no_rows() -> None:
    batch = Batch(LIMITS)
    batch.add(_source(4, partition=0), [(EVENTS, ("a",)), (MINUTES, ("b",))], now=0.0)
    batch.add(_source(5, partition=0), [], now=0.0)
    batch.add(_source(8, partition=1), [], now=0.0)
    assert batch.offsets == {0: 6, 1: 9}
    assert len(batch) == 2
    assert batch.due(1.0)


def test_a_lost_partition_takes_its_rows_and_offsets_along_and_nothing_else() -> None:
    batch = Batch(LIMITS)
    for partition in (0, 1):
        batch.add(_source(4, partition, size=60), [(EVENTS, (partition,))], now=0.0)
    assert batch.due(0.0)
    batch.drop([0])
    assert batch.offsets == {1: 5}
    assert [entry.row for entry in batch.tables[EVENTS]] == [(1,)]
    assert not batch.due(0.0)
    batch.drop([1])
    assert not batch
    assert not batch.due(1e9)


def test_a_cleared_batch_starts_to_age_anew() -> None:
    batch = _filled(1)
    batch.clear()
    batch.add(_source(7), [(EVENTS, ("x",))], now=200.0)
    assert not batch.due(200.9)
    assert batch.offsets == {0: 8}


class _Store:
    """Refuses rows that are in `unfit`, stores the rest."""

    def __init__(self, unfit: set[int]) -> None:
        self.unfit, self.rows, self.calls = unfit, list[Row](), 0

    def __call__(self, entries: Sequence[Entry]) -> None:
        self.calls += 1
        if any(entry.row[0] in self.unfit for entry in entries):
            raise UnfitRowsError("no")
        self.rows += [entry.row for entry in entries]


def _entries(count: int) -> list[Entry]:
    return [Entry((n,), _source(n)) for n in range(count)]


@pytest.mark.parametrize("unfit", [set[int](), {0}, {1023}, {5, 6, 700}])
def test_halving_finds_exactly_the_unfit_rows(unfit: set[int]) -> None:
    target = _Store(unfit)
    refused = store(_entries(1024), target, Tally())
    assert {entry.row[0] for entry, _ in refused} == unfit
    assert [row[0] for row in target.rows] == [n for n in range(1024) if n not in unfit]
    assert target.calls <= 1 + 20 * len(unfit)


def test_fifty_in_a_row_are_too_many_and_the_search_ends_there() -> None:
    target = _Store(set(range(500)))
    with pytest.raises(TooManyRefusedError):
        store(_entries(512), target, Tally())
    assert target.calls < 200


def test_more_than_five_in_a_hundred_are_too_many_but_five_are_not() -> None:
    store(_entries(1000), _Store(set(range(0, 1000, 20))), Tally())
    with pytest.raises(TooManyRefusedError):
        store(_entries(1000), _Store(set(range(0, 1000, 19))), Tally())


def test_what_is_long_past_is_forgiven() -> None:
    tally = Tally()
    for _ in range(3):
        store(_entries(1000), _Store(set(range(0, 980, 20))), tally)
        tally.stored(1000)


@pytest.mark.parametrize(
    ("jitter", "expected"), [(min, [0.2, 0.4, 0.8, 15.0, 15.0]), (max, [0.4, 0.8, 1.6, 30.0, 30.0])]
)
def test_pauses_double_up_to_half_a_minute(jitter: Any, expected: list[float]) -> None:
    backoff = Backoff(jitter)
    assert [backoff.seconds(failures) for failures in (1, 2, 3, 9, 1_000_000)] == expected


def test_a_log_that_holds_the_state_gives_no_complaint() -> None:
    newest = {1000: version_of(1, 4), 1001: version_of(1, 0), 2000: version_of(2, 1)}
    assert complaint(newest, {0: 2, 1: 0}, epoch=2) is None
    assert complaint({}, {0: 0}, epoch=1) is None


@pytest.mark.parametrize("ends", [{0: 4}, {0: 0}, {}])
def test_a_log_shorter_than_the_state_gives_one(ends: dict[int, int]) -> None:
    assert (complaint({1000: version_of(1, 4)}, ends, epoch=1) or "").startswith(SHORTER)


def test_an_epoch_below_the_stored_one_gives_one() -> None:
    assert "epoch 2 is stored already" in (complaint({2000: version_of(2, 0)}, {0: 9}, epoch=1) or "")
