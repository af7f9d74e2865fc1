"""Alert transitions by brute force: every group, every rule, every tick of a minutes partition, summed from scratch."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.events import MinuteCount, Progress
from schemas.topics import group_key
from tests.chaos.plan import GRACE, MINUTE, RULES, Rule


class Transition(NamedTuple):
    """What an alert record must say. Times are epoch ms."""

    fingerprint: str
    alert_id: str
    tenant: str
    monitor: str
    group: tuple[tuple[str, str], ...]
    status: str
    started_at: int
    evaluated_at: int
    ended_at: int | None
    window: int
    negative: int
    total: int
    top_user: int | None  # negatives of the user with most of them; only said when it fires
    sequence: int


class _Group(NamedTuple):
    tenant: str
    rollup: str
    values: tuple[str, ...]


@dataclass(slots=True)
class _State:
    """One alert: when it began and last stayed, as numbers of minutes; None while it is not open."""

    began: int | None = None
    stayed: int = 0
    sequence: int = 0


@dataclass(slots=True)
class BruteForce:
    """Feed it every record of one minutes partition in log order."""

    transitions: list[Transition] = field(default_factory=list)
    ticks: list[int] = field(default_factory=list)
    _counts: dict[tuple[_Group, int], dict[int, MinuteCount]] = field(default_factory=lambda: defaultdict(dict))
    _groups: dict[_Group, set[int]] = field(default_factory=lambda: defaultdict(set))
    _marks: dict[int, int] = field(default_factory=dict)
    _states: dict[str, _State] = field(default_factory=lambda: defaultdict(_State))
    _time: int = -1

    def feed(self, records: Iterable[tuple[int, MinuteCount | Progress]]) -> None:
        """Take (append time, record) pairs."""
        for append_time, record in records:
            if isinstance(record, MinuteCount):
                self._count(record)
            else:
                self._mark(append_time, record)

    def _count(self, record: MinuteCount) -> None:
        group, minute = _Group(record.tenant_id, record.rollup, record.group), record.minute // MINUTE
        held = self._counts[group, minute]
        old = held.get(record.source_partition)
        if old is None or record.version >= old.version:
            held[record.source_partition] = record
        self._groups[group].add(minute)

    def _mark(self, append_time: int, mark: Progress) -> None:
        seen = min(mark.watermark, append_time)
        self._marks[mark.source_partition] = max(seen, self._marks.get(mark.source_partition, seen))
        if len(self._marks) < mark.source_partitions:
            return
        time = min(self._marks.values())
        if time <= self._time:
            return
        self._time = time
        last = (time - GRACE) // MINUTE
        for tick in range(self.ticks[-1] + 1 if self.ticks else last, last + 1):
            self.ticks.append(tick)
            self._evaluate(tick)

    def _evaluate(self, tick: int) -> None:
        made = [
            found
            for group in self._groups
            for rule in RULES
            if ("+".join(rule.rollup) or "tenant") == group.rollup and "(none)" not in group.values
            for found in self._step(rule, group, tick)
        ]
        self.transitions += sorted(made)

    def _step(self, rule: Rule, group: _Group, tick: int) -> Iterator[Transition]:
        text = "\n".join((rule.name, group.tenant, group.rollup, group_key(group.values)))
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        state = self._states[fingerprint]
        if state.began is None:
            window = next((window for window in rule.windows if self._fires(rule, group, window, tick)), None)
            if window is not None:
                state.began = state.stayed = tick
                state.sequence += 1
                yield self._transition(rule, group, fingerprint, state, tick, window, firing=True)
        elif any(self._stays(rule, group, window, tick) for window in rule.windows):
            state.stayed = tick
        elif tick - state.stayed >= rule.hold:
            state.sequence += 1
            yield self._transition(rule, group, fingerprint, state, tick, rule.windows[0], firing=False)
            state.began = None

    def _transition(
        self, rule: Rule, group: _Group, fingerprint: str, state: _State, tick: int, window: int, *, firing: bool
    ) -> Transition:
        assert state.began is not None
        status, began, now = "firing" if firing else "resolved", state.began * MINUTE, tick * MINUTE
        negative, total = self._sum(group, window, tick)
        return Transition(
            fingerprint,
            f"{fingerprint}:{began}:{status}:{state.sequence}",
            group.tenant,
            rule.name,
            tuple(sorted(zip(rule.rollup, group.values, strict=True))),
            status,
            began,
            now,
            None if firing else now,
            window,
            negative,
            total,
            self._top_user(group, window, tick) if firing else None,
            state.sequence,
        )

    def _fires(self, rule: Rule, group: _Group, window: int, tick: int) -> bool:
        negative, total = self._sum(group, window, tick)
        if total < rule.min_votes or not _above(rule, negative, total):
            return False
        recent, votes = self._sum(group, _recent(rule, window), tick)
        top = self._top_user(group, window, tick)
        return recent > rule.threshold * votes and _above(rule, negative - top, total - top)

    def _stays(self, rule: Rule, group: _Group, window: int, tick: int) -> bool:
        negative, total = self._sum(group, window, tick)
        recent, votes = self._sum(group, _recent(rule, window), tick)
        recovered = votes >= rule.recovery_votes and recent <= rule.threshold * votes
        return total >= rule.min_votes and _above(rule, negative, total) and not recovered

    def _seen(self, group: _Group, window: int, tick: int) -> Iterator[MinuteCount]:
        minutes = self._groups[group]
        for minute in range(tick - window, tick):
            if minute in minutes:
                yield from self._counts[group, minute].values()

    def _sum(self, group: _Group, window: int, tick: int) -> tuple[int, int]:
        seen = [(count.negative, count.negative + count.positive) for count in self._seen(group, window, tick)]
        return sum(negative for negative, _ in seen), sum(total for _, total in seen)

    def _top_user(self, group: _Group, window: int, tick: int) -> int:
        users: dict[str, int] = defaultdict(int)
        for count in self._seen(group, window, tick):
            for user, negative in count.top_negative_users.items():
                users[user] += negative
        users.pop("", None)
        return max(users.values(), default=0)


def _recent(rule: Rule, window: int) -> int:
    return max(window // 6, rule.least_recent)


def _above(rule: Rule, negative: int, total: int) -> bool:
    """Surely above: more negatives than the threshold's share and z standard deviations explain."""
    share = rule.threshold
    return negative > share * total + rule.z * math.sqrt(max(total, 0) * share * (1 - share))
