"""One HTTP/1.1 connection of the gateway, bounded: what a client may hold, how much, and for how long."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any, NamedTuple, Protocol

import httptools
import structlog
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from producers.bodies import Answer

_REST_SECONDS = 30.0  # for headers, for a body that nobody wants any more, and for a client to read what it asked for
_LEAST_TAKEN = 64 * 1024  # bytes of an answer, in each of these times
_LINGER_SECONDS = 2.0
_HEADER_BYTES = 64 * 1024
_BAD_URL = (httptools.HttpParserInvalidURLError, UnicodeDecodeError, type(None))  # the client's fault, not ours
_log = structlog.get_logger(__name__)
_PIECE = 2 * 1024  # bytes parsed at once: what one piece can hold of requests is all that ever stands in line


class Application(Protocol):
    """An ASGI application that can answer some requests on the spot."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI says."""
        ...

    def answer_at_once(self, scope: Scope) -> Answer | None:
        """The whole answer when the headers are enough for it; None: call the application with this scope."""
        ...

    def turn_away(self, scope: Scope) -> Answer:
        """The answer when there are too many connections."""
        ...


class _Refused(NamedTuple):
    """The last refusal on a connection, and the request that it was for."""

    request: tuple[object, ...]
    cycle: RequestResponseCycle
    status: int
    rest: bytes
    again: Callable[[], bool]


class _Flow(FlowControl):
    """Reads on only when all that was read is parsed and nobody stands in line, or memory would have no bound."""

    def __init__(self, transport: asyncio.Transport, is_behind: Callable[[], bool]) -> None:
        super().__init__(transport)
        self._is_behind = is_behind

    def resume_reading(self) -> None:
        """Read on, unless there is enough to do."""
        if not self._is_behind():
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds that it lacks.

    Asks the application for an answer on the spot before it makes a task of a request, and once more for the same
    answer before it looks at a request that repeats a refused one: each of these steps takes longer than what is left.

    At the limit of connections a newcomer takes the place of the one that has asked for nothing for longest, so that
    nobody keeps others out by connections that do nothing; only when all are at work is it turned away.

    Requests that come before earlier ones are answered wait as bytes, but for the few of one piece.
    """

    app: Application

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._limit, self.limit_concurrency = self.limit_concurrency or 0, None  # ours; the server's own is too blunt
        self._refused: _Refused | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._in_headers, self._header_bytes = True, 0
        self._begun = False  # a request, in the piece that is parsed
        self._unparsed = bytearray()
        self._goes_on = False  # parsing, in a later turn of the loop
        self._hung_up = False  # the last answer is out
        self._at_work: RequestResponseCycle | None = None  # the request that a task was made of
        self._quiet_since = 0.0  # end of the last answer, or begin of the connection

    # the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the class above
        """A client must send its first headers in time, too."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that `pause_writing` tells of every byte that nobody takes
        self.flow = _Flow(transport, self._is_behind)
        self._quiet_since = time.monotonic()
        self._has_room()
        self._await_the_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer outlives its connection."""
        self._stop_waiting()
        self._stop_unread()
        if self._at_work is not None:
            self._at_work.disconnected = True  # the class above tells only the last request of a line
            self._at_work.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take all at once. One that takes next to nothing is disconnected in the end."""
        super().pause_writing()
        self._await_reading()

    def resume_writing(self) -> None:
        """The client has taken everything."""
        self._stop_unread()
        super().resume_writing()

    def _has_room(self) -> bool:
        """Whether this connection may ask for something, if need be in the place of a quiet one."""
        if not self._limit or len(self.connections) < self._limit:
            return True
        others = (other for other in self.connections if other is not self and isinstance(other, BoundedProtocol))
        oldest = min((other for other in others if other._is_quiet()), key=_quiet_since, default=None)
        if oldest is None:
            return False
        self.connections.discard(oldest)  # it would count until the next turn of the loop
        oldest.transport.abort()  # it may have unread answers, for which `close` would wait
        return True

    def _is_quiet(self) -> bool:
        """Whether all that was asked has been answered; headers that are not complete ask for nothing."""
        return (self.cycle is None or self.cycle.response_complete) and not self._unparsed

    # what comes in

    def data_received(self, data: bytes) -> None:
        """Parse piece by piece, as far as requests can be served."""
        if not self._hung_up:
            self._unparsed += data
            if not self._goes_on:
                self._parse()

    def _parse(self) -> None:
        self._goes_on = False
        while self._unparsed and not self.pipeline and not self.transport.is_closing():
            piece = bytes(self._unparsed[:_PIECE])
            del self._unparsed[:_PIECE]
            self._begun = False
            self._feed(piece)
            if self._begun and self._unparsed:
                self._parse_later()  # others may come first
                break
        if self.transport.is_closing():
            return
        if self._is_behind():
            self.flow.pause_reading()
            self._stop_waiting()  # for it is the client that waits
            return
        if self._is_quiet() or len(self.cycle.body) <= HIGH_WATER_LIMIT:
            self.flow.resume_reading()
        unfinished = self._is_quiet() or self._header_bytes
        if unfinished and self._waiting is None and self.timeout_keep_alive_task is None:
            self._await_the_rest()

    def _parse_later(self) -> None:
        if not self._goes_on:
            self._goes_on = True
            self.loop.call_soon(self._parse)

    def _is_behind(self) -> bool:
        return bool(self._unparsed or self.pipeline)

    def _feed(self, piece: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._in_headers:
            self._header_bytes += len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_without_upgrade(piece[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._end_in_disorder(error)
        if self._in_headers and self._header_bytes > _HEADER_BYTES:
            self.transport.close()

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """Serve a request that asks for another protocol as if it did not; the parser has passed over its body.

        Java's client asks for HTTP/2 in this way when it opens a connection.
        """
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        if self._hung_up or method == b"CONNECT":
            self._end_in_disorder()
            return
        headers = [header for header in self.headers if header[0] not in (b"upgrade", b"connection")]
        if any(b"close" in value.lower() for name, value in self.headers if name == b"connection"):
            headers.append((b"connection", b"close"))
        head = [b"%b %b HTTP/%b" % (method, self.url, version), *(b"%b: %b" % header for header in headers), b"", b""]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as the class above does
        self._feed(b"\r\n".join(head))
        if rest:
            self._feed(rest)

    def _end_in_disorder(self, error: Exception | None = None) -> None:
        """What came is no HTTP. Requests before it are still answered, and none is answered twice."""
        if error is not None and not isinstance(error.__context__, _BAD_URL):
            _log.error("parser_failed", exc_info=error.__context__)
        self._unparsed.clear()
        if self._hung_up:
            return
        if not self._in_headers and self.pipeline:  # the body of the last one in line
            self.pipeline.popleft()
            assert self._at_work is not None  # for whom the others wait
            self.cycle = self.pipeline[0][0] if self.pipeline else self._at_work
            self._in_headers = True
        answered = self.cycle is None or self.cycle.response_complete
        if self._in_headers and not answered:
            self.cycle.keep_alive = False
        elif answered and not self._in_headers:
            self.transport.close()
        else:
            self.send_400_response("Invalid HTTP request received.")

    # what the parser finds

    def on_message_begin(self) -> None:
        """A request begins."""
        self._begun = True
        if not self._hung_up:
            self._unset_keepalive_if_required()  # an answer on the spot has set it, with this request in hand
            self._await_the_rest()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Headers only: what stands behind a body says nothing about the request."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on the application bounds the body."""
        if self.parser.should_upgrade() or self._hung_up:
            return  # once more, in a moment; or never
        self._stop_waiting()
        self._in_headers, self._header_bytes = False, 0
        last, self._refused = self._refused, None
        if last is not None and self._repeats(last):
            self._refused = last
            self._say(last.cycle, last.status, last.rest)
        else:
            before = self.cycle
            try:
                super().on_headers_complete()
            except Exception:
                self._in_headers, self.cycle = True, before  # for no request has come of it
                raise

    def on_message_complete(self) -> None:
        """The next bytes are headers again."""
        if not self.parser.should_upgrade():
            self._in_headers = True
            super().on_message_complete()

    # what goes out

    def on_response_complete(self) -> None:
        """An answer is out. For whoever still sends the body of that request, this timer is the only one."""
        self._quiet_since = time.monotonic()
        if not self._in_headers and self.cycle.response_complete:
            self._await_the_rest()
        super().on_response_complete()
        if self._unparsed and not self.pipeline:
            self._parse_later()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not self._has_room():
            cycle.keep_alive = False
            answer = self.app.turn_away(cycle.scope)  # type: ignore[arg-type]  # a dict to others
            self._say(cycle, answer.status, _encoded(answer))
            return
        # those that stand in line behind others would go hundreds of calls deep; who reads no answers must wait
        at_once = cycle.scope is self.scope and not self.flow.write_paused
        found = self.app.answer_at_once(cycle.scope) if at_once else None  # type: ignore[arg-type]  # as above
        if found is None:
            self._at_work = cycle
            super()._start_asgi_task(cycle, app)
            return
        rest = _encoded(found)
        if found.again is not None:
            self._refused = _Refused(self._request(), cycle, found.status, rest, found.again)
        self._say(cycle, found.status, rest)

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
        if self._limit and 2 * len(self.connections) > self._limit:
            cycle.keep_alive = False  # they run short: those who are refused leave theirs to others
        common = b"".join([b"%b: %b\r\n" % header for header in self.server_state.default_headers])
        closing = b"" if cycle.keep_alive else b"connection: close\r\n"
        self.transport.write(STATUS_LINE[status] + common + closing + rest)
        cycle.response_started = cycle.response_complete = True
        if cycle.keep_alive:
            self.on_response_complete()
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        """Say no more. To close while the client still sends would make its system forget the answer unread."""
        self._hung_up = True
        self._unparsed.clear()
        self.pipeline.clear()
        self.on_response_complete()  # reads on
        self._await_the_rest(_LINGER_SECONDS)
        self.transport.write_eof()

    # time

    def _await_the_rest(self, seconds: float | None = None) -> None:
        self._stop_waiting()
        self._waiting = self.loop.call_later(seconds or _REST_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _await_reading(self) -> None:
        self._stop_unread()
        enough = self._untaken() - _LEAST_TAKEN
        self._unread = self.loop.call_later(_REST_SECONDS, self._end_unless_below, enough)

    def _end_unless_below(self, left: int) -> None:
        if self._untaken() <= left:
            self._await_reading()
        else:
            self.transport.abort()

    def _untaken(self) -> int:
        """Bytes that the client has not confirmed: what is here, and what the system took, in large portions."""
        held = array("i", [0])
        with suppress(OSError):
            ioctl(self.transport.get_extra_info("socket").fileno(), TIOCOUTQ, held)
        return self.transport.get_write_buffer_size() + held[0]

    def _stop_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def _quiet_since(connection: BoundedProtocol) -> float:
    return connection._quiet_since


def _encoded(answer: Answer) -> bytes:
    """Its headers and body, behind those that all answers have."""
    return b"".join([*(b"%b: %b\r\n" % header for header in answer.headers), b"\r\n", answer.body])
