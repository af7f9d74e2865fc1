"""What waits to be stored: the rows of one topic, when they are due, and the offsets to commit once they are in.

Pure: time comes as an argument, in seconds of any steady clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sinks.rows import Row, Table


class Source(NamedTuple):
    """A record as the broker gave it; kept beside its rows until they are stored, for a dead letter may need it."""

    topic: str
    partition: int
    offset: int
    append_time: int
    key: bytes | None
    value: bytes | None

    @property
    def size(self) -> int:
        """Bytes that this record holds in memory, about."""
        return len(self.key or b"") + len(self.value or b"")


class Entry(NamedTuple):
    """One row and the record it came from."""

    row: Row
    source: Source


@dataclass(frozen=True, slots=True)
class Limits:
    """A batch is due at the first of these; under backlog it may grow `backlog` times as large, in the same time."""

    rows: int = 10_000
    size: int = 4 << 20
    seconds: float = 1.0
    backlog: int = 5


class Batch:
    """Rows of one topic, by table. Records without rows count too: their offsets must be committed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.clear()

    def clear(self) -> None:
        """Forget everything: it is stored, or another sink reads it again."""
        self._tables: dict[Table, list[Entry]] = {}
        self._offsets: dict[int, int] = {}
        self._size = self._rows = 0
        self._since: float | None = None

    def add(self, source: Source, rows: Iterable[tuple[Table, Row]], now: float) -> None:
        """Take over a record's rows, and its offset as done once they are stored."""
        for table, row in rows:
            self._tables.setdefault(table, []).append(Entry(row, source))
            self._rows += 1
        self._size += source.size
        self._offsets[source.partition] = source.offset + 1
        if self._since is None:
            self._since = now

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget what came from these partitions; their next owner reads it again."""
        lost = set(partitions)
        kept = [
            (table, [entry for entry in entries if entry.source.partition not in lost])
            for table, entries in self._tables.items()
        ]
        self._tables = {table: entries for table, entries in kept if entries}
        self._offsets = {partition: offset for partition, offset in self._offsets.items() if partition not in lost}
        self._rows = sum(map(len, self._tables.values()))
        self._size = sum(entry.source.size for entries in self._tables.values() for entry in entries)
        self._since = self._since if self._offsets else None

    def due(self, now: float, *, backlog: bool = False) -> bool:
        """Tell whether to store now. `backlog`: more records are waiting already, so larger inserts pay."""
        factor = self._limits.backlog if backlog else 1
        return self._since is not None and (
            self._rows >= self._limits.rows * factor
            or self._size >= self._limits.size * factor
            or now - self._since >= self._limits.seconds
        )

    @property
    def tables(self) -> dict[Table, list[Entry]]:
        """Rows by table, each in the order of arrival."""
        return self._tables

    @property
    def offsets(self) -> dict[int, int]:
        """Partition -> next offset to read, once every row here is stored."""
        return dict(self._offsets)

    def __bool__(self) -> bool:
        return bool(self._offsets)

    def __len__(self) -> int:
        return self._rows
