"""Cells: what a row adds to which minute, and how a change moves it."""

import pytest

from processors.minutes import (
    MAX_TOP_USERS,
    REAL_TIME,
    Cell,
    CellKey,
    Contribution,
    DayCells,
    Grain,
    Group,
    contribution,
    count_row,
    move,
    published,
    rollup_name,
    rollup_of,
    top_users,
)
from schemas.events import ResolvedFeedback, Vote

MINUTE, DAY = 60_000, 86_400_000
ROLLUPS = ((), ("model", "app"))


def row(
    polarity: int | None = -1, time: int = 3 * DAY + 90_000, user: str | None = "ann", **fields: str
) -> ResolvedFeedback:
    vote = None if polarity is None else Vote(polarity)
    vote_time = None if vote is None else time
    return ResolvedFeedback(1, False, vote_time, "acme", "r", vote, user_id=user, **fields)  # type: ignore[arg-type]  # texts only


def test_a_vote_counts_in_its_own_minute_in_every_rollup() -> None:
    counted = contribution(row(model="m"), ROLLUPS)
    groups = (Group("acme", (), ()), Group("acme", ("model", "app"), ("m", "(none)")))
    assert counted == Contribution(3 * DAY + MINUTE, -1, "ann", groups)


@pytest.mark.parametrize(
    "silent",
    [
        None,
        row(None),
        ResolvedFeedback(1, True, None, "acme", "r"),
        ResolvedFeedback(1, False, None, "t", "r", implicit=Vote(1)),
    ],
)
def test_no_row_no_vote_and_erased_count_nothing(silent: ResolvedFeedback | None) -> None:
    assert contribution(silent, ROLLUPS) is None


def test_neutral_votes_are_counted_apart() -> None:
    cells: DayCells = {}
    for polarity in (-1, -1, 0, 1):
        count_row(cells, row(polarity), [()])
    assert list(cells.values()) == [Cell(2, 1, 1, {"ann": 2})]


def test_an_unknown_user_is_counted_under_the_empty_name() -> None:
    cells: DayCells = {}
    count_row(cells, row(user=None), [()])
    assert list(cells.values()) == [Cell(1, 0, 0, {"": 1})]


def moved(before: ResolvedFeedback | None, after: ResolvedFeedback | None, held: DayCells | None = None) -> DayCells:
    touched: DayCells = {}
    days: dict[int, DayCells] = {3: held or {}, 4: {}}
    move(touched, days, contribution(before, [()]), contribution(after, [()]))
    return touched


KEY: CellKey = (Group("acme", (), ()), 3 * DAY + MINUTE)


def test_a_flip_moves_the_count_within_its_minute_and_leaves_memory_alone() -> None:
    held = {KEY: Cell(5, 2, 0, {"ann": 1, "bob": 4})}
    assert moved(row(-1), row(1), held) == {KEY: Cell(4, 3, 0, {"bob": 4})}
    assert held == {KEY: Cell(5, 2, 0, {"ann": 1, "bob": 4})}


def test_a_cell_that_becomes_zero_is_a_value_to_publish() -> None:
    assert moved(row(-1), None, {KEY: Cell(1, 0, 0, {"ann": 1})}) == {KEY: Cell()}


def test_a_vote_that_moves_to_another_day_touches_both() -> None:
    touched = moved(row(-1), row(-1, time=4 * DAY), {KEY: Cell(1, 0, 0, {"ann": 1})})
    assert touched == {KEY: Cell(), (KEY[0], 4 * DAY): Cell(1, 0, 0, {"ann": 1})}


def test_a_change_that_cancels_out_within_the_batch_stays_touched() -> None:
    held = {KEY: Cell(1, 0, 0, {"ann": 1})}
    touched: DayCells = {}
    there, back = contribution(row(-1), [()]), contribution(row(1), [()])
    move(touched, {3: held}, there, back)
    move(touched, {3: held}, back, there)
    assert touched == held


def test_what_counts_the_same_touches_nothing() -> None:
    assert moved(row(-1), row(-1, time=3 * DAY + 90_001), {KEY: Cell(1)}) == {}


def test_the_published_copy_is_cut_to_sixteen_users_by_count_then_name() -> None:
    users = {f"u{number:02}": 1 for number in range(20)} | {"zoe": 3}
    count = published(KEY, Cell(23, 0, 0, users), 1002, 77)
    assert list(count.top_negative_users) == [f"u{number:02}" for number in range(15)] + ["zoe"]
    assert (count.minute, count.source_partition, count.version, count.rollup) == (KEY[1], 1002, 77, "tenant")
    assert len(users) == 21
    assert top_users({"b": 1, "a": 1}.items()) == {"a": 1, "b": 1}
    assert MAX_TOP_USERS == 16


@pytest.mark.parametrize("rollup", [(), ("model",), ("prompt_id", "prompt_version")])
def test_rollup_names_read_back(rollup: tuple[str, ...]) -> None:
    assert rollup_of(rollup_name(rollup)) == rollup
    assert rollup_name(()) == "tenant"


def test_minutes_before_1970_and_shorter_grains_round_down() -> None:
    counted = contribution(row(time=-1), [()], Grain(minute=10, day=100))
    assert counted is not None
    assert counted.minute == -10
    assert Grain() == REAL_TIME
