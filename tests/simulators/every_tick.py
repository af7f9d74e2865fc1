"""Alert transitions worked out the slow way: every group at every tick, every sum from scratch.

Uses nothing of `processors` but the settings of a monitor, and knows from outside what a set of monitors means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from processors.monitors import Monitor
from schemas.events import MISSING, Alert, MinuteCount, MonitorSet, Progress


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
    reason: str


@dataclass(slots=True)
class _State:
    sequence: int = 0
    started: int = 0
    stayed: int | None = None  # None: not firing
    fired_by: Monitor | None = None
    seen: tuple[int, int] = (0, 0)  # what the alert said when it fired
    since: int | None = None  # the rule is met without a break since this tick


class EveryTick:
    """Reads one minutes log; `transitions` grows."""

    def __init__(
        self,
        monitors: Iterable[Monitor],
        minute: int,
        grace: int,
        sets: Mapping[str, tuple[Monitor, ...]] | None = None,
    ) -> None:
        self.monitors, self.minute, self.grace = tuple(monitors), minute, grace
        self.sets = dict(sets or {})  # hash -> monitors
        self.counts: dict[tuple[str, ...], dict[tuple[int, int], MinuteCount]] = {}
        self.marks: dict[int, int] = {}
        self.tick: int | None = None
        self.states: dict[tuple[str, tuple[str, ...]], _State] = {}
        self.transitions: list[Transition] = []

    def read(self, append_time: int, record: MinuteCount | Progress | MonitorSet) -> None:
        """Take one record."""
        if isinstance(record, MinuteCount):
            counts, place = self.counts.setdefault(record.group, {}), (record.minute, record.source_partition)
            if place not in counts or record.version >= counts[place].version:
                counts[place] = record
            return
        if isinstance(record, MonitorSet):
            self._replace(self.sets[record.hash])
            return
        watermark = min(record.watermark, append_time)
        self.marks[record.source_partition] = max(watermark, self.marks.get(record.source_partition, watermark))
        if len(self.marks) == record.source_partitions:
            last = (min(self.marks.values()) - self.grace) // self.minute
            for tick in range(last if self.tick is None else self.tick + 1, last + 1):
                self.tick = tick
                self._evaluate(tick)

    def _replace(self, monitors: tuple[Monitor, ...]) -> None:
        same = {_rule(monitor) for monitor in self.monitors} & {_rule(monitor) for monitor in monitors}
        self.monitors = monitors
        for (name, _group), state in self.states.items():
            if name not in {rule.name for rule in same}:
                state.since = None

    def _evaluate(self, tick: int) -> None:
        ended = {key for key, state in self.states.items() if state.stayed is not None and self._end(key, state, tick)}
        for group in self.counts:
            for monitor in self.monitors:
                if monitor.enabled and MISSING not in group and _admits(monitor, group):
                    self._step(monitor, group, tick, ended)

    def _end(self, key: tuple[str, tuple[str, ...]], state: _State, tick: int) -> bool:
        """End an alert whose monitor is not what fired any more."""
        monitor = next((one for one in self.monitors if one.name == key[0]), None)
        reason = "monitor removed" if monitor is None else "" if monitor.enabled else "monitor disabled"
        assert state.fired_by is not None
        if monitor is not None and monitor.enabled and _rule(monitor) != _rule(state.fired_by):
            reason = "monitor changed"
        if reason:
            state.stayed = None
            self._tell(key, "resolved", tick, state.seen, reason)
        return bool(reason)

    def _step(
        self, monitor: Monitor, group: tuple[str, ...], tick: int, ended: set[tuple[str, tuple[str, ...]]]
    ) -> None:
        key = (monitor.name, group)
        state = self.states.setdefault(key, _State())
        window = next((window for window in monitor.windows if self._fires(monitor, group, tick, window)), None)
        if window is None:
            state.since = None
        elif state.since is None:
            state.since = tick
        if state.stayed is not None:
            self._go_on(monitor, key, state, tick)
        elif window is not None and state.since is not None and tick - state.since >= monitor.wait and key not in ended:
            state.started = state.stayed = tick
            state.fired_by, state.seen = monitor, self._sum(group, tick - window, tick)
            self._tell(key, "firing", tick, state.seen, "rate above threshold")

    def _go_on(self, monitor: Monitor, key: tuple[str, tuple[str, ...]], state: _State, tick: int) -> None:
        assert state.stayed is not None
        if any(self._stays(monitor, key[1], tick, window) for window in monitor.windows):
            state.stayed = tick
        elif tick - state.stayed >= monitor.hold:
            state.stayed = None
            self._tell(key, "resolved", tick, self._sum(key[1], tick - monitor.windows[0], tick), "recovered")

    def _tell(
        self, key: tuple[str, tuple[str, ...]], status: str, tick: int, seen: tuple[int, int], reason: str
    ) -> None:
        state = self.states[key]
        state.sequence += 1
        self.transitions.append(Transition(*key, status, tick, state.started, state.sequence, *seen, reason))

    def _fires(self, monitor: Monitor, group: tuple[str, ...], tick: int, window: int) -> bool:
        negative, total = self._sum(group, tick - window, tick)
        if monitor.kind == "simple":
            return total >= monitor.min_votes and negative > monitor.threshold * total
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
        if monitor.kind == "simple":
            bound = monitor.threshold if monitor.clear_below is None else monitor.clear_below
            return total >= monitor.min_votes and negative > bound * total
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


def _rule(monitor: Monitor) -> Monitor:
    """What decides of a monitor; the rest may change under an open alert."""
    return replace(monitor, severity="", receivers=(), enabled=True)


def _admits(monitor: Monitor, group: tuple[str, ...]) -> bool:
    return all(group[monitor.rollup.index(name)] in values for name, values in monitor.where)


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
        alert.reason,
    )
