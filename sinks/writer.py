"""What the sink asks of a store, whichever it is, and what may go wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from sinks.rows import Row, Table


class UnavailableError(Exception):
    """ClickHouse cannot take rows now; the same insert may succeed later. `code` is its error code, or "network"."""

    def __init__(self, message: str, code: str = "network") -> None:
        super().__init__(message)
        self.code = code


class UnfitRowsError(Exception):
    """At least one of the rows given cannot be stored, whatever the server's state; the message says why."""


class MisconfiguredError(Exception):
    """No retry can help: a login, table or column is wrong."""


class Writer(Protocol):
    """Where rows go. Inserting rows again changes nothing."""

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Store all rows. Raises UnavailableError, UnfitRowsError or MisconfiguredError; some may be stored then."""

    def newest_versions(self) -> Mapping[int, int]:
        """Source partition -> greatest version among stored events. Raises as `insert`."""

    def purge_erased(self) -> None:
        """Delete events and rows of erased requests for good, soon. Raises as `insert`."""
