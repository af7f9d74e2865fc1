"""Runs statements on ClickHouse over HTTP without blocking the event loop, within limits of time and memory.

Plain HTTP rather than clickhouse-connect: that client refuses to send a limit to a server on which the login's settings
are read-only, even where the server lets the login lower it, and asks the server three questions before the first one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
import orjson
import structlog

from thumbstream.console.filter_sql import Parameter
from thumbstream.console.request_statements import Statement

_BUSY = {159, 160, 202, 209, 210, 241, 439}  # time, memory, too many queries, a broken network behind it
_TOO_LARGE = {396}  # a result beyond max_result_bytes
_CONNECT_SECONDS = 2.0
_SPARE_SECONDS = 3.0  # the server ends a query itself; this is for a server that does not answer at all
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "'": "\\'"})

_log = structlog.get_logger(__name__)


class UnreadableError(Exception):
    """ClickHouse gave no rows. The message is for the client: it holds nothing of the server's own words."""


class ResultTooLargeError(Exception):
    """The rows are more bytes than one answer may have."""


class Reader(Protocol):
    """Something that runs a statement and gives its rows."""

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        """All rows by column. Raises UnreadableError or ResultTooLargeError."""
        ...


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What one query may take of the server; the login's own limits may be lower still."""

    seconds: int = 10
    memory_bytes: int = 500_000_000
    result_bytes: int = 8_000_000  # a page is decoded and encoded in this process
    threads: int = 2

    def settings(self) -> dict[str, str]:
        """As ClickHouse's settings."""
        return {
            "max_execution_time": str(self.seconds),
            "max_memory_usage": str(self.memory_bytes),
            "max_result_bytes": str(self.result_bytes),
            "max_threads": str(self.threads),
        }


@dataclass(frozen=True, slots=True)
class Account:
    """Where ClickHouse is, and a login that may read the views; `options` as clickhouse-connect has them."""

    url: str
    user: str
    password: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)


class ClickHouseReader:
    """Asks one server as one login. A broken connection is made anew at the next question."""

    def __init__(
        self,
        account: Account,
        limits: ReadLimits | None = None,
        *,
        connections: int = 8,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """ValueError for an address or a certificate that cannot be used."""
        limits = limits or ReadLimits()
        self._failing = False
        self._client = httpx.AsyncClient(
            base_url=_address(account.url),
            auth=(account.user, account.password),
            params={"default_format": "JSONEachRow", "wait_end_of_query": "1", **limits.settings()},
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            timeout=httpx.Timeout(limits.seconds + _SPARE_SECONDS, connect=_CONNECT_SECONDS),
            verify=_trust(account.options),
            trust_env=False,
            transport=transport,
        )

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        """All rows by column. Raises UnreadableError or ResultTooLargeError; an outage is logged once."""
        try:
            reply = await self._client.post("/", files=form(statement))
        except httpx.HTTPError as error:
            raise self._failed(type(error).__name__, str(error)) from error
        if reply.status_code != httpx.codes.OK:
            raise self._refused(reply)
        try:
            rows = await asyncio.to_thread(_decoded, reply.content)  # up to 8 MB, while votes come in
        except orjson.JSONDecodeError as error:
            raise self._failed("no rows", str(error)) from error
        if self._failing:
            self._failing = False
            _log.info("queries_work_again")
        return rows

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _refused(self, reply: httpx.Response) -> Exception:
        code = reply.headers.get("x-clickhouse-exception-code", "")
        if code.isdigit() and int(code) in _TOO_LARGE:
            return ResultTooLargeError()
        busy = code.isdigit() and int(code) in _BUSY
        return self._failed(f"code {code or reply.status_code}", reply.text, busy=busy)

    def _failed(self, reason: str, words: str, *, busy: bool = False) -> UnreadableError:
        """A server that says it is busy works; each other failure of a row of them is the same outage."""
        if not busy and not self._failing:
            _log.error("query_failed", reason=reason, said=words[:300])
        self._failing = self._failing or not busy
        return UnreadableError("the query took too much" if busy else "the store of votes does not answer")


def _decoded(lines: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in lines.splitlines()]


def form(statement: Statement) -> list[tuple[str, tuple[None, str]]]:
    """A statement as the parts of a form: the SQL, and each parameter under `param_` and its name."""
    values = {f"param_{name}": bound(value) for name, value in statement.parameters.items()}
    return [(name, (None, text)) for name, text in {"query": statement.sql, **values}.items()]


def bound(value: Parameter) -> str:
    """A parameter's value in the escaped form in which ClickHouse reads it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value.translate(_ESCAPES)
        case tuple():
            return f"[{','.join(_quoted(item) for item in value)}]"
        case _:
            return repr(value)


def _quoted(text: str) -> str:
    return f"'{text.translate(_ESCAPES)}'"


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"ClickHouse's address: {error}") from None
    if address.scheme not in ("http", "https") or not address.host:
        raise ValueError("ClickHouse's address must be as http://host:8123")
    return address


def _trust(options: Mapping[str, str]) -> ssl.SSLContext | bool:
    if options.get("verify", "").lower() in ("false", "0", "no"):
        return False
    try:
        return ssl.create_default_context(cafile=options["ca_cert"]) if "ca_cert" in options else True
    except OSError as error:
        raise ValueError(f"ca_cert {options['ca_cert']}: {error}") from error
