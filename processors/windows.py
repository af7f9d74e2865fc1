"""Sliding windows over minute counts: for every group the sums of its last W minutes, kept up to date. Pure.

    tick T:      ... |T-3|T-2|T-1| T       a window of W minutes at tick T is [T-W, T): minute T has only begun
    window 3:        [===========)

A count replaces the one it succeeds (same group, minute and source partition, higher version), so a correction moves
every sum it lies in by the difference.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from processors.minutes import Group, rollup_of
from schemas.events import MinuteCount


class Sum(NamedTuple):
    """Negatives among the votes of a window."""

    negative: int = 0
    total: int = 0


_NONE = Sum()


@dataclass(frozen=True, slots=True)
class _Count:
    version: int
    negative: int
    total: int
    users: Mapping[str, int]


class Windows:
    """All groups of one minutes partition. Minutes are numbers since the epoch, `minute` is their length in ms.

    Counts are kept for the longest span, and for `keep` minutes at least.
    """

    def __init__(self, spans: Iterable[int], minute: int = 60_000, keep: int = 0) -> None:
        self._set_spans(spans)
        self.keep = max(keep, *self._spans, 0)
        self._minute = minute
        self._counts: dict[tuple[Group, int], dict[int, _Count]] = {}
        self._minutes: dict[int, dict[Group, list[int]]] = {}  # minute -> group -> [negative, total]
        self._sums: dict[Group, list[list[int]]] = {}  # group -> one [negative, total] per span
        self._changed: set[Group] = set()
        self._moves: list[int] = []  # a heap of the ticks at which a minute enters or leaves a window
        self.tick: int | None = None

    def _set_spans(self, spans: Iterable[int]) -> None:
        self._spans = tuple(sorted(set(spans)))
        self._places = {span: place for place, span in enumerate(self._spans)}

    def look_back(self, spans: Iterable[int]) -> None:
        """Ask for other spans from now on. One longer than what is kept sees only what is kept."""
        self._set_spans(spans)
        self.keep = max(self.keep, *self._spans, 0)
        self._sums.clear()
        self._moves.clear()
        for minute, groups in self._minutes.items():
            self._note_moves(minute)
            if self.tick is not None and minute < self.tick:
                for group, (negative, total) in groups.items():
                    self._count_in(group, minute, negative, total)

    def put(self, count: MinuteCount) -> None:
        """Take one record in. Minutes that no later window can see are left out."""
        minute = count.minute // self._minute
        if self.tick is not None and minute < self.tick - self.keep:
            return
        group = Group(count.tenant_id, rollup_of(count.rollup), count.group)
        sources = self._counts.setdefault((group, minute), {})
        old = sources.get(count.source_partition)
        if old is not None and count.version < old.version:
            return
        total = count.negative + count.positive
        sources[count.source_partition] = _Count(count.version, count.negative, total, count.top_negative_users)
        self._add(group, minute, count.negative - (old.negative if old else 0), total - (old.total if old else 0))
        self._changed.add(group)  # also when only the users changed: a rule looks at them

    def _note_moves(self, minute: int) -> None:
        for span in (0, *self._spans, self.keep):
            heapq.heappush(self._moves, minute + 1 + span)

    def _add(self, group: Group, minute: int, negative: int, total: int) -> None:
        if minute not in self._minutes:
            self._note_moves(minute)
        counted = self._minutes.setdefault(minute, {}).setdefault(group, [0, 0])
        counted[0] += negative
        counted[1] += total
        if self.tick is not None and minute < self.tick:
            for span, sums in zip(self._spans, self._of(group), strict=True):
                if minute >= self.tick - span:
                    sums[0] += negative
                    sums[1] += total

    def _of(self, group: Group) -> list[list[int]]:
        sums = self._sums.get(group)
        if sums is None:
            sums = self._sums[group] = [[0, 0] for _ in self._spans]
        return sums

    def is_quiet(self, tick: int) -> bool:
        """True when moving on to `tick`, the next one, changes nothing and nothing has changed since `changed`."""
        return self.tick is not None and not self._changed and not (self._moves and self._moves[0] <= tick)

    def pass_over(self, tick: int) -> None:
        """Move to a quiet tick."""
        self.tick = tick

    def move_to(self, tick: int) -> None:
        """Slide every window to `tick`: one minute on, or to the first tick ever."""
        while self._moves and self._moves[0] <= tick:
            heapq.heappop(self._moves)
        if self.tick is None:
            self._begin(tick)
            return
        assert tick == self.tick + 1
        self.tick = tick
        entering = self._minutes.get(tick - 1)
        for index, span in enumerate(self._spans):
            if entering:
                self._slide(index, entering, 1)
            if leaving := self._minutes.get(tick - 1 - span):
                self._slide(index, leaving, -1)
        self._forget(tick - 1 - self.keep)

    def _slide(self, index: int, minute: Mapping[Group, list[int]], sign: int) -> None:
        for group, (negative, total) in minute.items():
            sums = self._of(group)[index]
            sums[0] += sign * negative
            sums[1] += sign * total
            self._changed.add(group)

    def _begin(self, tick: int) -> None:
        self.tick = tick
        for minute in sorted(self._minutes):
            if minute < tick - self.keep:
                self._forget(minute)
            elif minute < tick:
                for group, (negative, total) in self._minutes[minute].items():
                    self._count_in(group, minute, negative, total)

    def _count_in(self, group: Group, minute: int, negative: int, total: int) -> None:
        assert self.tick is not None
        for span, sums in zip(self._spans, self._of(group), strict=True):
            if minute >= self.tick - span:
                sums[0] += negative
                sums[1] += total

    def _forget(self, minute: int) -> None:
        for group in self._minutes.pop(minute, ()):
            del self._counts[group, minute]
            sums = self._sums.get(group)
            if sums is not None and not any(map(any, sums)):
                del self._sums[group]  # back when the group votes again

    def changed(self) -> set[Group]:
        """Groups whose sums or users may differ since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def touch(self, group: Group | None = None) -> None:
        """Make `changed` tell of a group, or of all that have counts, although nothing changed."""
        self._changed.update(self._sums if group is None else (group,))

    def sum(self, group: Group, span: int) -> Sum:
        """Counts of the group's last `span` minutes; `span` must be one of the spans given at the start."""
        sums = self._sums.get(group)
        return Sum(*sums[self._places[span]]) if sums is not None else _NONE

    def top_user(self, group: Group, span: int) -> int:
        """Negative votes of the user with most of them in the last `span` minutes. Unknown users are many people."""
        users: dict[str, int] = {}
        for count in self._within(group, span):
            for user, negative in count.users.items():
                if user:
                    users[user] = users.get(user, 0) + negative
        return max(users.values(), default=0)

    def _within(self, group: Group, span: int) -> Iterator[_Count]:
        assert self.tick is not None
        for minute in range(self.tick - span, self.tick):
            yield from self._counts.get((group, minute), {}).values()
