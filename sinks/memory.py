"""A store in memory that keeps the promises of ClickHouse's: the newest version of a key wins, whatever comes twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sinks.rows import ALERTS, DEAD_LETTERS, ERASED, EVENTS, FEEDBACK_IDS, LATEST, MINUTES, Row, Table
from sinks.writer import MisconfiguredError, UnavailableError, UnfitRowsError

_KEYS = {
    EVENTS: "tenant_id request_id source_partition version",
    LATEST: "tenant_id request_id",
    ERASED: "tenant_id request_id",
    FEEDBACK_IDS: "tenant_id feedback_id",
    MINUTES: "tenant_id rollup group_key minute source_partition",
    ALERTS: "tenant_id fingerprint started_at status sequence",
    DEAD_LETTERS: "letter_id",
}


class MemoryWriter:
    """Rows by table and key. `away` names tables that are unavailable now; "*" means all of them."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self._rows: dict[Table, dict[tuple[object, ...], Row]] = {table: {} for table in _KEYS}

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Store all rows or none."""
        self._reachable(table.name)
        if table not in self._rows:
            raise MisconfiguredError(f"table missing: {table.name}")
        if any(len(row) != len(table.columns) or _version(table, row) < 0 for row in rows):
            raise UnfitRowsError(f"a row does not fit {table.name}")
        kept = self._rows[table]
        for row in rows:
            key = tuple(row[table.columns.index(name)] for name in _KEYS[table].split())
            if key not in kept or _version(table, row) >= _version(table, kept[key]):
                kept[key] = row

    def newest_versions(self) -> Mapping[int, int]:
        """Source partition -> greatest version among stored events."""
        self._reachable(EVENTS.name)
        newest: dict[int, int] = {}
        for row in self._rows[EVENTS].values():
            source_partition = row[EVENTS.columns.index("source_partition")]
            newest[source_partition] = max(newest.get(source_partition, 0), _version(EVENTS, row))
        return newest

    def purge_erased(self) -> None:
        """Delete events and rows of erased requests."""
        self._reachable(ERASED.name)
        erased = {row[:2] for row in self._rows[ERASED].values()}
        for table in (EVENTS, LATEST):
            self._rows[table] = {
                key: row for key, row in self._rows[table].items() if self._owner(table, row) not in erased
            }

    def _owner(self, table: Table, row: Row) -> Row:
        """Tenant and request that a row of events or rows is about; of an amendment only its feedback id tells."""
        if table != EVENTS or row[EVENTS.columns.index("kind")] != "amend":
            return row[:2]
        known = self._rows[FEEDBACK_IDS].get((row[0], row[EVENTS.columns.index("feedback_id")]))
        return row[:2] if known is None else (known[0], known[2])

    def stored(self, table: Table) -> list[Row]:
        """The rows of a table, one per key."""
        return list(self._rows[table].values())

    def _reachable(self, name: str) -> None:
        if self.away & {name, "*"}:
            raise UnavailableError(f"{name} is away")


def _version(table: Table, row: Row) -> int:
    return int(row[table.columns.index("version")]) if "version" in table.columns else 0
