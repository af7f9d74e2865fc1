"""Stream time from progress marks, and the whole minutes it has passed. Pure; no wall clock.

A mark says how far one source partition is counted. Stream time is the least of all partitions, so a partition that
lags holds every tick back: lag delays alerts but never fakes or loses one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.events import Progress
from schemas.topics import epoch_of

GRACE = 5_000  # ms that stream time must lie past a minute before the minute is evaluated


@dataclass(slots=True)
class StreamTime:
    """Turns marks into ticks. A tick is a whole minute of stream time, named by its number since the epoch."""

    minute: int = 60_000
    grace: int = GRACE
    now: int | None = None  # stream time, epoch ms; None until every source partition has sent a mark
    tick: int | None = None  # the last tick handed out
    _watermarks: dict[int, int] = field(default_factory=dict)
    _sources: int = 0
    _epoch: int = 0

    def mark(self, progress: Progress, append_time: int) -> range:
        """Take one mark; the ticks that are due now, in order and none skipped (the first one starts the count)."""
        source = progress.source_partition
        if not self._in_force(epoch_of(source)):
            return range(0)
        # A mark's own append time bounds it: a worker's clock may run ahead, the broker's log does not.
        seen = min(progress.watermark, append_time)
        self._watermarks[source] = max(seen, self._watermarks.get(source, seen))
        self._sources = max(self._sources, progress.source_partitions)
        if len(self._watermarks) < self._sources:
            return range(0)
        return self._advance(min(self._watermarks.values()))

    def _in_force(self, epoch: int) -> bool:
        """False for an older epoch: nobody marks its partitions any more, and they would hold stream time for ever."""
        if epoch > self._epoch:
            self._epoch, self._sources = epoch, 0
            self._watermarks.clear()
        return epoch == self._epoch

    def _advance(self, least: int) -> range:
        if self.now is not None and least <= self.now:
            return range(0)
        self.now = least
        last = (least - self.grace) // self.minute
        first = last if self.tick is None else self.tick + 1
        self.tick = last
        return range(first, last + 1)
