"""Reading a request: options, settings and parameters, the body's framing, and where an INSERT's rows begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from io import BufferedIOBase
from itertools import chain

from thumbstream.local.clickhouse import content_encoding, native_blocks
from thumbstream.local.clickhouse.errors import ClickHouseError
from thumbstream.local.clickhouse.form import read_form
from thumbstream.local.clickhouse.statements import SCAN_LIMIT, Statement, read_statement

MAX_QUERY_BYTES = 64 << 20
_CHUNK = 1 << 18
# Parameters of the interface itself; every other one is a setting.
_INTERFACE = frozenset({
    "buffer_size", "client_protocol_version", "close_session", "compress", "database", "decompress", "default_format",
    "enable_http_compression", "password", "query", "query_id", "quota_key", "role", "session_check", "session_id",
    "session_timeout", "stacktrace", "user", "wait_end_of_query",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks: interface options, engine settings, query parameters, the SQL and an INSERT's rows."""

    options: Mapping[str, str]
    settings: Mapping[str, str]
    params: Mapping[str, str]
    statement: Statement
    rows: Iterable[bytes]


def is_on(options: Mapping[str, str], name: str) -> bool:
    """Tell whether a flag of the URL is set."""
    return options.get(name, "0") not in {"", "0", "false"}


class Body:
    """The request body as chunks of at most 256 KiB, by Content-Length or chunked."""

    def __init__(self, stream: BufferedIOBase, headers: Message) -> None:
        self._stream = stream
        self._chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        self._left = 0 if self._chunked else int(headers.get("Content-Length") or 0)
        self._ended = not self._chunked and not self._left

    def __iter__(self) -> Iterator[bytes]:
        """Raises `ConnectionError` when the client goes away inside the body."""
        while not self._ended:
            if self._chunked and not self._left:
                self._left = self._next_size()
                continue
            data = self._stream.read1(min(self._left, _CHUNK))
            if not data:
                raise ConnectionError("the client closed the connection inside the body")
            self._left -= len(data)
            if not self._left:
                if self._chunked:
                    self._stream.readline(8)
                self._ended = not self._chunked
            yield data

    def drain(self, limit: int = 16 << 20) -> bool:
        """Read what nobody read; false when that is more than `limit` bytes, or impossible."""
        try:
            for chunk in self:
                limit -= len(chunk)
                if limit < 0:
                    return False
        except (OSError, ValueError):
            return False
        return True

    def _next_size(self) -> int:
        line = self._stream.readline(64).split(b";")[0].strip()
        if not line or line.strip(b"0123456789abcdefABCDEF"):
            raise ConnectionError("malformed chunk, or the client went away")
        size = int(line, 16)
        if size == 0:
            while self._stream.readline(4096).strip():
                pass  # trailers mean nothing to us
            self._ended = True
        return size


def read_request(headers: Message, options: Mapping[str, str], body: Body) -> Request:
    """Read up to where an INSERT's rows begin, or all of any other statement.

    Raises `ClickHouseError` for what cannot be decoded, for too long a text, and 48 for external tables.
    """
    chunks = content_encoding.decompress(headers.get("Content-Encoding", "").lower(), body)
    if is_on(options, "decompress"):
        chunks = native_blocks.unpack(chunks)
    content_type = headers.get("Content-Type", "")
    if content_type.startswith("multipart/"):
        options, chunks = {**options, **read_form(content_type, _read_text(chunks))}, iter(())
    if "X-ClickHouse-Database" in headers:
        options = {"database": headers["X-ClickHouse-Database"], **options}
    params = {name[6:]: value for name, value in options.items() if name.startswith("param_")}
    settings = {
        name: value for name, value in options.items() if name not in _INTERFACE and not name.startswith("param_")
    }
    statement, rows = _split(options.get("query", "").encode("utf-8", "surrogateescape"), chunks)
    return Request(options, settings, params, statement, rows)


def _split(query: bytes, chunks: Iterator[bytes]) -> tuple[Statement, Iterable[bytes]]:
    """The statement, and for an INSERT its rows: what follows FORMAT or VALUES, then the rest of the body."""
    text = query if query.strip() else _read(chunks, SCAN_LIMIT)
    statement = read_statement(text)
    if statement.data_at is not None:
        return statement, chain([text[statement.data_at :]], chunks)
    rest = _read_text(chunks)
    if rest:  # the text may stand in the URL and the body, one after the other
        statement = read_statement(text + (b"\n" if query.strip() else b"") + rest)
    return statement, ()


def _read_text(chunks: Iterator[bytes]) -> bytes:
    text = _read(chunks, MAX_QUERY_BYTES + 1)
    if len(text) > MAX_QUERY_BYTES:
        raise ClickHouseError(307, "TOO_MANY_BYTES", f"The query text is larger than {MAX_QUERY_BYTES} bytes")
    return text


def _read(chunks: Iterator[bytes], enough: int) -> bytes:
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        if len(buffer) >= enough:
            break
    return bytes(buffer)
