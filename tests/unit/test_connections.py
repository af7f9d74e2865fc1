"""One connection's bounds, whatever a client does: requests in line, unread answers, trailers, upgrades, disorder."""

import asyncio
import socket
from contextlib import suppress

import pytest
import structlog
from structlog.testing import capture_logs

from producers import connections
from producers.connections import BoundedProtocol
from tests.fixtures.http_server import (
    LARGE,
    LAST,
    REFUSED,
    REQUEST,
    App,
    hear,
    knock,
    one_answer,
    run,
    served,
    serving,
    statuses,
    talk,
    until,
)  # fmt: skip

HALF = b"POST /slow HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo"


def test_requests_in_line_take_little_memory_and_are_all_answered() -> None:
    async def scenario() -> None:
        app = App()
        async with served(app) as (port, running):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            many = 20_000
            writer.write(b"GET / HTTP/1.1\r\n\r\n" * many + LARGE * 4_000)
            heard = longest = waiting = 0
            async with asyncio.timeout(60):
                while heard < (many + 4_000) * len(b"hi"):
                    (connection,) = running.server_state.connections
                    assert isinstance(connection, BoundedProtocol)
                    longest = max(longest, len(connection.pipeline))
                    waiting = max(waiting, len(connection._unparsed))
                    heard += len(await one_answer(reader))
            assert 0 < longest < 500
            assert 0 < waiting <= 512 << 10
            writer.close()

    run(scenario())


def test_a_long_line_of_refusals_holds_up_nobody_else() -> None:
    async def scenario() -> None:
        app = App()
        async with served(app) as (port, _):
            line = b"".join(b"GET /no HTTP/1.1\r\nN: %d\r\n\r\n" % number for number in range(5_000))
            flood, other = knock(port, line), knock(port)
            assert await hear(other) == [200]
            assert 0 < app.asked.index("/") < 1_000
            flood.close()
            other.close()

    run(scenario())


def test_who_reads_no_answers_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_REST_SECONDS", 0.3)

    async def scenario() -> None:
        app = App(b"x" * 4_000)
        async with served(app) as (port, running):
            deaf = knock(port, b"")
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            with suppress(BlockingIOError):
                for _ in range(10_000):
                    deaf.send(REFUSED)
            await until(lambda: len(app.asked) >= 1)
            await until(lambda: not running.server_state.connections)
            deaf.close()

    run(scenario())


def test_who_leaves_the_last_answer_unread_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_REST_SECONDS", 0.3)

    async def scenario() -> None:
        async with served(App(b"x" * 4_000)) as (port, running):
            deaf = knock(port, REFUSED)
            await until(lambda: bool(running.server_state.connections))
            (connection,) = running.server_state.connections
            async with asyncio.timeout(10):
                while not connection.transport.get_write_buffer_size():
                    deaf.send(REFUSED)
                    await asyncio.sleep(0)
            await until(lambda: not running.server_state.connections, 4)  # before the server's own five seconds
            deaf.close()

    run(scenario())


def test_who_reads_slowly_gets_the_whole_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_REST_SECONDS", 0.2)
    size = 12 << 20

    async def scenario() -> None:
        async with served(App(b"x" * size)) as (port, _):
            slow = knock(port, REFUSED)
            began, heard = asyncio.get_running_loop().time(), 0
            async with asyncio.timeout(30):
                while heard < size:
                    heard += len(await asyncio.get_running_loop().sock_recv(slow, 256 << 10))
                    await asyncio.sleep(0.02)
            assert asyncio.get_running_loop().time() - began > 0.6, "slow enough to be asked about more than once"
            slow.close()

    run(scenario())


def test_what_stands_behind_a_body_is_no_header() -> None:
    chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nAuthorization: Bearer x\r\n\r\n"

    async def scenario() -> None:
        app = App()
        app.gate.clear()
        async with served(app) as (port, _):
            asyncio.get_running_loop().call_later(0.1, app.gate.set)
            assert statuses(await talk(port, REQUEST + chunked + LAST)) == [200, 200, 200]
            assert app.taken[1] == ("/", b"body")
            assert app.headers[1] == [(b"transfer-encoding", b"chunked")]

    run(scenario())


_UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_a_request_that_asks_for_another_protocol_is_served_in_this_one(pieces: int) -> None:
    body = b"GET /smuggled HTTP/1.1\r\n\r\n"
    asks = b"POST /event?x=1 HTTP/1.1\r\nHost: x\r\n" + _UPGRADE + b"Content-Length: %d\r\n\r\n" % len(body) + body

    async def scenario() -> None:
        app = App()
        async with served(app) as (port, _):
            whole = asks + REQUEST + asks + LAST
            size = -(-len(whole) // pieces)
            parts = [whole[start : start + size] for start in range(0, len(whole), size)]
            assert statuses(await talk(port, *parts, pause=0.02)) == [200] * 4
            assert app.taken == [("/event", body), ("/", b""), ("/event", body), ("/", b"")]
            assert (b"http2-settings", b"AAEAAEAA") in app.headers[0]

    run(scenario())


def test_a_request_that_asks_for_another_protocol_may_be_the_last() -> None:
    asks = b"GET / HTTP/1.1\r\n" + _UPGRADE.replace(b"HTTP2-Settings\r", b"HTTP2-Settings, close\r") + b"\r\n"

    async def scenario() -> None:
        async with serving() as port:
            said = await talk(port, asks + REQUEST)
            assert (statuses(said), b"connection: close" in said) == ([200], True)

    run(scenario())


def test_an_url_that_is_none_is_told_and_a_fault_of_ours_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_log", structlog.get_logger())

    async def scenario() -> None:
        app = App()
        async with served(app) as (port, _):
            with capture_logs() as logs:
                assert statuses(await talk(port, b"GET http://a_b/x HTTP/1.1\r\n\r\n")) == [400]
                assert logs == []
                app.answer_at_once = None  # type: ignore[assignment, method-assign]  # a fault
                assert statuses(await talk(port, REQUEST)) == [400]
                assert [entry["event"] for entry in logs] == ["parser_failed"]

    run(scenario())


def test_an_answer_on_the_spot_does_not_end_the_wait_for_the_next_one() -> None:
    async def scenario() -> None:
        app = App()
        app.gate.clear()
        async with served(app) as (port, running):
            running.config.timeout_keep_alive = 0  # type: ignore[assignment]  # seconds
            asyncio.get_running_loop().call_later(0.3, app.gate.set)
            assert statuses(await talk(port, REFUSED + REQUEST)) == [429, 200]

    run(scenario())


def test_an_answer_does_not_begin_the_wait_for_the_body_of_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_REST_SECONDS", 0.2)

    async def scenario() -> None:
        app = App()
        app.gate.clear()
        async with served(app) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST + HALF)
            await until(lambda: len(app.asked) >= 1)
            app.gate.set()
            assert await one_answer(reader) == b"hi"
            await asyncio.sleep(0.4)  # longer than the wait that must not begin
            writer.write(b"dy")
            assert await one_answer(reader) == b"hi"
            writer.close()

    run(scenario())


def test_the_wait_for_headers_is_the_client_s_and_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_REST_SECONDS", 0.2)

    async def scenario() -> None:
        app = App()
        app.gate.clear()
        async with served(app) as (port, _):
            asyncio.get_running_loop().call_later(0.5, app.gate.set)
            assert statuses(await talk(port, LARGE * 5 + LAST)) == [200] * 6

    run(scenario())


def test_a_client_that_dawdles_behind_its_request_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_REST_SECONDS", 0.2)

    async def scenario() -> None:
        async with serving() as port:
            assert statuses(await talk(port, LARGE * 3 + LARGE[:500])) == [200] * 3

    run(scenario())


def test_line_ends_that_mean_nothing_hold_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_REST_SECONDS", 0.2)

    async def scenario() -> None:
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REQUEST)
            assert await one_answer(reader) == b"hi"
            writer.write(b"\r\n")
            assert await asyncio.wait_for(reader.read(), 4) == b"", "before the server's own five seconds"
            writer.close()

    run(scenario())


_CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


_IN_LINE = b"POST / HTTP/1.1\r\n" + _CHUNKED


@pytest.mark.parametrize(("said", "expected"), [
    (b"\0\1\2\r\n\r\n", [400]),
    (_IN_LINE + b"zz\r\n", [400]),
    (b"POST /no HTTP/1.1\r\n" + _CHUNKED + b"zz\r\n", [429]),
    (REQUEST + b"\0\1\2\r\n\r\n", [200]),
    (REQUEST + REQUEST + b"\0\1\2\r\n\r\n", [200, 200]),
    (REQUEST + _IN_LINE + b"zz\r\n", [200]),
    (REQUEST + REQUEST + _IN_LINE + b"zz\r\n", [200, 200]),
    (REFUSED + b"\0\1\2\r\n\r\n", [429, 400]),
    (b"CONNECT example:443 HTTP/1.1\r\nHost: example:443\r\n\r\n", [400]),
    (REQUEST + b"CONNECT example:443 HTTP/1.1\r\nHost: example:443\r\n\r\n", [200]),
    (b"GET http://a_b/x HTTP/1.1\r\n\r\n", [400]),
    (b"POST http://a_b/x HTTP/1.1\r\n" + _UPGRADE + b"Content-Length: 4\r\n\r\nbody", [400]),
    (REQUEST + b"GET http://a_b/x HTTP/1.1\r\n\r\n", [200]),
    (REFUSED.replace(b"Key: a", b"Connection: close") + b"\0\1\2\r\n\r\n", [429]),
])  # fmt: skip
def test_disorder_ends_a_connection_and_gives_no_request_two_answers(said: bytes, expected: list[int]) -> None:
    async def scenario() -> None:
        async with serving() as port:
            assert statuses(await talk(port, said)) == expected

    run(scenario())


def test_headers_in_parts_behind_a_refusal_are_read_to_their_end() -> None:
    async def scenario() -> None:
        async with serving() as port:
            large = LARGE.replace(b"a" * 1_000, b"a" * 8_000)
            assert statuses(await talk(port, REFUSED + large[:6_000], large[6_000:] + LAST, pause=0.05)) == [
                429,
                200,
                200,
            ]

    run(scenario())


def test_nothing_is_done_after_the_last_answer() -> None:
    async def scenario() -> None:
        app = App()
        async with served(app) as (port, _):
            last_refusal = REFUSED.replace(b"Key: a", b"Connection: close")
            for last, status in ((LAST, 200), (last_refusal, 429)):
                app.asked.clear()
                assert statuses(await talk(port, last + REQUEST, REQUEST, pause=0.02)) == [status]
                assert len(app.asked) == 1

    run(scenario())
