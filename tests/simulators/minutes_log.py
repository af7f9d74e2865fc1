"""Random logs of one minutes partition: two source partitions, incidents, lag, late counts, a zombie's old marks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from schemas.events import MISSING, MinuteCount, MonitorSet, Progress

MINUTE = 1_000  # ms
BEGIN = 1_000_000
STEP = 333
MODELS = ("a", "b", MISSING)

Entry = tuple[int, MinuteCount | Progress | MonitorSet]  # append time and record


@dataclass(slots=True)
class _Source:
    """One source partition: how far it is counted, until when it stands still, and its counts so far."""

    number: int
    counted_until: int = BEGIN
    stuck_until: int = 0
    offset: int = 0
    incidents: dict[str, int] = field(default_factory=dict)
    counts: dict[tuple[str, int], tuple[int, int, dict[str, int]]] = field(default_factory=dict)


class MinutesLog:
    """Writes one log; see `minutes_log`."""

    def __init__(self, dice: Random) -> None:
        self.dice, self.entries = dice, list[Entry]()
        self.sources = (_Source(1000), _Source(1001))

    def write(self) -> list[Entry]:
        """The whole log."""
        for step in range(3 * self.dice.randrange(30, 80)):
            now = BEGIN + STEP * (step + 1)
            for source in self.sources:
                self._turn(source, now)
            if self.dice.random() < 0.02:  # a zombie says what was true a while ago
                self._mark(now, self.dice.choice(self.sources), now - self.dice.randrange(5_000))
        return self.entries

    def _turn(self, source: _Source, now: int) -> None:
        if self.dice.random() < 0.015:
            source.stuck_until = now + self.dice.randrange(2, 30) * MINUTE
        if source.stuck_until > now and self.dice.random() > 0.02:
            return
        source.stuck_until = 0
        while source.counted_until + STEP <= now:  # after a standstill: the backlog, in one go
            source.counted_until += STEP
            for model in MODELS:
                self._vote(source, model, now)
            if source.counted_until + STEP > now or self.dice.random() < 0.1:
                self._mark(now, source, source.counted_until)

    def _vote(self, source: _Source, model: str, now: int) -> None:
        time, dice = source.counted_until, self.dice
        if dice.random() < 0.015:
            source.incidents[model] = time + dice.randrange(3, 15) * MINUTE
        if dice.random() < 0.5:
            minute = time // MINUTE - (dice.randrange(15) if dice.random() < 0.1 else 0)  # some votes come late
            bad = dice.random() < (0.8 if source.incidents.get(model, 0) > time else 0.05)
            self._count(source, model, minute, now, bad=bad)

    def _count(self, source: _Source, model: str, minute: int, now: int, *, bad: bool) -> None:
        negative, positive, users = source.counts.get((model, minute), (0, 0, {}))
        if bad:
            user = self.dice.choice(("", *(f"u{number}" for number in range(8))))
            users = {**users, user: users.get(user, 0) + 4}
        negative, positive = negative + 4 * bad, positive + 4 * (not bad)
        if self.dice.random() < 0.05:
            negative, users = 0, {}  # flips: counts go down again
        source.counts[model, minute] = (negative, positive, users)
        source.offset += 1
        count = MinuteCount(
            "acme", "model", (model,), minute * MINUTE, source.number, source.offset, negative, positive, 0, users
        )
        self.entries.append((now, count))
        if self.dice.random() < 0.03:  # a zombie's copy of older counts
            older = MinuteCount("acme", "model", (model,), minute * MINUTE, source.number, source.offset - 1, 9, 0, 0)
            self.entries.append((now, older))

    def _mark(self, now: int, source: _Source, watermark: int) -> None:
        self.entries.append((now, Progress(source.number, len(self.sources), source.offset + 1, watermark)))


def minutes_log(seed: int) -> list[Entry]:
    """The log of a seed."""
    return MinutesLog(Random(seed)).write()


def with_changes(seed: int, log: list[Entry], sets: Sequence[MonitorSet]) -> list[Entry]:
    """The log with sets of monitors in it: now and then another one, and the one in force again and again.

    Some logs get none, and in some the first one comes late.
    """
    dice = Random(seed + 2)
    current, found = None, list[Entry]()
    for time, record in log:
        found.append((time, record))
        if seed % 5 and dice.random() < 0.008:
            current = dice.choice(sets)
            found.append((time, current))
        elif current is not None and dice.random() < 0.02:
            found.append((time, current))
    return found
