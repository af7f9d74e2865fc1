"""Reads ClickHouse's tables and views in streams. Methods raise ClickHouseError or OSError."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client

from schemas.topics import request_key
from thumbstream.audit.cells import Counts, Name
from thumbstream.audit.rows import StoredRow

_VOTES = """
SELECT tenant_id, toUnixTimestamp(minute) AS at, sum(a), sum(b), sum(c), sum(x), sum(y), sum(z) FROM (
  SELECT tenant_id, toDateTime(toStartOfMinute(voted_at), 'UTC') AS minute, countIf(polarity < 0) AS a,
    countIf(polarity > 0) AS b, countIf(polarity = 0) AS c, 0 AS x, 0 AS y, 0 AS z
  FROM {views}.current_votes WHERE signal != 'implicit' GROUP BY tenant_id, minute
  UNION ALL
  SELECT tenant_id, minute, 0, 0, 0, negative, positive, neutral
  FROM {views}.negative_rate_by_minute WHERE rollup = 'tenant'
) GROUP BY tenant_id, minute HAVING sum(a) != sum(x) OR sum(b) != sum(y) OR sum(c) != sum(z)"""
_MINUTES = """
SELECT tenant_id, rollup, group_key, toUnixTimestamp(minute), source_partition, version, negative, positive, neutral
FROM {tables}.feedback_minutes FINAL WHERE source_partition >= {first} AND source_partition < {end}"""


class Mismatch(NamedTuple):
    """A minute (epoch ms) in which the views disagree: votes by current_votes, and by negative_rate_by_minute."""

    tenant: str
    minute: int
    votes: Counts
    counted: Counts


class StoreBooks:
    """Asks as the login that owns the tables. `tables` and `views` are databases."""

    def __init__(self, client: Client, tables: str, views: str) -> None:
        self._client, self._tables, self._views = client, tables, views

    def events(self, source: int, first: int, end: int) -> Iterator[int]:
        """The versions in [first, end) of the events of a source partition."""
        wanted = f"source_partition = {source} AND version >= {first} AND version < {end}"
        yield from self._column(f"SELECT version FROM {self._tables}.feedback_events WHERE {wanted}")  # noqa: S608 - numbers

    def latest(self, partition: int) -> Iterator[StoredRow]:
        """The living rows of a partition, whatever the epoch."""
        query = f"SELECT tenant_id, request_id, version, toUnixTimestamp64Milli(updated_at) FROM {self._tables}.feedback_latest FINAL WHERE source_partition % 1000 = {partition}"  # noqa: E501, S608 - a number
        return (StoredRow(*row) for row in self._rows(query))

    def stubs(self) -> dict[bytes, int]:
        """Key -> version of every erasure."""
        query = f"SELECT tenant_id, request_id, max(version) FROM {self._tables}.feedback_erased GROUP BY 1, 2"  # noqa: S608 - no input
        return {request_key(tenant, request): version for tenant, request, version in self._rows(query)}

    def minutes(self, epoch: int) -> Iterator[tuple[Name, int, Counts]]:
        """(cell, version, counts) of every cell of an epoch."""
        query = _MINUTES.format(tables=self._tables, first=epoch * 1000, end=(epoch + 1) * 1000)
        for tenant, rollup, group, seconds, source, version, *counts in self._rows(query):
            negative, positive, neutral = counts
            yield Name(tenant, rollup, group, seconds * 1000, source % 1000), version, (negative, positive, neutral)

    def letters(self) -> set[str]:
        """The ids of all dead letters."""
        return set(self._column(f"SELECT DISTINCT letter_id FROM {self._tables}.feedback_dead_letters"))  # noqa: S608 - no input

    def mismatches(self) -> set[Mismatch]:
        """Every tenant and minute in which votes and counts disagree."""
        return {
            Mismatch(tenant, seconds * 1000, tuple(counts[:3]), tuple(counts[3:]))
            for tenant, seconds, *counts in self._rows(_VOTES.format(views=self._views))
        }

    def newest(self) -> int:
        """Append time of the newest event that is stored, epoch ms; 0 without any."""
        query = f"SELECT toUnixTimestamp64Milli(max(append_time)) FROM {self._tables}.feedback_events"  # noqa: S608 - no input
        return max(int(next(iter(self._column(query)), 0)), 0)

    def _column(self, query: str) -> Iterator[Any]:
        return (row[0] for row in self._rows(query))

    def _rows(self, query: str) -> Iterator[Any]:
        with self._client.query_rows_stream(query) as stream:
            yield from stream
