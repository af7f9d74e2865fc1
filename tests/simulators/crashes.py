"""One source partition of `resolve` under crashes, zombies, half-published batches and compaction, record by record.

Meaning is the real fold. What is simulated is the world around it: two topics (rows, counts), a committed offset, a
worker that may stop between any two records, and a zombie that goes on with the batch it had in work.

`Habits` are the rules the shell keeps. Each can be broken on purpose, to see that the rule is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any
from unittest.mock import patch

from processors.deduplicate import Arrival
from processors.minutes import Cell, CellKey, Grain
from processors.pipeline import Folded, Partition
from schemas.events import AMEND, FeedbackEvent, ResolvedFeedback
from schemas.feedback_ids import packed
from schemas.topics import murmur2, request_key, version_of
from tests.simulators import recount
from tests.simulators.memory import Memory, Rows, arrivals, counted

BEGIN = 1_000_000_000_000
ROLLUPS = ((), ("model",))
WHERE = Partition(0, 1, ROLLUPS, grain=Grain(minute=10, day=40))

Log = list[tuple[int, FeedbackEvent]]
Publish = Callable[[Memory, CellKey, Cell], bool]


def everything(memory: Memory, key: CellKey, cell: Cell) -> bool:
    """Publish every touched cell."""
    return True


def only_changed(memory: Memory, key: CellKey, cell: Cell) -> bool:
    """Broken: leave out touched cells whose net change is zero."""
    return memory.days[key[1] // WHERE.grain.day].get(key, Cell()) != cell


def only_filled(memory: Memory, key: CellKey, cell: Cell) -> bool:
    """Broken: leave out cells that became zero."""
    return cell != Cell()


@dataclass(frozen=True, slots=True)
class Habits:
    """How the shell works around the fold; the defaults are the product's."""

    rows_first: bool = False
    publish: Publish = everything
    flush_cells_apart: bool = False  # cells of some batches only with a later batch
    last_record_recovers: bool = False
    heal: bool = True
    compact_unread: bool = False  # compaction reaches records that the owner has not read back
    forget_ids: bool = False  # the index of feedback ids is not rebuilt from recovered rows
    ignore_batch: bool = False  # feedback ids of rows that the same batch changes are not seen


def history(dice: Random) -> Log:
    """A random short log of few requests: votes, flips, amendments, re-sends, context, retractions and erasures."""
    events: list[FeedbackEvent] = []
    for number in range(dice.randint(8, 36)):
        ids = [event.feedback_id for event in events if event.feedback_id is not None]
        if events and dice.random() < 0.15:
            events.append(dice.choice(events))
        elif ids and dice.random() < 0.3:
            events.append(_amendment(dice, number, dice.choice(ids[-6:])))
        else:
            events.append(_event(dice, number))
    return [(BEGIN + 200 + place, event) for place, event in enumerate(events)]


def _amendment(dice: Random, number: int, feedback_id: str) -> FeedbackEvent:
    event_id = f"{dice.choice('ae')}{number}"  # before or after those of votes that share its millisecond
    said: dict[str, Any] = {"value": float(dice.randint(-1, 1))} if dice.random() < 0.8 else {"weight": 0.5}
    if dice.random() < 0.3:
        said["metadata"] = {"model": dice.choice(('"a"', '"b"', None))}
    return FeedbackEvent("acme", "", event_id, AMEND, feedback_id=feedback_id, **said)


def _event(dice: Random, number: int) -> FeedbackEvent:
    chance, time = dice.random(), BEGIN + dice.randint(0, 119)
    identity = ("acme", f"r{dice.randint(0, 6)}", f"e{number}")
    model = {"model": dice.choice(('"a"', '"b"', None))} if dice.random() < 0.7 else {}
    if chance < 0.03:
        return FeedbackEvent(*identity, "erase", event_time=time)
    if chance < 0.10:
        return FeedbackEvent(*identity, "retract", event_time=time)
    if chance < 0.18:
        return FeedbackEvent(*identity, "context", event_time=time, metadata=model or {"model": '"a"'})
    rating, user = dice.random() < 0.5, dice.choice(("ann", "bob", None))
    if dice.random() < 0.4:  # as a vendor's client votes: without a time, under an id to come back to
        feedback_id = packed(murmur2(request_key(*identity[:2])), number, 0)
        value = 1.0 if rating else -1.0
        return FeedbackEvent(*identity, "vote", value=value, user_id=user, metadata=model, feedback_id=feedback_id)
    ahead = 10_000 if chance > 0.97 else 0
    return FeedbackEvent(*identity, "vote", event_time=time + ahead, rating=rating, user_id=user, metadata=model)


class World:
    """Topics, the committed offset, one owner and any number of zombies."""

    def __init__(self, seed: int, habits: Habits) -> None:
        self.dice, self.habits = Random(seed), habits
        self.log = history(self.dice)
        self.records = arrivals(self.log)
        self.latest: list[tuple[bytes, ResolvedFeedback]] = []
        self.minutes: list[tuple[CellKey, Cell, int]] = []
        self.committed = self.read_back = 0
        self.owed: dict[CellKey, None] = {}
        self.owner = self._recover()

    def run(self) -> None:
        """Until everything is committed and the last zombie has stopped."""
        zombies: list[Iterator[None]] = []
        while self.committed < len(self.records):
            self._batch(zombies)
            self._world_turns()
        while zombies:
            self._stir(zombies)

    def _batch(self, zombies: list[Iterator[None]]) -> None:
        end = min(len(self.records), self.committed + self.dice.randint(1, 12))
        steps = self._steps(self.owner, self.records[self.committed : end])
        left = self.dice.randint(0, 14) if self.dice.random() < 0.3 else -1
        for _ in steps:
            if left == 0:
                if self.dice.random() < 0.5:
                    zombies.append(steps)
                self.owner = self._recover()
                return
            left -= 1
            if zombies and self.dice.random() < 0.2:
                self._stir(zombies)

    def _stir(self, zombies: list[Iterator[None]]) -> None:
        """One of the zombies publishes one more record, also between two of the owner's."""
        zombie = self.dice.choice(zombies)
        if next(zombie, self) is self:
            zombies.remove(zombie)

    def _world_turns(self) -> None:
        self.owner.evict(lambda day: self.dice.random() < 0.2)
        if self.dice.random() < 0.2 and not (self.habits.compact_unread or self.habits.last_record_recovers):
            self._reread()
        if self.dice.random() < 0.3:
            self._compact(len(self.latest) if self.habits.compact_unread else self.read_back)

    def _steps(self, memory: Memory, batch: list[Arrival]) -> Iterator[None]:
        """One batch, stopping after every record that is published."""
        folded, last = self._fold(memory, batch), batch[-1].offset
        cells, rows = self._cells(memory, folded, version_of(1, last)), self._rows(folded)
        for half in (rows, cells) if self.habits.rows_first else (cells, rows):
            yield from half
        memory.evict(lambda day: self.dice.random() < 0.1)  # another partition's commit may trim this one's days
        memory.commit(folded)
        if memory is self.owner:
            self.committed = last + 1
        yield

    def _fold(self, memory: Memory, batch: list[Arrival]) -> Folded:
        if not self.habits.ignore_batch:
            return memory.fold(batch)
        with patch.object(Folded, "keys_of", lambda *_: frozenset()):
            return memory.fold(batch)

    def _cells(self, memory: Memory, folded: Folded, version: int) -> Iterator[None]:
        cells = dict(folded.cells)
        if self.habits.flush_cells_apart:
            self.owed |= dict.fromkeys(cells)
            whole = self.committed + 12 >= len(self.records) or self.dice.random() < 0.3
            due, self.owed = (self.owed, {}) if whole else ({}, self.owed)
            cells = {key: cells.get(key) or memory.day(key[1] // WHERE.grain.day).get(key, Cell()) for key in due}
        out = [(key, cell) for key, cell in cells.items() if self.habits.publish(memory, key, cell)]
        self.dice.shuffle(out)  # cells of one batch go to many partitions
        for key, cell in out:
            self.minutes.append((key, cell.copy(), version))
            yield

    def _rows(self, folded: Folded) -> Iterator[None]:
        out = list(folded.rows.items())
        self.dice.shuffle(out)
        for row in out:
            self.latest.append(row)
            yield

    def _recover(self) -> Memory:
        self.owed = {}
        if self.habits.last_record_recovers:
            return Memory(WHERE, dict(self.latest))
        self._heal()
        return self._remembered(highest(self.latest))

    def _remembered(self, rows: Rows) -> Memory:
        memory = Memory(WHERE, rows)
        if self.habits.forget_ids:
            memory.forget_ids()
        return memory

    def _reread(self) -> None:
        """Owners read the tail of their own changelog now and then; rows that changed void what came from them."""
        self._heal()
        rows = highest(self.latest)
        if rows != self.owner.rows:
            self.owner = self._remembered(rows)

    def _heal(self) -> None:
        """Write again the winners that an older record follows."""
        self.read_back = len(self.latest)
        if self.habits.heal and not self.habits.last_record_recovers:
            last = dict(self.latest)
            self.latest += [(key, row) for key, row in highest(self.latest).items() if last[key] != row]

    def _compact(self, end: int) -> None:
        """The broker keeps the last record of each key, whatever its version."""
        kept = dict(self.latest[:end])
        self.latest[:end] = list(kept.items())
        self.read_back = min(self.read_back, len(kept))

    def is_right(self) -> bool:
        """Rows and counts, read as every reader reads them, equal a plain recount of the log."""
        truth = recount.rows(self.log)
        rows = highest(self.latest)
        if {key: recount.content(row) for key, row in rows.items()} != {
            request_key(*name): row.content() for name, row in truth.items()
        }:
            return False
        return self._counts() == recount.cells(truth, ROLLUPS, WHERE.grain.minute)

    def _counts(self) -> recount.Counts:
        newest: dict[CellKey, tuple[int, Cell]] = {}
        for key, cell, version in self.minutes:
            if key not in newest or version >= newest[key][0]:
                newest[key] = (version, cell)
        return counted({key: cell for key, (_version, cell) in newest.items()})


def highest(latest: list[tuple[bytes, ResolvedFeedback]]) -> Rows:
    """The row with the highest version of each key."""
    rows: Rows = {}
    for key, row in latest:
        if key not in rows or row.version >= rows[key].version:
            rows[key] = row
    return rows


def is_wrong(seed: int, habits: Habits) -> bool:
    """True when the history of this seed ends with a wrong row or count."""
    world = World(seed, habits)
    world.run()
    return not world.is_right()
