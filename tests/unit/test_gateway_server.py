"""The HTTP server's own bounds: slow and endless headers, many connections, requests one after another."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from producers import server
from producers.server import configuration

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        for answer in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{answer}.complete"})
        return
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


@contextlib.asynccontextmanager
async def _serving(connections: int = 10) -> AsyncIterator[int]:
    """The port of a server in this event loop."""
    running = uvicorn.Server(configuration(_hello, "127.0.0.1", 0, connections=connections))
    task = asyncio.create_task(running._serve())  # `serve` would take over the signals of the test run
    async with asyncio.timeout(10):
        while not running.started:  # noqa: ASYNC110 - the server sets a flag, no event
            await asyncio.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    await task


async def _said(port: int, *pieces: bytes, pause: float = 0) -> bytes:
    """All that the server says to `pieces` until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
    said = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            said = await reader.read()
    writer.close()
    return said


def test_headers_that_do_not_come_in_time_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_HEADER_SECONDS", 0.1)

    async def scenario() -> None:
        async with _serving() as port:
            assert await _said(port) == b""
            assert await _said(port, b"GET / HTTP/1.1\r\nA: ", b"b\r\n") == b""
            assert (await _said(port, REQUEST, b"GET / HTTP/1.1\r\n")).count(b"200 OK") == 1

    asyncio.run(scenario())


def test_headers_without_end_end_the_connection() -> None:
    async def scenario() -> None:
        async with _serving() as port:
            assert await _said(port, b"GET / HTTP/1.1\r\n", *[b"A: " + b"b" * 10_000 + b"\r\n"] * 100) == b""

    asyncio.run(scenario())


def test_large_bodies_and_many_requests_on_one_connection_are_no_endless_headers() -> None:
    large = b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    last = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"

    async def scenario() -> None:
        async with _serving() as port:
            assert (await _said(port, large, REQUEST, large, last)).count(b"200 OK") == 4

    asyncio.run(scenario())


def test_beyond_the_limit_of_connections_a_client_is_turned_away() -> None:
    async def scenario() -> None:
        async with _serving(connections=2) as port:
            _, first = await asyncio.open_connection("127.0.0.1", port)
            assert b"503 Service Unavailable" in await _said(port, REQUEST)
            first.close()

    asyncio.run(scenario())
