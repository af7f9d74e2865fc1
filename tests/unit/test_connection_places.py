"""Who has a place when connections run short: whoever asks, before whoever only holds one."""

import asyncio

import psutil
import pytest

from producers import connections
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


def test_when_all_connections_are_at_work_a_client_is_turned_away() -> None:
    async def scenario() -> None:
        app = App()
        app.gate.clear()
        async with served(app, limit=3) as (port, _):
            asked, half_a_body = REQUEST, b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbo"
            at_work = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for (_, writer), request in zip(at_work, (asked, half_a_body), strict=True):
                writer.write(request)
            await until(lambda: len(app.asked) >= 2)
            said = await talk(port, REQUEST)
            assert (statuses(said), said[-4:], b"connection: close" in said) == ([503], b"full", True)
            assert app.turned_away == ["/"]
            app.gate.set()
            at_work[1][1].write(b"dy")
            for reader, writer in at_work:
                assert await one_answer(reader) == b"hi"
                writer.close()

    run(scenario())


_HALF_OF_ITS_HEADERS = b"GET / HTTP/1.1\r\nA: b\r\n"


@pytest.mark.parametrize(("before", "answer"), [
    (b"", b""), (_HALF_OF_ITS_HEADERS, b""), (REQUEST, b"hi"), (REFUSED[:-1], b"no"),
])  # fmt: skip
def test_a_newcomer_takes_the_place_of_the_connection_that_is_quiet_for_longest(before: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        async with serving(limit=5) as port:
            active = await asyncio.open_connection("127.0.0.1", port)
            quiet = await asyncio.open_connection("127.0.0.1", port)
            quiet[1].write(before)
            assert not answer or await one_answer(quiet[0]) == answer
            later = await asyncio.open_connection("127.0.0.1", port)
            active[1].write(REQUEST)
            assert await one_answer(active[0]) == b"hi"
            last = await asyncio.open_connection("127.0.0.1", port)
            assert statuses(await talk(port, REQUEST, LAST)) == [200, 200]
            async with asyncio.timeout(10):
                assert await quiet[0].read() == b""
            quiet[1].close()
            for reader, writer in (active, later, last):
                writer.write(REQUEST)
                assert await one_answer(reader) == b"hi"
                writer.close()

    run(scenario())


def test_many_newcomers_at_once_take_a_place_each() -> None:
    async def scenario() -> None:
        async with serving(limit=9) as port:
            quiet = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            new = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", port) for _ in range(6)))
            for reader, writer in new:
                writer.write(REQUEST)
                assert await one_answer(reader) == b"hi"
            for reader, _ in quiet[:6]:
                assert await asyncio.wait_for(reader.read(), 10) == b""
            for _, writer in (*quiet, *new):
                writer.close()

    run(scenario())


def test_newcomers_that_ask_at_once_are_served_and_cost_active_clients_nothing() -> None:
    async def scenario() -> None:
        async with serving(limit=10) as port:
            quiet = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
            active = await asyncio.open_connection("127.0.0.1", port)
            active[1].write(REQUEST)
            assert await one_answer(active[0]) == b"hi"
            active[1].write(REQUEST)
            new = [knock(port) for _ in range(3)]
            assert [await hear(each) for each in new] == [[200]] * 3
            assert await one_answer(active[0]) == b"hi"
            for reader, _ in quiet[:3]:
                assert await asyncio.wait_for(reader.read(), 10) == b""
            for reader, writer in quiet[3:]:
                writer.write(REQUEST)
                assert await one_answer(reader) == b"hi"
            for each in new:
                each.close()
            for _, writer in (*quiet, active):
                writer.close()

    run(scenario())


def test_who_asks_goes_before_a_newcomer_that_does_not() -> None:
    async def scenario() -> None:
        app = App()
        app.gate.clear()
        async with served(app, limit=3) as (port, running):
            first, second = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            for _, writer in (first, second):
                writer.write(REQUEST)
            await until(lambda: len(app.asked) >= 2)
            idle = await asyncio.open_connection("127.0.0.1", port)
            await until(lambda: len(running.server_state.connections) >= 3)
            app.gate.set()
            for reader, writer in (first, second):
                assert await one_answer(reader) == b"hi"
                writer.write(REQUEST)
                assert await one_answer(reader) == b"hi"
            assert await asyncio.wait_for(idle[0].read(), 10) == b""
            for _, writer in (first, second, idle):
                writer.close()

    run(scenario())


def test_connections_of_those_who_take_no_answers_do_not_pile_up() -> None:
    async def scenario() -> None:
        async with served(App(b"x" * (6 << 20)), limit=5) as (port, running):
            mine = psutil.Process()
            before = len(mine.net_connections())
            deaf = []
            for _ in range(20):
                deaf.append(knock(port, REFUSED))
                await asyncio.sleep(0.05)
            await until(lambda: len(mine.net_connections()) - before - len(deaf) <= 5, 5)
            assert len(running.server_state.connections) <= 5
            for each in deaf:
                each.close()

    run(scenario())


def test_when_connections_run_short_a_refusal_ends_its_own() -> None:
    async def scenario() -> None:
        async with serving(limit=4) as port:
            assert statuses(await talk(port, REFUSED, LAST)) == [429, 200]
            others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            said = await talk(port, REFUSED, LAST)
            assert (statuses(said), b"connection: close" in said) == ([429], True)
            assert statuses(await talk(port, REQUEST, LAST)) == [200, 200]
            for _, writer in others:
                writer.close()

    run(scenario())


@pytest.mark.parametrize("leaves", [True, False])
def test_who_is_refused_when_connections_run_short_hears_it_and_no_more(
    monkeypatch: pytest.MonkeyPatch, leaves: bool
) -> None:
    monkeypatch.setattr(connections, "_LINGER_SECONDS", 20 if leaves else 0.2)

    async def scenario() -> None:
        app = App()
        async with served(app, limit=4) as (port, running):
            others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(REFUSED + REQUEST + LARGE * 100)
            assert await one_answer(reader) == b"no"
            assert await asyncio.wait_for(reader.read(), 10) == b""
            if leaves:
                writer.close()
            else:
                writer.write(LARGE)
            await until(lambda: len(running.server_state.connections) <= 2, 4)
            assert app.asked == ["/no"]
            for _, other in (*others, (reader, writer)):
                other.close()

    run(scenario())
