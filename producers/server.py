"""Serves an application over HTTP/1.1, bounded: headers, connections, and how long a client may dawdle."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from producers.bodies import Answer

_REST_SECONDS = 30.0  # for headers, and for a body that nobody wants any more
_HEADER_BYTES = 64 * 1024
_GRACE_SECONDS = 12  # longer than the longest wait for an acknowledgement
_CONNECTIONS = 900  # the application says 503 in its own words long before; most systems allow 1,024 open files


class Application(Protocol):
    """An ASGI application that can answer some requests on the spot."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        ...

    def answer_at_once(self, scope: Scope) -> Answer | None:
        """The whole answer when the headers are enough for it; None: call the application with this scope."""
        ...


class _Refused(NamedTuple):
    """The last refusal on a connection, and the request that it was for."""

    request: tuple[object, ...]
    cycle: RequestResponseCycle
    status: int
    rest: bytes
    again: Callable[[], bool]


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request headers are too slow or too long; the server itself has no limit for either.

    At the limit of connections a newcomer takes the place of the one that has asked for nothing for longest, so that
    nobody keeps others out by connections that do nothing; only when all are at work is it turned away.

    Asks the application for an answer on the spot before it makes a task of a request, and once more for the same
    answer before it looks at a request that repeats a refused one: each of these steps takes longer than what is left.
    """

    app: Application
    _refused: _Refused | None = None
    _waiting: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = True
    _quiet_since = 0.0  # end of the last answer, or begin of the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the class above
        """A client must send its first headers in time, too."""
        super().connection_made(transport)
        self._quiet_since = self.loop.time()
        if self.limit_concurrency and len(self.connections) >= self.limit_concurrency:
            self._make_room()
        self._await_the_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer outlives its connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts what arrives before the headers are complete."""
        if self._in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > _HEADER_BYTES:
            self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._await_the_rest()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """From here on the application bounds the body."""
        self._stop_waiting()
        self._in_headers, self._header_bytes = False, 0
        last, self._refused = self._refused, None
        if last is not None and self._repeats(last):
            self._refused = last
            self._say(last.cycle, last.status, last.rest)
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are headers again."""
        self._in_headers = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is out. For whoever still sends the body of that request, this timer is the only one."""
        self._quiet_since = self.loop.time()
        if not self._in_headers:
            self._await_the_rest()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # those that stand in line behind others would go hundreds of calls deep; who reads no answers must wait
        at_once = app is self.app and cycle.scope is self.scope and not self.flow.write_paused
        answer = self.app.answer_at_once(cycle.scope) if at_once else None  # type: ignore[arg-type]  # a dict to others
        if answer is None:
            super()._start_asgi_task(cycle, app)
            return
        rest = b"".join([*(b"%b: %b\r\n" % header for header in answer.headers), b"\r\n", answer.body])
        if answer.again is not None:
            self._refused = _Refused(self._request(), cycle, answer.status, rest, answer.again)
        self._say(cycle, answer.status, rest)

    def _repeats(self, last: _Refused) -> bool:
        """Whether this request gets what the one before it got, which was refused."""
        ready = last.cycle is self.cycle and last.cycle.keep_alive and not self.flow.write_paused
        return ready and last.request == self._request() and last.again()

    def _request(self) -> tuple[object, ...]:
        """What tells requests apart before their bodies."""
        headers = [header for header in self.headers if header[0] != b"content-length"]
        return self.parser.get_method(), self.url, self.parser.get_http_version(), headers

    def _say(self, cycle: RequestResponseCycle, status: int, rest: bytes) -> None:
        """What the cycle's own `send` does; `rest` is what follows the headers that all answers have."""
        if self.limit_concurrency and 2 * len(self.connections) > self.limit_concurrency:
            cycle.keep_alive = False  # they run short: those who are refused leave theirs to others
        common = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        closing = b"" if cycle.keep_alive else b"connection: close\r\n"
        self.transport.write(STATUS_LINE[status] + common + closing + rest)
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _make_room(self) -> None:
        others = (other for other in self.connections if other is not self and isinstance(other, BoundedProtocol))
        oldest = min((other for other in others if other._is_quiet()), key=_quiet_since, default=None)
        if oldest is not None:
            oldest.transport.close()

    def _is_quiet(self) -> bool:
        """Whether all that was asked has been answered; headers that are not complete ask for nothing."""
        return (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing()

    def _await_the_rest(self) -> None:
        self._stop_waiting()
        self._waiting = self.loop.call_later(_REST_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def _quiet_since(connection: BoundedProtocol) -> float:
    return connection._quiet_since


def configuration(app: Application, host: str, port: int, *, connections: int = _CONNECTIONS) -> uvicorn.Config:
    """uvicorn as the gateway runs it; when `connections` are at work, the next client gets a 503."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # else anybody on this machine may say where a request comes from
        limit_concurrency=connections,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def serve(app: Application, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is in flight and return."""
    # The server raises the signal once more when it is done; by then it has been obeyed.
    before = {number: signal.signal(number, _obeyed) for number in (signal.SIGTERM, signal.SIGINT)}
    gc.collect()
    gc.freeze()  # all that is loaded by now stays: looking through it again could take 50 ms in the middle of requests
    try:
        uvicorn.Server(configuration(app, host, port)).run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _obeyed(number: int, frame: object) -> None:
    """Nothing is left to do."""
