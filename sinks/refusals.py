"""Rows that ClickHouse refuses for their content: found by halving, counted, and stopped when they are too many."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from sinks.batch import Entry
from sinks.writer import UnfitRowsError


class TooManyRefusedError(Exception):
    """So many rows are unfit that the fault is not in the rows: going on would drain a topic into dead letters."""


class Tally:
    """Remembers the last `window` rows. More than `share` of a full window unfit, or `run` in a row: too many."""

    def __init__(self, window: int = 1_000, share: float = 0.05, run: int = 50) -> None:
        self._recent: deque[bool] = deque(maxlen=window)
        self._most_unfit = int(window * share)
        self._most_in_a_row = run
        self._in_a_row = 0

    def stored(self, count: int) -> None:
        """Note `count` rows that were stored."""
        self._recent.extend([False] * min(count, self._recent.maxlen or 0))
        self._in_a_row = 0 if count else self._in_a_row

    def refused(self) -> None:
        """Note an unfit row. Raises TooManyRefusedError when it is one too many."""
        self._recent.append(True)
        self._in_a_row += 1
        if self._in_a_row >= self._most_in_a_row or sum(self._recent) > self._most_unfit:
            raise TooManyRefusedError(
                f"{self._in_a_row} rows in a row and {sum(self._recent)} of the last {len(self._recent)} are unfit"
            )


Insert = Callable[[Sequence[Entry]], None]


def store(entries: Sequence[Entry], insert: Insert, tally: Tally) -> list[tuple[Entry, str]]:
    """Insert all that can be inserted and give the unfit rows, each with what ClickHouse says.

    One unfit row among n costs about 2 log2(n) more inserts. Whatever else `insert` raises passes through; what was
    inserted by then may be inserted again.
    """
    try:
        insert(entries)
    except UnfitRowsError as error:
        if len(entries) == 1:
            tally.refused()
            return [(entries[0], str(error))]
        half = len(entries) // 2
        return store(entries[:half], insert, tally) + store(entries[half:], insert, tally)
    tally.stored(len(entries))
    return []
