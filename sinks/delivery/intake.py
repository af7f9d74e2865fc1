"""From the log of alerts to parcels: what was dealt with before is only remembered, the rest is handed out. Pure.

Each partition is read from its beginning. So the compacted topic is the memory: which transitions were handed out, and
which alerts are open, is known again after every start, and by whoever starts late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from schemas.events import Alert
from sinks.batch import Source
from sinks.delivery.messages import FIRING
from sinks.delivery.queue import Parcel


@dataclass(slots=True)
class _Part:
    """`resume` is the first offset that was not dealt with; `first` if nothing ever was."""

    resume: int
    first: bool
    live: bool = False
    newest: dict[str, int] = field(default_factory=dict)  # fingerprint -> version handed out or remembered
    open: dict[str, Parcel] = field(default_factory=dict)  # fingerprint -> its firing transition


class Intake:
    """The alerts one receiver wants, partition by partition."""

    def __init__(self, topic: str, wanted: Callable[[Alert], bool]) -> None:
        self._topic, self._wanted = topic, wanted
        self._parts: dict[int, _Part] = {}

    def assigned(self, partition: int, committed: int | None, end: int) -> None:
        """Begin to read a partition from its beginning. `committed`: where the last reader of this receiver stopped.

        Without one, or when the log is shorter than that, only what is open at `end` is handed out, and then all.
        """
        first = committed is None or committed > end
        self._parts[partition] = _Part(end if first or committed is None else committed, first)

    def lost(self, partitions: Iterable[int]) -> None:
        """Forget partitions that another process reads now."""
        for partition in partitions:
            self._parts.pop(partition, None)

    def take(self, source: Source, alert: Alert) -> list[Parcel]:
        """One record of the log; what is to be done now."""
        part = self._parts[source.partition]
        if source.offset < part.resume:
            self._remember(part, Parcel(source, alert, None))
            return []
        news = alert if self._is_news(part, alert) else None
        return [*self.reached(source.partition, source.offset), Parcel(source, news, source.offset + 1)]

    def skip(self, source: Source) -> list[Parcel]:
        """A record that says nothing of an alert. Where it was dealt with before, it must not move the offset back."""
        if source.offset < self._parts[source.partition].resume:
            return []
        return [*self.reached(source.partition, source.offset), Parcel(source, None, source.offset + 1)]

    def reached(self, partition: int, position: int) -> list[Parcel]:
        """The reader stands at `position`; if all before was read, what is open there and was never handed out."""
        part = self._parts[partition]
        if part.live or position < part.resume:
            return []
        part.live = True
        return self._introduction(partition, part) if part.first else []

    def told(self, parcel: Parcel) -> None:
        """A parcel was delivered or parked."""
        if isinstance(parcel.record, Alert) and (part := self._parts.get(parcel.source.partition)) is not None:
            self._keep(part, parcel, parcel.record)

    @property
    def live(self) -> bool:
        """True once every partition was read up to where it is new."""
        return all(part.live for part in self._parts.values())

    def open(self) -> list[Alert]:
        """The open alerts that were told, the oldest first."""
        parcels = (parcel for part in self._parts.values() if part.live for parcel in part.open.values())
        return sorted((one.record for one in parcels if isinstance(one.record, Alert)), key=_age)

    def _is_news(self, part: _Part, alert: Alert) -> bool:
        """True for a wanted transition that no newer or equal one came before: a zombie's record is none."""
        if part.newest.get(alert.fingerprint, -1) >= alert.version:
            return False
        part.newest[alert.fingerprint] = alert.version
        return self._wanted(alert)

    def _remember(self, part: _Part, parcel: Parcel) -> None:
        assert isinstance(parcel.record, Alert)
        if self._is_news(part, parcel.record):
            self._keep(part, parcel, parcel.record)

    def _keep(self, part: _Part, parcel: Parcel, alert: Alert) -> None:
        if alert.status == FIRING:
            part.open[alert.fingerprint] = parcel
        else:
            part.open.pop(alert.fingerprint, None)

    def _introduction(self, partition: int, part: _Part) -> list[Parcel]:
        """The alerts open at the first start; they are told first, and only then the log counts as dealt with."""
        parcels = sorted(part.open.values(), key=lambda parcel: parcel.source.offset)
        part.open.clear()
        end = Source(self._topic, partition, part.resume, 0, None, None)
        return [*parcels, Parcel(end, None, part.resume)]


def _age(alert: Alert) -> tuple[int, str]:
    return alert.started_at, alert.fingerprint
