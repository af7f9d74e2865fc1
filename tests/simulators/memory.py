"""A worker's memory of one partition as `resolve` keeps it: rows, and the cells of some days, built from rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from processors.amendments import FeedbackIndex
from processors.deduplicate import Arrival
from processors.minutes import CellKey, DayCells, Rollup, count_row
from processors.pipeline import Folded, Lookup, Partition, days_needed, fold
from schemas.events import FeedbackEvent, ResolvedFeedback
from schemas.feedback_ids import event_key
from tests.simulators.recount import Counts

Rows = dict[bytes, ResolvedFeedback]


def arrivals(log: Sequence[tuple[int, FeedbackEvent]]) -> list[Arrival]:
    """A log of (append time, event) as records of one partition."""
    return [Arrival(offset, append_time, event_key(event), event) for offset, (append_time, event) in enumerate(log)]


class Memory:
    """Changes only by `commit`, like the worker's: whoever crashes before has changed nothing."""

    def __init__(self, where: Partition, rows: Rows | None = None) -> None:
        self.where, self.rows = where, dict(rows or {})
        self.days: dict[int, DayCells] = {}
        self.ids = FeedbackIndex()
        self.lookup = Lookup(self.rows.get, lambda key_hash: self.ids.keys(key_hash))
        self._index(self.rows)

    def fold(self, batch: Sequence[Arrival]) -> Folded:
        """Fold a batch over memory, with exactly the days at hand that `days_needed` names."""
        needed = days_needed(batch, self.lookup, self.where.grain)
        return fold(self.where, batch, self.lookup, {day: self.day(day) for day in needed})

    def day(self, day: int) -> DayCells:
        """The cells of one day, built when they are not held."""
        if day not in self.days:
            self.days[day] = self.built(day)
        return self.days[day]

    def built(self, day: int) -> DayCells:
        """The cells of one day, from all rows whose vote lies in it."""
        cells: DayCells = {}
        for row in self.rows.values():
            if row.vote_time is not None and row.vote_time // self.where.grain.day == day:
                count_row(cells, row, self.where.rollups, self.where.grain)
        return cells

    def commit(self, folded: Folded) -> None:
        """Make a published batch the state of memory."""
        self.rows.update(folded.rows)
        self._index(folded.rows)
        for key, cell in folded.cells.items():
            held = self.days.get(key[1] // self.where.grain.day)
            if held is not None:
                held[key] = cell

    def forget_ids(self) -> None:
        """Broken: lose the index of feedback ids."""
        self.ids = FeedbackIndex()

    def _index(self, rows: Rows) -> None:
        for key, row in rows.items():
            if row.vote is not None and row.vote.feedback_id:  # of an encoded row the index sees nothing else
                self.ids.note(key, row.vote.feedback_id.encode())

    def evict(self, unlucky: Callable[[int], bool]) -> None:
        """Forget some days; they can be built again."""
        self.days = {day: cells for day, cells in self.days.items() if not unlucky(day)}

    def run(self, batch: Sequence[Arrival]) -> Folded:
        """Fold and commit."""
        folded = self.fold(batch)
        self.commit(folded)
        return folded


def counted(cells: DayCells) -> Counts:
    """Cells in the plain form of `recount.cells`; cells that hold nothing are left out."""
    return {
        _place(key): {"negative": c.negative, "positive": c.positive, "neutral": c.neutral, "users": c.users}
        for key, c in cells.items()
        if c.negative or c.positive or c.neutral
    }


def _place(key: CellKey) -> tuple[str, tuple[str, ...], tuple[str, ...], int]:
    group, minute = key
    return group.tenant_id, group.rollup, group.values, minute


def all_cells(rows: Iterable[ResolvedFeedback], rollups: Sequence[Rollup], where: Partition) -> DayCells:
    """The cells of all days, from rows."""
    cells: DayCells = {}
    for row in rows:
        count_row(cells, row, rollups, where.grain)
    return cells
