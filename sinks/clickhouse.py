"""Inserts into ClickHouse, and what its errors mean for us: try again, a person must look, or these rows are unfit.

The only file of the hot path that imports clickhouse-connect.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DataError, ProgrammingError
from urllib3.exceptions import HTTPError

from sinks.rows import ERASED, EVENTS, FEEDBACK_IDS, LATEST, Row, Table
from sinks.writer import MisconfiguredError, UnavailableError, UnfitRowsError

_STOP = {516: "login refused", 60: "table missing", 16: "column missing", 81: "database missing", 497: "no right to"}
_UNFIT = {6, 26, 27, 38, 41, 53, 70, 72, 117}
_UNWRITABLE = (DataError, ValueError, TypeError, AttributeError, OverflowError, struct.error)
_RAISED = (*_UNWRITABLE, ClickHouseError, HTTPError, OSError)
_CODE = re.compile(r"[Cc]ode: ?(\d+)")
# A replayed batch is harmless because the newest version wins; a server-side buffer or a deduplication token would
# not be: the first loses what was acknowledged, the second drops a re-insert of rows that were lost meanwhile.
SETTINGS = {"async_insert": 0, "max_partitions_per_insert_block": 0}


@dataclass(frozen=True, slots=True)
class Address:
    """Where ClickHouse is and who asks; `options` are passed to clickhouse-connect."""

    url: str
    user: str
    password: str = field(repr=False)
    database: str = "feedback"
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


def connect(address: Address, *, timeout: float = 30) -> Client:
    """A client for `address`, its database unset so that it can be created. Raises clickhouse-connect's errors."""
    options: dict[str, Any] = {"send_receive_timeout": timeout, "connect_timeout": 5, "autogenerate_session_id": False}
    return clickhouse_connect.get_client(
        dsn=address.url,
        username=address.user,
        password=address.password,
        **{**options, **address.options},
    )


class ClickHouseWriter:
    """Writes columns over HTTP. Connects at the first use and again after an outage; column types are asked once."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client: Client | None = None
        self._types: dict[Table, list[str]] = {}

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Store all rows or, after any error, perhaps some of them: the same rows may come again."""
        with _translated():
            columns = list(zip(*rows, strict=True))
            if len(columns) != len(table.columns):
                raise UnfitRowsError(f"{len(columns)} values for the {len(table.columns)} columns of {table.name}")
            self._connected().insert(
                table.name,
                columns,
                table.columns,
                database=self._address.database,
                column_type_names=self._type_names(table),
                column_oriented=True,
                settings=SETTINGS,
            )

    def newest_versions(self) -> Mapping[int, int]:
        """Source partition -> greatest version among stored events."""
        query = f"SELECT source_partition, max(version) FROM {self._address.database}.{EVENTS.name} GROUP BY 1"  # noqa: S608
        with _translated():
            return {int(part): int(version) for part, version in self._connected().query(query).result_rows}

    def purge_erased(self, *, wait: bool = False) -> None:
        """Start to delete events and rows of erased requests, where there are any; with `wait`, until that is done.

        Parts are written anew without them: a lightweight delete would only hide them until some merge comes by. The
        old parts leave the disk some minutes later (`old_parts_lifetime`, 8 minutes by default).
        """
        database = self._address.database
        erased = f"(tenant_id, request_id) IN (SELECT tenant_id, request_id FROM {database}.{ERASED.name})"  # noqa: S608
        ids = f"SELECT tenant_id, feedback_id FROM {database}.{FEEDBACK_IDS.name} WHERE {erased}"  # noqa: S608
        said = f"{erased} OR kind = 'amend' AND (tenant_id, feedback_id) IN ({ids})"
        settings = {"mutations_sync": 2 if wait else 0}
        with _translated():
            for table, gone in ((EVENTS, said), (LATEST, erased)):
                name = f"{database}.{table.name}"
                if self._connected().query(f"SELECT 1 FROM {name} WHERE {gone} LIMIT 1").result_rows:  # noqa: S608
                    self._connected().command(f"ALTER TABLE {name} DELETE WHERE {gone}", settings=settings)

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _connected(self) -> Client:
        if self._client is None:
            try:
                self._client = connect(self._address)
            except ValueError as error:
                raise MisconfiguredError(f"ClickHouse's address: {error}") from error
        return self._client

    def _type_names(self, table: Table) -> list[str]:
        """Types by column. A column that the table lacks is a MisconfiguredError, as an insert would say with 16."""
        if table not in self._types:
            described = self._connected().query(f"DESCRIBE TABLE {self._address.database}.{table.name}").result_rows
            types = {row[0]: row[1] for row in described}
            missing = [name for name in table.columns if name not in types]
            if missing:
                raise MisconfiguredError(f"column missing: {table.name}.{', '.join(missing)}")
            self._types[table] = [types[name] for name in table.columns]
        return self._types[table]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (UnavailableError, UnfitRowsError, MisconfiguredError):
        raise
    except _RAISED as error:
        raise meaning(error) from error


def meaning(error: Exception) -> UnavailableError | UnfitRowsError | MisconfiguredError:
    """What an error of the client means for the rows at hand.

    An error code that no list names counts as unavailable: trying again loses nothing, and the metric shows it.
    """
    if isinstance(error, _UNWRITABLE):
        return UnfitRowsError(str(error))
    code = _code(error)
    if code in _STOP:
        return MisconfiguredError(f"{_STOP[code]}: {error}")
    if code in _UNFIT:
        return UnfitRowsError(str(error))
    if code is None and isinstance(error, ProgrammingError):  # the client refuses what it is asked to do
        return MisconfiguredError(str(error))
    return UnavailableError(str(error), "network" if code is None else str(code))


def _code(error: Exception) -> int | None:
    code: int | None = getattr(error, "code", None)
    if code is None and (found := _CODE.search(str(error))):
        code = int(found[1])
    return code
