"""Sliding sums over minutes, against sums from scratch."""

from random import Random

from processors.minutes import Group
from processors.windows import Sum, Windows
from schemas.events import MinuteCount

GROUP = Group("acme", ("model",), ("m",))


def count(
    minute: int, negative: int, positive: int = 0, version: int = 1, source: int = 0, **users: int
) -> MinuteCount:
    return MinuteCount("acme", "model", ("m",), minute * 60_000, source, version, negative, positive, 7, users)


def windows(tick: int, *counts: MinuteCount, spans: tuple[int, ...] = (3, 5)) -> Windows:
    found = Windows(spans)
    for one in counts:
        found.put(one)
    found.move_to(tick)
    return found


def test_a_window_holds_the_minutes_before_its_tick_and_not_the_tick_itself() -> None:
    #   minute   6    7    8    9   10=tick
    #   window        [=============)
    found = windows(10, *(count(minute, 1) for minute in range(4, 12)))
    assert found.sum(GROUP, 3) == Sum(3, 3)
    assert found.sum(GROUP, 5) == Sum(5, 5)


def test_minutes_slide_in_and_out() -> None:
    #   tick 10   [7 8 9)        counts: 7 -> 1, 9 -> 10
    #   tick 11     [8 9 10)
    #   tick 13         [10 11 12)
    found = windows(10, count(7, 1), count(9, 10), spans=(3,))
    sums = [found.sum(GROUP, 3).negative]
    for tick in (11, 12, 13):
        found.move_to(tick)
        sums.append(found.sum(GROUP, 3).negative)
    assert sums == [11, 10, 10, 0]


def test_neutral_votes_are_outside_the_total() -> None:
    assert windows(10, count(9, 2, 3)).sum(GROUP, 3) == Sum(2, 5)


def test_a_newer_version_replaces_and_an_older_one_does_nothing() -> None:
    found = windows(10, count(9, 5, version=3), count(9, 9, version=2))
    assert found.sum(GROUP, 3).negative == 5
    found.put(count(9, 1, version=4))
    found.put(count(9, 8, version=3))
    assert found.sum(GROUP, 3).negative == 1
    found.put(count(9, 0, version=5))
    assert found.sum(GROUP, 3) == Sum(0, 0)


def test_source_partitions_add_up() -> None:
    assert windows(10, count(9, 5, source=0), count(9, 2, 1, source=1)).sum(GROUP, 3) == Sum(7, 8)


def test_late_counts_enter_every_window_that_still_sees_them() -> None:
    found = windows(10)
    found.put(count(8, 1))
    found.put(count(6, 1))
    found.put(count(1, 1))
    assert (found.sum(GROUP, 3).negative, found.sum(GROUP, 5).negative) == (1, 2)


def test_the_top_user_is_summed_over_the_window_and_unknown_users_are_many() -> None:
    found = windows(10, count(9, 5, ann=2, bob=3), count(8, 4, source=1, ann=4), count(2, 9, bob=9))
    assert found.top_user(GROUP, 3) == 6
    found.put(MinuteCount("acme", "model", ("m",), 9 * 60_000, 0, 2, 50, 0, 0, {"": 50}))
    assert found.top_user(GROUP, 3) == 4


def test_changed_groups_are_told_once_and_also_when_only_users_changed() -> None:
    found = windows(10, count(9, 1, ann=1))
    assert found.changed() == {GROUP}
    assert found.changed() == set()
    found.put(count(9, 1, version=2, bob=1))
    assert found.changed() == {GROUP}
    found.move_to(11)
    assert found.changed() == set()
    found.move_to(12)
    found.move_to(13)  # minute 9 leaves the window of three
    assert found.changed() == {GROUP}


def test_unknown_groups_have_no_votes() -> None:
    assert windows(10).sum(GROUP, 3) == Sum()
    assert windows(10).top_user(GROUP, 3) == 0


def test_without_spans_nothing_is_held() -> None:
    found = windows(10, count(9, 1), spans=())
    found.move_to(11)
    assert found.changed() == {GROUP}


def test_running_sums_equal_sums_from_scratch_whatever_comes() -> None:
    dice = Random(7)
    found, kept, tick = windows(20, spans=(2, 3, 7)), dict[tuple[int, int], MinuteCount](), 20
    for version in range(3_000):
        if dice.random() < 0.2:
            tick += 1
            found.move_to(tick)
        minute, source = tick + dice.randint(-9, 2), dice.randint(0, 1)
        one = count(minute, dice.randint(0, 3), dice.randint(0, 3), version - dice.choice((0, 0, 0, 40)), source)
        found.put(one)
        known = kept.get((minute, source))
        if known is None or one.version >= known.version:
            kept[minute, source] = one
        for span in (2, 3, 7):
            within = [one for (at, _source), one in kept.items() if tick - span <= at < tick]
            negative = sum(one.negative for one in within)
            assert found.sum(GROUP, span) == Sum(negative, negative + sum(one.positive for one in within))


def test_old_minutes_and_quiet_groups_are_forgotten() -> None:
    found = windows(10, count(9, 1))
    empty = Windows((3, 5))
    empty.move_to(10)
    for tick in range(11, 17):
        found.move_to(tick)
        empty.move_to(tick)
    found.changed()
    kept = {name: value for name, value in vars(found).items() if isinstance(value, dict) and name != "_places"}
    assert kept == {name: {} for name in kept}
    assert not found._moves
