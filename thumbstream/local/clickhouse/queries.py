"""Running a request: a handle in the state the request asks for, the gate, and the result as blocks."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager

from thumbstream.local.clickhouse.access import analyst_limits, check_settings, check_statement
from thumbstream.local.clickhouse.engine import Engine
from thumbstream.local.clickhouse.errors import ClickHouseError
from thumbstream.local.clickhouse.handle import Counts, Handle
from thumbstream.local.clickhouse.logins import Login
from thumbstream.local.clickhouse.request import Request, is_on
from thumbstream.local.clickhouse.sessions import Sessions

_STREAMED_FORMATS = frozenset({
    "CSV", "JSONCompactEachRow", "JSONEachRow", "JSONLines", "NDJSON", "Native", "RowBinary", "TSV", "TSVRaw",
    "TabSeparated", "TabSeparatedRaw",
})  # fmt: skip


class Queries:
    """Runs requests on one engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.sessions = engine, Sessions(engine)

    @contextmanager
    def run(
        self, login: Login, request: Request, query_id: str, output: str, counts: Counts, *, read_only: bool
    ) -> Iterator[Generator[bytes, None, None]]:
        """Give the result's blocks; on leaving, stream, handle and session are released, in that order."""
        with self._handle(login, request, query_id) as handle:
            reads = self._admit(login, request, handle, read_only)
            with closing(_execute(handle, request, output, counts, reads)) as blocks:
                yield blocks

    @contextmanager
    def _handle(self, login: Login, request: Request, query_id: str) -> Iterator[Handle]:
        check_settings(login, request.settings)
        options = request.options
        database, name = options.get("database", ""), options.get("session_id", "")
        comment = request.settings.get("log_comment", query_id)  # how KILL QUERY finds it
        if name and login.is_admin:  # analysts have no sessions, so there is nothing to take over
            check = is_on(options, "session_check")
            lease = self.sessions.lease(login.name, name, timeout=_timeout(options), must_exist=check)
            first = request.statement.first
            with lease as session, session.for_one_request(first, request.settings, database, comment) as handle:
                yield handle
            if is_on(options, "close_session"):
                self.sessions.drop(login.name, name)
            return
        with closing(self.engine.open()) as handle:
            handle.set({"log_comment": comment, **request.settings})
            if database:
                handle.use(database)
            yield handle

    @staticmethod
    def _admit(login: Login, request: Request, handle: Handle, read_only: bool) -> bool:
        """Pass the gate, then close the handle down for an analyst: `readonly` comes last, nothing follows it."""
        database = request.options.get("database") or "default"
        reads = check_statement(login, request.statement, handle, database, read_only=read_only)
        if not login.is_admin:
            handle.run(f"SET ROLE {login.role}")
            handle.set(analyst_limits(request.settings))
            handle.set({"readonly": "1"})
        return reads


def _timeout(options: Mapping[str, str]) -> float:
    try:
        return float(options.get("session_timeout") or 60)
    except ValueError:
        raise ClickHouseError(72, "CANNOT_PARSE_NUMBER", "session_timeout is not a number") from None


def _execute(
    handle: Handle, request: Request, output: str, counts: Counts, reads: bool
) -> Generator[bytes, None, None]:
    statement = request.statement
    if statement.takes_data:
        _insert(handle, request, counts)
    elif reads and _can_stream(request, output):
        for block in handle.stream(statement.head, output, request.params):
            counts.result_bytes += len(block)
            yield block
    else:
        yield handle.run(statement.head, output, request.params, counts)


def _insert(handle: Handle, request: Request, counts: Counts) -> None:
    statement = request.statement
    input_format = statement.format or request.options.get("default_format") or "Values"
    if request.params:  # only VALUES can hold {name:Type}, and only a plain query binds it
        handle.run(b"%b FORMAT %b %b" % (statement.head, input_format.encode(), b"".join(request.rows)),
                   params=request.params, counts=counts)  # fmt: skip
    else:
        handle.insert(statement.head, input_format, request.rows, counts)


def _can_stream(request: Request, output: str) -> bool:
    """Other formats need the whole result for their head or tail, and `wait_end_of_query` asks to wait for it."""
    selects = request.statement.first in {"SELECT", "WITH"}
    return selects and output in _STREAMED_FORMATS and not is_on(request.options, "wait_end_of_query")
