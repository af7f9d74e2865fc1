"""Serves an application over HTTP/1.1 until it is told to stop."""

from __future__ import annotations

import gc
import signal

import uvicorn

from producers.connections import Application, BoundedProtocol

_GRACE_SECONDS = 12  # longer than the longest wait for an acknowledgement
_CONNECTIONS = 900  # most systems allow a process 1,024 open files


def configuration(app: Application, host: str, port: int, *, connections: int = _CONNECTIONS) -> uvicorn.Config:
    """uvicorn as the gateway runs it; when `connections` are at work, the next client is turned away."""
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
