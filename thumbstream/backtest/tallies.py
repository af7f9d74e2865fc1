"""Votes of the past as tallies, and tallies as the log of one minutes partition. Pure.

Every vote stands in the minute of its effective time under its final metadata, as ClickHouse shows it today. A live
`watch` saw flips, retractions and late context when they came; a backtest sees the end of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from processors.minutes import Group, Rollup, rollup_name, top_users
from processors.ticks import GRACE
from schemas.events import MISSING, PROMOTED, MinuteCount, Progress, ResolvedFeedback

MINUTE = 60_000
_SOURCE = 1000  # the one source partition of a backtest

Entry = tuple[int, MinuteCount | Progress]  # append time (epoch ms) and record, as in the log


class Tally(NamedTuple):
    """Votes of one user in one minute (a number since the epoch); `values` are the dimensions in PROMOTED's order."""

    minute: int
    tenant: str
    values: tuple[str, ...]
    user: str
    negative: int
    positive: int


def tally(row: ResolvedFeedback) -> Tally | None:
    """What a row counts for; None without an explicit vote that is good or bad."""
    if row.vote is None or row.vote_time is None or row.vote.polarity == 0:
        return None
    values = tuple(getattr(row, name) or MISSING for name in PROMOTED)
    bad = row.vote.polarity < 0
    return Tally(row.vote_time // MINUTE, row.tenant_id, values, row.user_id or "", int(bad), int(not bad))


def group_of(one: Tally, rollup: Rollup) -> Group:
    """The group of a rollup in which the votes count."""
    return Group(one.tenant, rollup, tuple(one.values[PROMOTED.index(name)] for name in rollup))


def log(tallies: Iterable[Tally], rollups: Sequence[Rollup], until: int = 0) -> Iterator[Entry]:
    """The log that `resolve` would have written had every vote come at once: counts of a minute, then a mark behind it.

    `tallies` must be in the order of minutes; time goes on to the minute `until`, if that is later than the last one.
    """
    end = 0
    for version, (minute, votes) in enumerate(groupby(tallies, key=itemgetter(0)), 1):
        if not end:
            yield _mark(minute)
        for group, (negative, positive, users) in _cells(votes, rollups).items():
            place = (rollup_name(group.rollup), group.values, minute * MINUTE, _SOURCE, version)
            yield minute * MINUTE, MinuteCount(group.tenant_id, *place, negative, positive, 0, top_users(users.items()))
        end = minute + 1
        yield _mark(end)
    if until > end > 0:
        yield _mark(until)


def _mark(minute: int) -> Entry:
    time = minute * MINUTE + GRACE
    return time, Progress(_SOURCE, 1, 0, time)


def _cells(votes: Iterable[Tally], rollups: Sequence[Rollup]) -> dict[Group, tuple[int, int, dict[str, int]]]:
    cells: dict[Group, tuple[int, int, dict[str, int]]] = {}
    for one in votes:
        for rollup in rollups:
            group = group_of(one, rollup)
            negative, positive, users = cells.get(group, (0, 0, {}))
            if one.negative:
                users[one.user] = users.get(one.user, 0) + one.negative
            cells[group] = (negative + one.negative, positive + one.positive, users)
    return cells
