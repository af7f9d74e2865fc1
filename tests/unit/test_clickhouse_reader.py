"""How a statement travels to ClickHouse, and what its errors mean for the one who asks. No server here."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from thumbstream.console.clickhouse_reader import (
    Account,
    ClickHouseReader,
    ReadLimits,
    ResultTooLargeError,
    UnreadableError,
    bound,
)
from thumbstream.console.filter_sql import Parameter
from thumbstream.console.request_statements import Statement

STATEMENT = Statement("SELECT {p0:String} AS x", {"p0": "a'\t\\b"})


def ask(answer: Callable[[httpx.Request], httpx.Response], times: int = 1) -> list[Any]:
    """What each of some questions gave or raised."""

    async def scenario() -> list[Any]:
        account = Account("http://store", "analyst", "s3cret")
        reader = ClickHouseReader(account, ReadLimits(seconds=3), transport=httpx.MockTransport(answer))
        found: list[Any] = []
        for _ in range(times):
            try:
                found.append(await reader.rows(STATEMENT))
            except (UnreadableError, ResultTooLargeError) as error:
                found.append(error)
        await reader.close()
        return found

    return asyncio.run(scenario())


def test_a_statement_travels_as_a_form_with_limits_and_a_login() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, content=b'{"x":"1"}\n{"x":"2"}\n')

    assert ask(answer) == [[{"x": "1"}, {"x": "2"}]]
    url, body = seen[0].url, seen[0].content
    assert (url.params["max_execution_time"], url.params["default_format"]) == ("3", "JSONEachRow")
    assert seen[0].headers["authorization"].startswith("Basic ")
    assert b'name="query"\r\n\r\nSELECT {p0:String} AS x\r\n' in body
    assert b'name="param_p0"\r\n\r\na\\\'\\t\\\\b\r\n' in body
    assert "p0" not in url.query.decode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (-7, "-7"),
        (0.5, "0.5"),
        (1e300, "1e+300"),
        ("", ""),
        ("a\nb\rc", "a\\nb\\rc"),
        ("\\N", "\\\\N"),
        ((), "[]"),
        (("a'b", "c]\\"), "['a\\'b','c]\\\\']"),
    ],
)
def test_a_value_is_escaped_for_its_type(value: Parameter, text: str) -> None:
    assert bound(value) == text


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        ("159", UnreadableError, "the query took too much"),
        ("241", UnreadableError, "the query took too much"),
        ("396", ResultTooLargeError, ""),
        ("516", UnreadableError, "the store of votes does not answer"),
        ("", UnreadableError, "the store of votes does not answer"),
        ("\u0665", UnreadableError, "the store of votes does not answer"),
    ],
)
def test_an_error_says_what_it_means_and_none_of_the_servers_words(code: str, kind: type, said: str) -> None:
    headers = [(b"X-ClickHouse-Exception-Code", code.encode())]
    (found,) = ask(lambda _: httpx.Response(500, headers=headers, text="Code: SELECT secret_table"))
    assert type(found) is kind
    assert str(found) == said


def test_an_outage_is_logged_once_and_its_end_too() -> None:
    answers = iter(["refuse", "refuse", "busy", "work", "work", "refuse"])

    def answer(request: httpx.Request) -> httpx.Response:
        match next(answers):
            case "refuse":
                raise httpx.ConnectError("connection refused", request=request)
            case "busy":
                return httpx.Response(500, headers={"X-ClickHouse-Exception-Code": "241"}, text="memory")
        return httpx.Response(200, content=b"")

    with capture_logs() as logs:
        found = ask(answer, times=6)
    assert [type(each) for each in found] == [UnreadableError] * 3 + [list] * 2 + [UnreadableError]
    assert [entry["event"] for entry in logs] == ["query_failed", "queries_work_again", "query_failed"]
    assert "s3cret" not in str(logs)


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    (found,) = ask(lambda _: httpx.Response(200, content=b'{"x":"1"}\n{"x'))
    assert isinstance(found, UnreadableError)


@pytest.mark.parametrize(
    ("url", "options", "reason"),
    [
        ("https://store", {"ca_cert": "/nowhere/ca.pem"}, "ca_cert /nowhere/ca.pem"),
        ("http://store:port", {}, "ClickHouse's address: Invalid port"),
        ("store:8123", {}, "ClickHouse's address must be as http://host:8123"),
        ("clickhouse://store", {}, "ClickHouse's address must be as http://host:8123"),
    ],
)
def test_settings_that_cannot_be_used_are_named(url: str, options: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ClickHouseReader(Account(url, "a", "b", options))
