"""The HTTP server's own bounds: slow and endless headers, many connections, requests one after another."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from producers import server
from producers.bodies import Answer
from producers.server import configuration

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
REFUSED = b"POST /no HTTP/1.1\r\nKey: a\r\nContent-Length: 4\r\n\r\nbody"


class App:
    """Says hi once a body is there, and `refusal` on the spot to what is sent to /no."""

    def __init__(self, refusal: bytes = b"no") -> None:
        self.refusal = refusal
        self.asked: list[str] = []
        self.asked_again = 0
        self.still = True
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As ASGI says."""
        if scope["type"] == "lifespan":
            for answer in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{answer}.complete"})
            return
        while (await receive())["more_body"]:
            pass
        await self.gate.wait()
        status, text = (429, self.refusal) if scope["path"] == "/no" else (200, b"hi")
        await send({"type": "http.response.start", "status": status, "headers": _length(text)})
        await send({"type": "http.response.body", "body": text})

    def answer_at_once(self, scope: Any) -> Answer | None:
        """As the server wants it."""
        self.asked.append(scope["path"])
        return Answer(429, _length(self.refusal), self.refusal, self._again) if scope["path"] == "/no" else None

    def _again(self) -> bool:
        self.asked_again += 1
        return self.still


def _length(text: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % len(text))]


@contextlib.asynccontextmanager
async def _served(app: App, connections: int = 10) -> AsyncIterator[tuple[int, uvicorn.Server]]:
    """The port of a server in this event loop, and the server."""
    running = uvicorn.Server(configuration(app, "127.0.0.1", 0, connections=connections))
    task = asyncio.create_task(running._serve())  # `serve` would take over the signals of the test run
    async with asyncio.timeout(10):
        while not running.started:  # noqa: ASYNC110 - the server sets a flag, no event
            await asyncio.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1], running
    running.should_exit = True
    await task


@contextlib.asynccontextmanager
async def _serving(connections: int = 10) -> AsyncIterator[int]:
    async with _served(App(), connections) as (port, _):
        yield port


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
    monkeypatch.setattr(server, "_REST_SECONDS", 0.1)

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

    async def scenario() -> None:
        async with _serving() as port:
            assert (await _said(port, large, REQUEST, large, LAST)).count(b"200 OK") == 4

    asyncio.run(scenario())


def test_when_all_connections_are_at_work_a_client_is_turned_away() -> None:
    async def scenario() -> None:
        app = App()
        app.gate.clear()
        async with _served(app, connections=3) as (port, _):
            asked, half_a_body = REQUEST, b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo"
            at_work = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for (_, writer), request in zip(at_work, (asked, half_a_body), strict=True):
                writer.write(request)
            async with asyncio.timeout(10):
                while len(app.asked) < 2:  # noqa: ASYNC110 - the application sets no event
                    await asyncio.sleep(0.01)
            assert b"503 Service Unavailable" in await _said(port, REQUEST)
            app.gate.set()
            at_work[1][1].write(b"dy")
            for reader, writer in at_work:
                assert await _answer(reader) == b"hi"
                writer.close()

    asyncio.run(scenario())


_HALF_OF_ITS_HEADERS = b"GET / HTTP/1.1\r\nA: b\r\n"


@pytest.mark.parametrize(("before", "answer"), [
    (b"", b""), (_HALF_OF_ITS_HEADERS, b""), (REQUEST, b"hi"), (REFUSED[:-1], b"no"),
])  # fmt: skip
def test_a_newcomer_takes_the_place_of_the_connection_that_is_quiet_for_longest(before: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        async with _serving(connections=5) as port:
            active = await asyncio.open_connection("127.0.0.1", port)
            quiet = await asyncio.open_connection("127.0.0.1", port)
            quiet[1].write(before)
            assert not answer or await _answer(quiet[0]) == answer
            later = await asyncio.open_connection("127.0.0.1", port)
            active[1].write(REQUEST)
            assert await _answer(active[0]) == b"hi"
            last = await asyncio.open_connection("127.0.0.1", port)
            assert _statuses(await _said(port, REQUEST, LAST)) == [200, 200]
            async with asyncio.timeout(10):
                assert await quiet[0].read() == b""
            quiet[1].close()
            for reader, writer in (active, later, last):
                writer.write(REQUEST)
                assert await _answer(reader) == b"hi"
                writer.close()

    asyncio.run(scenario())


def test_many_newcomers_at_once_take_a_place_each() -> None:
    async def scenario() -> None:
        async with _serving(connections=9) as port:
            quiet = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            new = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(6)))
            for reader, writer in new:
                writer.write(REQUEST)
                assert await _answer(reader) == b"hi"
            for reader, _ in quiet[:6]:
                assert await asyncio.wait_for(reader.read(), 10) == b""
            for _, writer in (*quiet, *new):
                writer.close()

    asyncio.run(scenario())


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """The body of one answer on a connection that stays."""
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length is not None
        return await reader.readexactly(int(length[1]))


def _statuses(said: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", said)]


def test_a_refusal_on_the_spot_leaves_the_connection_to_the_next_request() -> None:
    async def scenario() -> None:
        app = App()
        async with _served(app) as (port, _):
            head, body = REFUSED[:-4], REFUSED[-4:]
            assert _statuses(await _said(port, REFUSED, REQUEST, head, body, LAST, pause=0.01)) == [429, 200, 429, 200]
            assert app.asked == ["/no", "/", "/no", "/"]

    asyncio.run(scenario())


def test_who_repeats_a_refused_request_gets_the_same_answer_for_as_long_as_it_holds() -> None:
    async def scenario() -> None:
        app = App()
        async with _served(app) as (port, _):
            longer = REFUSED.replace(b"4", b"5") + b"!"
            other_key, other_method = REFUSED.replace(b"Key: a", b"Key: b"), REFUSED.replace(b"POST", b"PUT")
            said = await _said(port, REFUSED, REFUSED, longer, other_key, other_method, other_method, LAST)
            assert (_statuses(said), said.count(b"date: ")) == ([429] * 6 + [200], 7)
            assert (app.asked, app.asked_again) == (["/no", "/no", "/no", "/"], 3)
            app.still = False
            assert _statuses(await _said(port, REFUSED, REFUSED, LAST)) == [429, 429, 200]
            assert app.asked[4:] == ["/no", "/no", "/"]

    asyncio.run(scenario())


def test_answers_keep_the_order_of_their_requests_however_many_stand_in_line() -> None:
    async def scenario() -> None:
        app = App()
        app.gate.clear()
        async with _served(app) as (port, _):
            asyncio.get_running_loop().call_later(0.1, app.gate.set)
            said = await _said(port, REQUEST + REFUSED * 700 + REQUEST + LAST)
            assert _statuses(said) == [200] + [429] * 700 + [200, 200]

    asyncio.run(scenario())


@pytest.mark.parametrize("pieces", [(REFUSED[:-4], b"b"), (REFUSED[:-1], b"y")], ids=["in its body", "after it"])
def test_a_refused_client_that_dawdles_is_disconnected(
    monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...]
) -> None:
    monkeypatch.setattr(server, "_REST_SECONDS", 0.2)

    async def scenario() -> None:
        async with _serving() as port:
            assert _statuses(await _said(port, *pieces, pause=0.05)) == [429]

    asyncio.run(scenario())


def test_when_connections_run_short_a_refusal_ends_its_own() -> None:
    async def scenario() -> None:
        async with _serving(connections=4) as port:
            assert _statuses(await _said(port, REFUSED, LAST)) == [429, 200]
            others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            said = await _said(port, REFUSED, LAST)
            assert (_statuses(said), b"connection: close" in said) == ([429], True)
            assert _statuses(await _said(port, REQUEST, LAST)) == [200, 200]
            for _, writer in others:
                writer.close()

    asyncio.run(scenario())


def test_refusals_that_nobody_reads_do_not_pile_up() -> None:
    async def scenario() -> None:
        app = App(b"x" * 4_000)
        async with _served(app) as (port, running):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
            writer.write(REFUSED * 10_000 + LAST)
            (connection,) = running.server_state.connections
            async with asyncio.timeout(20):
                while not connection.flow.write_paused:  # type: ignore[union-attr]  # noqa: ASYNC110 - sets no event
                    await asyncio.sleep(0.01)
            for _ in range(100):
                await asyncio.sleep(0)
                assert connection.transport.get_write_buffer_size() < 1 << 20
            async with asyncio.timeout(60):
                assert len(_statuses(await reader.read())) == 10_001
            writer.close()

    asyncio.run(scenario())
