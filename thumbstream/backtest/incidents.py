"""Incidents put into the votes of the past, and which of them a monitor found. Pure: dice come as an argument."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

from processors.alerts import FIRING
from schemas.events import PROMOTED, Alert
from thumbstream.backtest.tallies import MINUTE, Tally

_TENANT = "tenant"
_APART = 61  # hours between the end of one and the begin of the next: no window sees two, and hours of day change
_AFTER = 48 * 60  # minutes of history before the first one


class IncidentError(ValueError):
    """An incident that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Incident:
    """In `groups` (dimension or tenant -> value; none: everywhere) every vote is negative with chance `rate`.

    It lasts `minutes`, and comes again `every` so many minutes.
    """

    text: str
    groups: Mapping[str, str]
    rate: float
    minutes: int
    every: int

    def concerns(self, one: Tally) -> bool:
        """True for votes of the groups."""
        return all(
            (one.tenant if name == _TENANT else one.values[PROMOTED.index(name)]) == value
            for name, value in self.groups.items()
        )

    def begins(self, first: int, last: int) -> list[int]:
        """The minutes at which it begins in a history from `first` to `last`."""
        return list(range(first + _AFTER, last - self.minutes + 1, self.every))


def parse(text: str) -> Incident:
    """`model=X,rate=0.5,hours=4` with any dimensions, and `every=HOURS`. Raises IncidentError."""
    given = dict(_pairs(text))
    groups = {name: given.pop(name) for name in (*PROMOTED, _TENANT) if name in given}
    if unknown := given.keys() - {"rate", "hours", "every"}:
        raise IncidentError(f"{min(unknown)}: unknown; write rate, hours, every, tenant or a dimension")
    rate, hours = _number(given, "rate", 1), _number(given, "hours", 24 * 365)
    every = _number(given, "every", 24 * 365) if "every" in given else hours + _APART
    if every < hours:
        raise IncidentError("every: must not be shorter than hours")
    return Incident(text, groups, rate, round(hours * 60), round(every * 60))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for part in text.split(","):
        name, sign, value = part.partition("=")
        if not sign or not value:
            raise IncidentError(f"{part!r}: write NAME=VALUE, as model=atlas-2,rate=0.5,hours=4")
        yield name.strip(), value.strip()


def _number(given: Mapping[str, str], name: str, highest: float) -> float:
    try:
        number = float(given[name])
    except KeyError:
        raise IncidentError(f"{name}: missing") from None
    except ValueError:
        raise IncidentError(f"{name}: {given[name]!r} is not a number") from None
    if not 0 < number <= highest:
        raise IncidentError(f"{name}: must be above 0 and at most {highest:g}")
    return number


def inject(tallies: Sequence[Tally], incident: Incident, dice: Random) -> list[Tally]:
    """The votes with the incident in them."""
    if not tallies:
        return []
    first = tallies[0].minute + _AFTER
    last = tallies[-1].minute + 1 - incident.minutes
    return [
        _redrawn(one, incident.rate, dice)
        if _within(one.minute, first, last, incident) and incident.concerns(one)
        else one
        for one in tallies
    ]


def _within(minute: int, first: int, last: int, incident: Incident) -> bool:
    number, place = divmod(minute - first, incident.every)
    return number >= 0 and place < incident.minutes and first + number * incident.every <= last


def _redrawn(one: Tally, rate: float, dice: Random) -> Tally:
    votes = one.negative + one.positive
    negative = sum(dice.random() < rate for _ in range(votes))
    return one._replace(negative=negative, positive=votes - negative)


@dataclass(frozen=True, slots=True)
class Detection:
    """Of `incidents`, so many were found while they lasted; `open_before` had an alert already and are left out.

    `delay` is the median in minutes; None when none was found.
    """

    incidents: int
    found: int
    open_before: int
    delay: float | None

    @property
    def share(self) -> float:
        """Found among those that could be."""
        return self.found / self.incidents if self.incidents else 0.0


def detections(
    monitors: Iterable[str], alerts: Iterable[Alert], incident: Incident, begins: Sequence[int]
) -> dict[str, Detection]:
    """By monitor: which incidents it found. An alert on a group that the incident does not touch finds nothing."""
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    open_since: dict[str, int] = {}
    for alert in alerts:
        if not _touches(alert, incident):
            continue
        if alert.status == FIRING:
            open_since[alert.fingerprint] = len(spans[alert.monitor])
            spans[alert.monitor].append((alert.started_at // MINUTE, 1 << 60))
        else:
            place = open_since.pop(alert.fingerprint)
            spans[alert.monitor][place] = (alert.started_at // MINUTE, alert.evaluated_at // MINUTE)
    return {monitor: _detection(spans[monitor], incident, begins) for monitor in monitors}


def _touches(alert: Alert, incident: Incident) -> bool:
    about = {**alert.group, _TENANT: alert.tenant_id}
    return all(about.get(name, value) == value for name, value in incident.groups.items())


def _detection(spans: Sequence[tuple[int, int]], incident: Incident, begins: Sequence[int]) -> Detection:
    delays, before = list[int](), 0
    for begin in begins:
        if any(start <= begin < end for start, end in spans):
            before += 1
            continue
        fired = [start - begin for start, _ in spans if begin < start <= begin + incident.minutes]
        delays += [min(fired)] if fired else []
    return Detection(len(begins) - before, len(delays), before, median(delays) if delays else None)
