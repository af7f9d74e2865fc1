"""The HTTP server's own bounds: slow and endless headers, many connections, requests one after another."""

import asyncio

import pytest

from producers import connections
from tests.fixtures.http_server import LAST, REFUSED, REQUEST, App, run, served, serving, statuses, talk, until


def test_headers_that_do_not_come_in_time_end_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_REST_SECONDS", 0.1)

    async def scenario() -> None:
        async with serving() as port:
            assert await talk(port) == b""
            assert await talk(port, b"GET / HTTP/1.1\r\nA: ", b"b\r\n") == b""
            assert (await talk(port, REQUEST, b"GET / HTTP/1.1\r\n")).count(b"200 OK") == 1

    run(scenario())


def test_headers_without_end_end_the_connection() -> None:
    async def scenario() -> None:
        async with serving() as port:
            assert await talk(port, b"GET / HTTP/1.1\r\n", *[b"A: " + b"b" * 10_000 + b"\r\n"] * 100) == b""

    run(scenario())


def test_large_bodies_and_many_requests_on_one_connection_are_no_endless_headers() -> None:
    large = b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000

    async def scenario() -> None:
        async with serving() as port:
            assert (await talk(port, large, REQUEST, large, LAST)).count(b"200 OK") == 4

    run(scenario())


def test_a_refusal_on_the_spot_leaves_the_connection_to_the_next_request() -> None:
    async def scenario() -> None:
        app = App()
        async with served(app) as (port, _):
            head, body = REFUSED[:-4], REFUSED[-4:]
            assert statuses(await talk(port, REFUSED, REQUEST, head, body, LAST, pause=0.01)) == [429, 200, 429, 200]
            assert app.asked == ["/no", "/", "/no", "/"]

    run(scenario())


def test_who_repeats_a_refused_request_gets_the_same_answer_for_as_long_as_it_holds() -> None:
    async def scenario() -> None:
        app = App()
        async with served(app) as (port, _):
            longer = REFUSED.replace(b"4", b"5") + b"!"
            other_key, other_method = REFUSED.replace(b"Key: a", b"Key: b"), REFUSED.replace(b"POST", b"PUT")
            said = await talk(port, REFUSED, REFUSED, longer, other_key, other_method, other_method, LAST)
            assert (statuses(said), said.count(b"date: ")) == ([429] * 6 + [200], 7)
            assert (app.asked, app.asked_again) == (["/no", "/no", "/no", "/"], 3)
            app.still = False
            assert statuses(await talk(port, REFUSED, REFUSED, LAST)) == [429, 429, 200]
            assert app.asked[4:] == ["/no", "/no", "/"]

    run(scenario())


def test_answers_keep_the_order_of_their_requests_however_many_stand_in_line() -> None:
    async def scenario() -> None:
        app = App()
        app.gate.clear()
        async with served(app) as (port, _):
            asyncio.get_running_loop().call_later(0.1, app.gate.set)
            said = await talk(port, REQUEST + REFUSED * 700 + REQUEST + LAST)
            assert statuses(said) == [200] + [429] * 700 + [200, 200]

    run(scenario())


@pytest.mark.parametrize("pieces", [(REFUSED[:-4], b"b"), (REFUSED[:-1], b"y")], ids=["in its body", "after it"])
def test_a_refused_client_that_dawdles_is_disconnected(
    monkeypatch: pytest.MonkeyPatch, pieces: tuple[bytes, ...]
) -> None:
    monkeypatch.setattr(connections, "_REST_SECONDS", 0.2)

    async def scenario() -> None:
        async with serving() as port:
            assert statuses(await talk(port, *pieces, pause=0.05)) == [429]

    run(scenario())


def test_refusals_that_nobody_reads_do_not_pile_up() -> None:
    async def scenario() -> None:
        app = App(b"x" * 4_000)
        async with served(app) as (port, running):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
            writer.write(REFUSED * 10_000 + LAST)
            (connection,) = running.server_state.connections
            await until(lambda: connection.flow.write_paused, 20)
            for _ in range(100):
                await asyncio.sleep(0)
                assert connection.transport.get_write_buffer_size() < 1 << 20
            async with asyncio.timeout(60):
                assert len(statuses(await reader.read())) == 10_001
            writer.close()

    run(scenario())
