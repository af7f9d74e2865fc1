"""A backtest in numbers: episodes of each monitor, how long they lasted, what was found. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from processors.alerts import FIRING
from processors.monitors import Monitor
from schemas.events import Alert
from thumbstream.backtest.tallies import MINUTE


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert from its first to its last minute (numbers since the epoch); `end` is the end of history if open."""

    alert: Alert
    begin: int
    end: int
    open: bool


@dataclass(frozen=True, slots=True)
class Line:
    """What one monitor did: alerts, groups with any, minutes they lasted (median, longest), still open at the end."""

    monitor: str
    alerts: int
    groups: int
    median_minutes: float | None
    longest_minutes: int | None
    open: int


def episodes(alerts: Iterable[Alert], until: int) -> list[Episode]:
    """The alerts in the order of their begins; `until` is the last minute of history."""
    found: dict[tuple[str, int], Episode] = {}
    for alert in alerts:
        place, begin = (alert.fingerprint, alert.started_at), alert.started_at // MINUTE
        if alert.status == FIRING:
            found[place] = Episode(alert, begin, max(until, begin), open=True)
        else:
            found[place] = Episode(found[place].alert, begin, alert.evaluated_at // MINUTE, open=False)
    return list(found.values())


def lines(monitors: Sequence[Monitor], found: Sequence[Episode]) -> list[Line]:
    """One line per monitor, in the order of the file."""
    return [_line(monitor.name, [one for one in found if one.alert.monitor == monitor.name]) for monitor in monitors]


def _line(name: str, found: Sequence[Episode]) -> Line:
    lasted = [one.end - one.begin for one in found]
    groups = len({one.alert.fingerprint for one in found})
    middle, longest = (median(lasted), max(lasted)) if lasted else (None, None)
    return Line(name, len(found), groups, middle, longest, sum(one.open for one in found))
