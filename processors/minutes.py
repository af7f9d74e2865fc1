"""Votes per minute and group as absolute counts: a cell is the sum of what all rows of a partition contribute. Pure.

Cells are a cache, kept per day: they can always be built again from the rows whose vote lies in that day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.events import MISSING, MinuteCount, ResolvedFeedback

MAX_TOP_USERS = 16

Rollup = tuple[str, ...]  # names of dimensions; () is the whole tenant


@dataclass(frozen=True, slots=True)
class Grain:
    """How long a minute and a day last, in ms. Tests of restarts and alerts run with shorter ones."""

    minute: int = 60_000
    day: int = 86_400_000


REAL_TIME = Grain()


class Group(NamedTuple):
    """One value of a rollup: what is counted and watched together."""

    tenant_id: str
    rollup: Rollup
    values: tuple[str, ...]


class Contribution(NamedTuple):
    """What one row adds to the minute `minute` (epoch ms of its begin) of each of `groups`."""

    minute: int
    polarity: int
    user_id: str
    groups: tuple[Group, ...]


@dataclass(slots=True)
class Cell:
    """Counts of one group in one minute. `users` counts negative votes by user; an unknown user is the empty text."""

    negative: int = 0
    positive: int = 0
    neutral: int = 0
    users: dict[str, int] = field(default_factory=dict)

    def add(self, polarity: int, user_id: str, sign: int) -> None:
        """Count one vote more (sign 1) or less (sign -1)."""
        if polarity > 0:
            self.positive += sign
        elif polarity == 0:
            self.neutral += sign
        else:
            self.negative += sign
            left = self.users.get(user_id, 0) + sign
            if left:
                self.users[user_id] = left
            else:
                self.users.pop(user_id, None)

    def copy(self) -> Cell:
        """A cell that can be changed without changing this one."""
        return Cell(self.negative, self.positive, self.neutral, dict(self.users))


CellKey = tuple[Group, int]  # the group, and its minute as epoch ms
DayCells = dict[CellKey, Cell]


def rollup_name(rollup: Rollup) -> str:
    """The rollup as it stands in records, keys and views."""
    return "+".join(rollup) or "tenant"


def rollup_of(name: str) -> Rollup:
    """The opposite of `rollup_name`."""
    return () if name == "tenant" else tuple(name.split("+"))


def contribution(
    row: ResolvedFeedback | None, rollups: Sequence[Rollup], grain: Grain = REAL_TIME
) -> Contribution | None:
    """What the row counts for now, or None: no row, erased, or no explicit vote standing."""
    if row is None or row.vote_time is None or row.vote is None:
        return None
    groups = tuple(Group(row.tenant_id, rollup, tuple(_dimension(row, name) for name in rollup)) for rollup in rollups)
    minute = row.vote_time // grain.minute * grain.minute
    return Contribution(minute, row.vote.polarity, row.user_id or "", groups)


def _dimension(row: ResolvedFeedback, name: str) -> str:
    value: str | None = getattr(row, name)
    return value or MISSING


def count_row(day: DayCells, row: ResolvedFeedback, rollups: Sequence[Rollup], grain: Grain = REAL_TIME) -> None:
    """Add one row to the cells of its day; a day is built by counting all rows whose vote lies in it."""
    counted = contribution(row, rollups, grain)
    if counted is not None:
        for group in counted.groups:
            cell = day.setdefault((group, counted.minute), Cell())
            cell.add(counted.polarity, counted.user_id, 1)


def move(
    touched: DayCells,
    days: Mapping[int, DayCells],
    before: Contribution | None,
    after: Contribution | None,
    grain: Grain = REAL_TIME,
) -> None:
    """Take the old contribution out and put the new one in, on copies kept in `touched`.

    A cell whose change cancels out stays in `touched`: an earlier run that crashed may have published it half-way.
    """
    if before == after:
        return
    for counted, sign in ((before, -1), (after, 1)):
        for group in counted.groups if counted is not None else ():
            assert counted is not None
            key = (group, counted.minute)
            if key not in touched:
                kept = days[counted.minute // grain.day].get(key)
                touched[key] = kept.copy() if kept is not None else Cell()
            touched[key].add(counted.polarity, counted.user_id, sign)


def published(key: CellKey, cell: Cell, source_partition: int, version: int) -> MinuteCount:
    """The record of one cell. Only here the users are cut to the 16 with most negatives; memory keeps all."""
    group, minute = key
    return MinuteCount(
        group.tenant_id,
        rollup_name(group.rollup),
        group.values,
        minute,
        source_partition,
        version,
        cell.negative,
        cell.positive,
        cell.neutral,
        top_users(cell.users.items()),
    )


def top_users(users: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The 16 users with most negatives, by count and then by name."""
    counted = list(users)
    if len(counted) > MAX_TOP_USERS:
        counted = sorted(counted, key=lambda entry: (-entry[1], entry[0]))[:MAX_TOP_USERS]
    return dict(sorted(counted))
