"""Alert transitions worked out the slow way: every group at every tick, every sum from scratch.

Uses nothing of `processors` but the settings of a monitor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from processors.monitors import Monitor
from schemas.events import MISSING, Alert, MinuteCount, Progress


class Transition(NamedTuple):
    """What a transition must say."""

    monitor: str
    group: tuple[str, ...]
    status: str
    tick: int
    started: int
    sequence: int
    negative: int
    total: int


@dataclass(slots=True)
class _State:
    sequence: int = 0
    started: int = 0
    stayed: int | None = None  # None: not firing


class EveryTick:
    """Reads one minutes log; `transitions` grows."""

    def __init__(self, monitors: Iterable[Monitor], minute: int, grace: int) -> None:
        self.monitors, self.minute, self.grace = tuple(monitors), minute, grace
        self.counts: dict[tuple[str, ...], dict[tuple[int, int], MinuteCount]] = {}
        self.marks: dict[int, int] = {}
        self.tick: int | None = None
        self.states: dict[tuple[str, tuple[str, ...]], _State] = {}
        self.transitions: list[Transition] = []

    def read(self, append_time: int, record: MinuteCount | Progress) -> None:
        """Take one record."""
        if isinstance(record, MinuteCount):
            counts, place = self.counts.setdefault(record.group, {}), (record.minute, record.source_partition)
            if place not in counts or record.version >= counts[place].version:
                counts[place] = record
            return
        watermark = min(record.watermark, append_time)
        self.marks[record.source_partition] = max(watermark, self.marks.get(record.source_partition, watermark))
        if len(self.marks) == record.source_partitions:
            last = (min(self.marks.values()) - self.grace) // self.minute
            for tick in range(last if self.tick is None else self.tick + 1, last + 1):
                self.tick = tick
                self._evaluate(tick)

    def _evaluate(self, tick: int) -> None:
        for group in self.counts:
            for monitor in self.monitors:
                if MISSING not in group:
                    self._step(monitor, group, tick)

    def _step(self, monitor: Monitor, group: tuple[str, ...], tick: int) -> None:
        state = self.states.setdefault((monitor.name, group), _State())
        if state.stayed is None:
            window = next((window for window in monitor.windows if self._fires(monitor, group, tick, window)), None)
            if window is not None:
                state.started = state.stayed = tick
                self._tell(monitor, group, "firing", tick, window)
        elif any(self._stays(monitor, group, tick, window) for window in monitor.windows):
            state.stayed = tick
        elif tick - state.stayed >= monitor.hold:
            state.stayed = None
            self._tell(monitor, group, "resolved", tick, monitor.windows[0])

    def _tell(self, monitor: Monitor, group: tuple[str, ...], status: str, tick: int, window: int) -> None:
        state = self.states[monitor.name, group]
        state.sequence += 1
        negative, total = self._sum(group, tick - window, tick)
        told = Transition(monitor.name, group, status, tick, state.started, state.sequence, negative, total)
        self.transitions.append(told)

    def _fires(self, monitor: Monitor, group: tuple[str, ...], tick: int, window: int) -> bool:
        negative, total = self._sum(group, tick - window, tick)
        recent, votes = self._sum(group, tick - max(window // 6, monitor.least_recent), tick)
        top = self._top(group, tick - window, tick)
        return (
            total >= monitor.min_votes
            and _above(monitor, negative, total)
            and _above(monitor, negative - top, total - top)
            and recent > monitor.threshold * votes
        )

    def _stays(self, monitor: Monitor, group: tuple[str, ...], tick: int, window: int) -> bool:
        negative, total = self._sum(group, tick - window, tick)
        recent, votes = self._sum(group, tick - max(window // 6, monitor.least_recent), tick)
        recovered = votes >= monitor.recovery_votes and recent <= monitor.threshold * votes
        return total >= monitor.min_votes and _above(monitor, negative, total) and not recovered

    def _within(self, group: tuple[str, ...], begin: int, end: int) -> Iterator[MinuteCount]:
        low, high = begin * self.minute, end * self.minute
        return (count for (minute, _source), count in self.counts[group].items() if low <= minute < high)

    def _sum(self, group: tuple[str, ...], begin: int, end: int) -> tuple[int, int]:
        found = [(count.negative, count.negative + count.positive) for count in self._within(group, begin, end)]
        return sum(negative for negative, _ in found), sum(total for _, total in found)

    def _top(self, group: tuple[str, ...], begin: int, end: int) -> int:
        users: dict[str, int] = {}
        for count in self._within(group, begin, end):
            for user, negative in count.top_negative_users.items():
                users[user] = users.get(user, 0) + negative
        return max((negative for user, negative in users.items() if user), default=0)


def _above(monitor: Monitor, negative: int, total: int) -> bool:
    spread = math.sqrt(total * monitor.threshold * (1 - monitor.threshold))
    return negative > monitor.threshold * total + monitor.z * spread


def told(alert: Alert, minute: int) -> Transition:
    """An alert of the engine in the same form."""
    return Transition(
        alert.monitor,
        tuple(alert.group.values()),
        alert.status,
        alert.evaluated_at // minute,
        alert.started_at // minute,
        alert.sequence,
        alert.negative,
        alert.total,
    )
