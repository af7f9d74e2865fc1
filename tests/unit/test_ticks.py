"""Stream time: what marks make of it, and the ticks it hands out."""

from processors.ticks import StreamTime
from schemas.events import Progress
from schemas.topics import source_partition_of

MINUTE = 60_000
LATE = 10**9  # an append time that bounds nothing


def mark(clock: StreamTime, watermark: int, source: int = 1000, sources: int = 1, append_time: int = LATE) -> list[int]:
    return list(clock.mark(Progress(source, sources, 0, watermark), append_time))


def test_the_first_mark_begins_the_count_and_later_ones_go_on_without_a_gap() -> None:
    #   minutes  10        11        12        13        14
    #   marks     |  10:59  | 12:05                       | 14:05
    clock = StreamTime()
    assert mark(clock, 10 * MINUTE + 59_000) == [10]
    assert mark(clock, 12 * MINUTE + 5_000) == [11, 12]
    assert mark(clock, 14 * MINUTE + 5_000) == [13, 14]


def test_a_minute_is_due_five_seconds_after_its_begin() -> None:
    clock = StreamTime()
    mark(clock, 10 * MINUTE + 5_000)
    assert mark(clock, 11 * MINUTE + 4_999) == []
    assert mark(clock, 11 * MINUTE + 5_000) == [11]


def test_no_tick_before_every_source_has_marked() -> None:
    clock = StreamTime()
    assert mark(clock, 10 * MINUTE, 1000, 3) == []
    assert mark(clock, 20 * MINUTE, 1001, 3) == []
    assert clock.now is None
    assert mark(clock, 11 * MINUTE + 6_000, 1002, 3) == [9]
    assert clock.now == 10 * MINUTE


def test_the_source_that_lags_holds_time_back() -> None:
    clock = StreamTime(grace=0)
    mark(clock, 10 * MINUTE, 1000, 2)
    assert mark(clock, 10 * MINUTE, 1001, 2) == [10]
    assert mark(clock, 99 * MINUTE, 1000, 2) == []
    assert mark(clock, 12 * MINUTE, 1001, 2) == [11, 12]


def test_a_zombies_old_mark_changes_nothing() -> None:
    clock = StreamTime(grace=0)
    mark(clock, 10 * MINUTE)
    assert mark(clock, 3 * MINUTE) == []
    assert clock.now == 10 * MINUTE
    assert mark(clock, 11 * MINUTE) == [11]


def test_a_zombies_old_mark_does_not_hold_time_back() -> None:
    clock = StreamTime(grace=0)
    for source in (1000, 1001):
        mark(clock, 10 * MINUTE, source, 2)
    mark(clock, 12 * MINUTE, 1000, 2)
    mark(clock, 3 * MINUTE, 1000, 2)  # the zombie
    assert mark(clock, 12 * MINUTE, 1001, 2) == [11, 12]


def test_a_workers_clock_that_runs_ahead_is_bounded_by_the_append_time() -> None:
    clock = StreamTime(grace=0)
    assert mark(clock, 99 * MINUTE, append_time=10 * MINUTE) == [10]
    assert clock.now == 10 * MINUTE


def test_partitions_of_an_older_epoch_do_not_hold_time_for_ever() -> None:
    clock = StreamTime(grace=0)
    mark(clock, 10 * MINUTE, source_partition_of(1, 0), 2)
    mark(clock, 10 * MINUTE, source_partition_of(1, 1), 2)
    assert mark(clock, 12 * MINUTE, source_partition_of(2, 0), 3) == []
    assert mark(clock, 99 * MINUTE, source_partition_of(1, 0), 2) == []  # a zombie of the older epoch
    assert mark(clock, 12 * MINUTE, source_partition_of(2, 1), 3) == []
    assert mark(clock, 12 * MINUTE, source_partition_of(2, 2), 3) == [11, 12]


def test_an_epoch_that_begins_behind_does_not_turn_time_back() -> None:
    clock = StreamTime(grace=0)
    mark(clock, 10 * MINUTE)
    assert mark(clock, 7 * MINUTE, source_partition_of(2, 0)) == []
    assert (clock.now, clock.tick) == (10 * MINUTE, 10)


def test_minutes_can_be_shorter() -> None:
    clock = StreamTime(minute=100, grace=10)
    assert mark(clock, 1_005) == [9]
    assert mark(clock, 1_110) == [10, 11]
