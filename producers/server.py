"""Serves an application over HTTP/1.1, bounded: headers, connections, and how long a client may dawdle."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEADER_SECONDS = 30.0
_HEADER_BYTES = 64 * 1024
_GRACE_SECONDS = 12  # longer than the longest wait for an acknowledgement
_CONNECTIONS = 900  # the application says 503 in its own words long before; most systems allow 1,024 open files

Application = Callable[..., Any]


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request headers are too slow or too long; the server itself has no limit for either."""

    _waiting: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the class above
        """A client must send its first headers in time, too."""
        super().connection_made(transport)
        self._await_headers()

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
        self._await_headers()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """From here on the application bounds the body."""
        self._stop_waiting()
        self._in_headers, self._header_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are headers again."""
        self._in_headers = True
        super().on_message_complete()

    def _await_headers(self) -> None:
        self._stop_waiting()
        self._waiting = self.loop.call_later(_HEADER_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def configuration(app: Application, host: str, port: int, *, connections: int = _CONNECTIONS) -> uvicorn.Config:
    """uvicorn as the gateway runs it; beyond `connections` a client gets a 503 and is disconnected."""
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
    try:
        uvicorn.Server(configuration(app, host, port)).run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _obeyed(number: int, frame: object) -> None:
    """Nothing is left to do."""
