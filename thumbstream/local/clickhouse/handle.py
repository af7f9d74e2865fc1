"""One connection to the engine: current database, SET values, role and temporary tables live here.

A stream is closed before its handle, by the thread that opened it, in `finally`: the other order hangs for good, and a
handle closed while another thread cancels its stream stops the whole engine.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import NamedTemporaryFile
from typing import Any

from thumbstream.local.clickhouse.errors import ClickHouseError, from_engine
from thumbstream.local.clickhouse.statements import settings_at

SPOOLED = "insert-"  # begin of the names of files that hold rows on their way
_NAME = re.compile(r"[A-Za-z_]\w*\Z")
_NO_PARAMETERS: Mapping[str, str] = {}


def quote(value: str) -> str:
    """Give an SQL string literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _tsv(value: str) -> str:
    """Query parameters are read in TSV form."""
    return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


@dataclass(slots=True)
class Counts:
    """What the X-ClickHouse-Summary header tells."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    result_bytes: int = 0


@contextmanager
def _spooled(chunks: Iterable[bytes]) -> Iterator[str]:
    """The path of a file with all of `chunks`, in the engine's own temporary directory."""
    with NamedTemporaryFile(prefix=SPOOLED, dir=os.environ["TMPDIR"]) as file:
        try:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
        except OSError as error:
            if error.errno != errno.ENOSPC:  # the client's side of it
                raise
            raise ClickHouseError(243, "NOT_ENOUGH_SPACE", f"The rows find no room: {error}") from error
        yield file.name


class Handle:
    """Wraps a chDB connection; every method raises `ClickHouseError` for what the engine refuses.

    SQL goes in as bytes where it comes from a client: decoding it would break binary literals.
    """

    def __init__(self, connection: Any) -> None:  # chDB is untyped
        self._connection = connection

    def run(
        self,
        sql: str | bytes,
        output: str = "TabSeparated",
        params: Mapping[str, str] = _NO_PARAMETERS,
        counts: Counts | None = None,
    ) -> bytes:
        """Execute a statement and give its whole result; `params` bind `{name:Type}` in TSV form."""
        result = _guarded(self._connection.query, sql, output, params=dict(params))
        data = bytes(result.bytes())
        if counts is not None:
            counts.read_rows, counts.read_bytes = result.storage_rows_read(), result.storage_bytes_read()
            counts.written_rows, counts.written_bytes = result.rows_written(), result.bytes_written()
            counts.result_rows, counts.result_bytes = result.rows_read(), len(data)
        return data

    def stream(self, sql: bytes, output: str, params: Mapping[str, str]) -> Iterator[bytes]:
        """Execute a SELECT and yield its result as the engine makes it."""
        result = _guarded(self._connection.send_query, sql, output, params=dict(params))
        try:
            while (chunk := _guarded(result.fetch)) is not None:
                yield bytes(chunk.bytes())
        finally:
            result.close()

    def insert(self, sql: bytes, input_format: str, chunks: Iterable[bytes], counts: Counts) -> None:
        """Execute an INSERT whose rows are `chunks`; nothing is stored if they fail before their end.

        The rows go through a file, for both shorter ways lose rows: chDB's inserter, which takes them piece by piece,
        reports success when the part is refused (a full disk, a constraint, too many parts), and rows that stand in
        the statement end at the first empty line.
        """
        at = settings_at(sql)
        with _spooled(chunks) as path:
            source = b" FROM INFILE %b COMPRESSION 'none' " % quote(path).encode()
            self.run(sql[:at] + source + sql[at:] + b" FORMAT " + input_format.encode(), counts=counts)

    def set(self, settings: Mapping[str, str]) -> None:
        """SET all of them in one statement."""
        for name in settings:
            if not _NAME.match(name):
                raise ClickHouseError(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
        if settings:
            self.run("SET " + ", ".join(f"{name} = {quote(value)}" for name, value in settings.items()))

    def use(self, database: str) -> None:
        """Make `database` the current one."""
        self.run("USE {database:Identifier}", params={"database": database})

    def classify(self, sql: bytes, database: str) -> tuple[str, int]:
        """Give (class, number of statements) by the engine's parser: a private call, checked when the engine opens."""
        report = _guarded(self._connection._conn.classify_query, sql.decode("utf-8", "replace"), database)
        return report["query_class"].name, int(report["statement_count"])

    def rewrite(self, sql: bytes) -> str | None:
        """Give the statement in the engine's own spelling, on one line; None when it cannot be parsed."""
        query = "SELECT formatQuerySingleLineOrNull({sql:String}) FORMAT TabSeparatedRaw"
        text = self.run(query, params={"sql": _tsv(sql.decode("utf-8", "replace"))})
        return None if text.rstrip(b"\n") == b"\\N" else text.decode("utf-8", "replace")

    def close(self) -> None:
        """Release the connection; no stream of it may be open."""
        self._connection.close()


def _guarded(call: Callable[..., Any], *arguments: object, **options: object) -> Any:  # chDB is untyped
    try:
        return call(*arguments, **options)
    except Exception as error:  # RuntimeError, ChdbError and UnicodeError alike carry ClickHouse's text
        raise from_engine(error) from error
