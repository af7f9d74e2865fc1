"""The HTTP side: one thread per connection, one request at a time on it."""

from __future__ import annotations

import base64
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from thumbstream.local.clickhouse import content_encoding
from thumbstream.local.clickhouse.errors import ClickHouseError
from thumbstream.local.clickhouse.logins import Login, Logins
from thumbstream.local.clickhouse.queries import Queries
from thumbstream.local.clickhouse.reply import Reply, write
from thumbstream.local.clickhouse.request import Body, Request, is_on, read_request

MAX_CONCURRENT = 64  # queries; more get ClickHouse's error 202
_PING_LIMIT = 2 * MAX_CONCURRENT  # a busy server is not a dead one
_POLL_SECONDS = 0.02


class Server(ThreadingHTTPServer):
    """Listens from the moment it is made, answers once `attach` and `serve_forever` are called."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.queries: Queries
        self.logins: Logins
        self.stopping = False
        self._mutex = threading.Lock()
        self._running = self._answering = 0

    def attach(self, queries: Queries, logins: Logins) -> None:
        """Give it what to serve."""
        self.queries, self.logins = queries, logins

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count a request until its answer is written."""
        with self._mutex:
            self._answering += 1
        try:
            yield
        finally:
            with self._mutex:
                self._answering -= 1

    @contextmanager
    def slot(self, limit: int = MAX_CONCURRENT) -> Iterator[None]:
        """Count a request while it uses the engine; raises `ClickHouseError` 210 (stopping) or 202 (too many)."""
        with self._mutex:
            if self.stopping:
                raise ClickHouseError(210, "NETWORK_ERROR", "The server is stopping")
            if self._running >= limit:
                message = f"Too many simultaneous queries. Maximum: {limit}"
                raise ClickHouseError(202, "TOO_MANY_SIMULTANEOUS_QUERIES", message)
            self._running += 1
        try:
            yield
        finally:
            with self._mutex:
                self._running -= 1

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news; anything else is printed."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # the stubs name a private type

    def drain(self, seconds: float, kill_seconds: float) -> bool:
        """Refuse new queries, wait for the running ones, then kill them; true when none is left in the engine."""
        with self._mutex:
            self.stopping = True
        if not self._wait_until_idle(seconds) and self._running:
            with closing(self.queries.engine.open()) as handle:
                handle.run("KILL QUERY WHERE 1 ASYNC")
            self._wait_until_idle(kill_seconds)
        return not self._running

    def _wait_until_idle(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._answering and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return not self._answering


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "ClickHouse", ""
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    timeout = 600  # seconds of silence
    server: Server

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class names it so
        """Silent: query texts hold data."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        with self.server.answering():
            if path in {"/ping", "/replicas_status"}:
                self._answer_ping()
            elif path == "/":
                self._answer_query()
            else:
                self.close_connection = True  # its body, if any, stays unread
                write(
                    self, 404, b"There is no handle " + path.encode() + b"\n\nUse / or /ping for health checks.\n", {}
                )

    do_POST = do_HEAD = do_GET  # noqa: N815 - the base class looks for these names

    def _answer_ping(self) -> None:
        """Green only when the engine answers a query: a closed-down engine still accepts connections."""
        try:
            with self.server.slot(_PING_LIMIT), closing(self.server.queries.engine.open()) as handle:
                handle.set({"max_execution_time": "5"})
                healthy = handle.run("SELECT 1") == b"1\n"
        except ClickHouseError:
            healthy = False
        write(self, 200 if healthy else 503, b"Ok.\n" if healthy else b"The engine does not answer.\n", {})

    def _answer_query(self) -> None:
        options = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True, errors="surrogateescape"))
        accepted = self.headers.get("Accept-Encoding", "") if is_on(options, "enable_http_compression") else ""
        query_id = options.get("query_id") or str(uuid.uuid4())
        reply = Reply(self, query_id, content_encoding.choose(accepted), is_on(options, "compress"))
        body = None
        try:
            body = Body(self.rfile, self.headers)
            self._run(options, body, reply)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except ClickHouseError as error:
            self._fail(reply, body, error)
        except Exception as error:  # noqa: BLE001 - a defect of ours must not look like a broken connection
            self._fail(reply, body, ClickHouseError(49, "LOGICAL_ERROR", f"{type(error).__name__}: {error}"))

    def _run(self, options: dict[str, str], body: Body, reply: Reply) -> None:
        login = self._login(options)
        request = read_request(self.headers, options, body)
        first, output = request.statement.first, self._output_format(request)
        if not first:
            raise ClickHouseError(62, "SYNTAX_ERROR", "Empty query")
        read_only, counts = self.command != "POST", reply.counts
        run = self.server.queries.run(login, request, reply.query_id, output, counts, read_only=read_only)
        with self.server.slot(), run as blocks:
            pending = next(blocks, b"")  # before the status line: an early error is an HTTP error
            for block in blocks:
                reply.stream(first, output, pending)
                pending = block
        reply.finish(first, output, pending)  # the client may reuse its session as soon as it sees the end

    def _fail(self, reply: Reply, body: Body | None, error: ClickHouseError) -> None:
        if body is None or not body.drain():  # a client that is still sending would not read the answer
            self.close_connection = True
        reply.fail(error, self.server.queries.engine.version)

    def _login(self, options: dict[str, str]) -> Login:
        name, password = options.get("user", ""), options.get("password", "")
        authorization = self.headers.get("Authorization", "")
        if authorization[:6].lower() == "basic ":
            try:
                name, _, password = base64.b64decode(authorization[6:]).decode().partition(":")
            except ValueError:
                raise ClickHouseError(516, "AUTHENTICATION_FAILED", "Malformed basic authorization") from None
        elif "X-ClickHouse-User" in self.headers:
            name, password = self.headers["X-ClickHouse-User"], self.headers.get("X-ClickHouse-Key", "")
        login = self.server.logins.authenticate(name or "default", password)
        role = options.get("role", "")
        if role not in {"", login.role}:
            message = f"Role {role} should be granted to set as a current"
            raise ClickHouseError(512, "SET_NON_GRANTED_ROLE", message)
        return login

    def _output_format(self, request: Request) -> str:
        named = None if request.statement.takes_data else request.statement.format
        asked = self.headers.get("X-ClickHouse-Format") or request.options.get("default_format")
        return named or asked or "TabSeparated"
