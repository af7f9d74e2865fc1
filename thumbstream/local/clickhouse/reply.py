"""Writing one answer: headers, compression, chunks, and errors before or after the first byte."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler

from thumbstream.local.clickhouse import content_encoding, native_blocks
from thumbstream.local.clickhouse.errors import ClickHouseError
from thumbstream.local.clickhouse.handle import Counts

PLAIN = "text/plain; charset=UTF-8"
_TSV = "text/tab-separated-values; charset=UTF-8"
_BINARY = "application/octet-stream"
_CONTENT_TYPES = {
    "Arrow": _BINARY,
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "Native": _BINARY,
    "Parquet": _BINARY,
    "RowBinary": _BINARY,
    "TabSeparated": _TSV,
    "TabSeparatedWithNames": _TSV,
}
# The absence of X-ClickHouse-Format tells a client that a statement has no result set.
_WITH_RESULT = frozenset({
    "CHECK", "DESC", "DESCRIBE", "EXISTS", "EXPLAIN", "FROM", "KILL", "SELECT", "SHOW", "VALUES", "WATCH", "WITH",
})  # fmt: skip


@dataclass(slots=True)
class Reply:
    """The answer to one query on one connection; `encoding` and `blocks` are what the client asked for."""

    http: BaseHTTPRequestHandler
    query_id: str
    encoding: str
    blocks: bool
    counts: Counts = field(default_factory=Counts)
    started: float = field(default_factory=time.monotonic)
    begun: bool = field(default=False, init=False)
    _tag: str = field(default_factory=lambda: secrets.token_hex(8), init=False)
    _compressor: content_encoding.Compressor = field(init=False)

    def __post_init__(self) -> None:
        self._compressor = content_encoding.compressor(self.encoding)

    def stream(self, first: str, output: str, block: bytes) -> None:
        """Send a block that is not the last; status and headers go before the first one."""
        if not self.begun:
            self.begun = True
            headers = {**self._query_headers(first, output), "Transfer-Encoding": "chunked"}
            write_headers(self.http, 200, headers)
        self._write(self._encode(block))

    def finish(self, first: str, output: str, block: bytes) -> None:
        """Send the last block and end the answer."""
        content = self._encode(block) + self._compressor.finish()
        if self.begun:
            self._write(content)
            self._end()
        else:
            write(self.http, 200, content, self._query_headers(first, output))

    def fail(self, error: ClickHouseError, version: str) -> None:
        """Send the error: with its status, or, when that is gone, as the tagged block that ends the stream."""
        text = error.text(version).encode("utf-8", "replace")
        if self.begun:
            text, tag = text.rstrip(b"\n"), self._tag.encode()
            frame = b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n"
            self.http.close_connection = True
            self._write(self._encode(frame % (tag, text, len(text) + 1, tag)) + self._compressor.finish())
            self._end()
            return
        headers = {"X-ClickHouse-Exception-Code": str(error.code), "X-ClickHouse-Query-Id": self.query_id}
        anonymous = not {"Authorization", "X-ClickHouse-User"} & set(self.http.headers)
        asks_for_login = error.code in {194, 516} and anonymous
        if asks_for_login:
            headers["WWW-Authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        write(self.http, 401 if asks_for_login else error.status, text, headers)

    def _query_headers(self, first: str, output: str) -> dict[str, str]:
        summary = {name: str(value) for name, value in asdict(self.counts).items()}
        summary["total_rows_to_read"] = summary["read_rows"]
        summary["elapsed_ns"] = str(int((time.monotonic() - self.started) * 1e9))
        headers = {
            "Content-Type": _CONTENT_TYPES.get(output, PLAIN),
            "X-ClickHouse-Exception-Tag": self._tag,
            "X-ClickHouse-Query-Id": self.query_id,
            "X-ClickHouse-Server-Display-Name": "chdb",
            "X-ClickHouse-Summary": json.dumps(summary),
            "X-ClickHouse-Timezone": "UTC",
        }
        if first in _WITH_RESULT:
            headers["X-ClickHouse-Format"] = output
        if self.encoding:
            headers["Content-Encoding"] = self.encoding
        return headers

    def _encode(self, block: bytes) -> bytes:
        return self._compressor.compress(native_blocks.pack(block) if self.blocks else block)

    def _write(self, content: bytes) -> None:
        if content and self.http.command != "HEAD":  # an empty chunk would end the answer
            self.http.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
            self.http.wfile.flush()

    def _end(self) -> None:
        if self.http.command != "HEAD":
            self.http.wfile.write(b"0\r\n\r\n")
        self.http.wfile.flush()


def write_headers(http: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str]) -> None:
    """Send status line and headers; a value cannot add a header of its own."""
    http.send_response(status)
    for name, value in headers.items():
        http.send_header(name, value.replace("\r", " ").replace("\n", " "))
    http.send_header("Connection", "close" if http.close_connection else "keep-alive")
    http.end_headers()


def write(http: BaseHTTPRequestHandler, status: int, content: bytes, headers: Mapping[str, str]) -> None:
    """Send a whole answer."""
    write_headers(http, status, {"Content-Type": PLAIN, **headers, "Content-Length": str(len(content))})
    if http.command != "HEAD":
        http.wfile.write(content)
    http.wfile.flush()
