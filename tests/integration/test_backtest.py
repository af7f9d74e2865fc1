"""Votes of the past out of ClickHouse: the tallies that a file of the same votes gives, and a backtest of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner

from processors.merge import merge
from schemas.events import FeedbackEvent, ResolvedFeedback
from sinks.clickhouse import ClickHouseWriter
from sinks.rows import Position, rows_of
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.sink import database
from thumbstream.backtest.history import from_clickhouse
from thumbstream.backtest.tallies import MINUTE, Tally, tally
from thumbstream.cli import main

pytestmark = pytest.mark.integration
NOON = int(datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp() * 1000)
HOUR = 60 * MINUTE
Login = tuple[str, str, str, str]


def row(number: int, **fields: Any) -> ResolvedFeedback:
    """The row of one event, by default a bad vote at noon."""
    told = {"kind": "vote", "event_time": NOON, "rating": False, "metadata": {"model": '"m"'}, **fields}
    made = merge(None, FeedbackEvent("acme", f"r{number}", f"e{number}", **told), number, 1 << 50)
    assert made is not None
    return made


ROWS = (
    *(row(number, event_time=NOON + number * 5_000, user_id=f"u{number % 8}") for number in range(24)),
    *(row(100 + number, rating=True, user_id="ann") for number in range(5)),
    row(200, rating=True, metadata={"model": '"n"', "prompt_id": '"p"', "app": '"web"'}, event_time=NOON + HOUR),
    replace(row(201), tenant_id="other"),
    row(300, rating=None, value=0.0),
    row(301, signal="implicit"),
    row(302, kind="context", rating=None),
    row(303, kind="erase", rating=None, metadata={}),
    row(304, event_time=NOON - HOUR),
    row(305, event_time=NOON + 2 * HOUR),
)


@pytest.fixture(scope="module")
def login(clickhouse: ClickHouse, unique: Callable[[str], str]) -> Iterator[Login]:
    client, address, views = database(clickhouse, unique("backtest"))
    writer = ClickHouseWriter(address)
    for number, one in enumerate(ROWS):
        for table, values in rows_of(one, Position(0, number, NOON)):
            writer.insert(table, [values])
    yield clickhouse.url, *clickhouse.admin, views
    for each in (views, address.database):
        client.command(f"DROP DATABASE {each}")
    writer.close()
    client.close()


def summed(tallies: list[Tally]) -> dict[tuple[Any, ...], tuple[int, int]]:
    found: dict[tuple[Any, ...], tuple[int, int]] = {}
    for *place, negative, positive in tallies:
        before = found.get(tuple(place), (0, 0))
        found[tuple(place)] = (before[0] + negative, before[1] + positive)
    return found


def test_the_tallies_are_those_of_the_rows_between_two_times(login: Login) -> None:
    wanted = [found for one in ROWS if (found := tally(one)) is not None]
    within = sorted(one for one in wanted if NOON <= one.minute * MINUTE < NOON + 2 * HOUR)
    for tenant in (None, "acme", "nobody"):
        tallies = from_clickhouse(login, tenant, NOON, NOON + 2 * HOUR).tallies
        assert tallies == sorted(tallies)
        assert summed(tallies) == summed([one for one in within if tenant in (None, one.tenant)])


def test_a_backtest_asks_clickhouse_as_an_analyst(login: Login) -> None:
    url, user, password, views = login
    settings = {"URL": url, "VIEWS": views, "ANALYST_USER": user, "ANALYST_PASSWORD": password}
    environment = {f"THUMBSTREAM_CLICKHOUSE_{name}": text for name, text in settings.items()}
    command = [
        "alerts",
        "backtest",
        "--from",
        "clickhouse",
        "--tenant",
        "acme",
        "--since",
        "2026-03-04T11:30Z",
        "--json",
    ]
    done = CliRunner().invoke(main, command, env=environment)
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    first = next(line for line in lines if line["monitor"] == "tenant-negative-rate")
    assert (first["status"], first["group"], first["tenant_id"]) == ("firing", {}, "acme")
    assert first["started_at"] == "2026-03-04T12:01:00.000Z"


def test_a_server_that_is_not_there_is_said(login: Login) -> None:
    environment = {"THUMBSTREAM_CLICKHOUSE_URL": "http://127.0.0.1:9", "THUMBSTREAM_CLICKHOUSE_ANALYST_PASSWORD": "x"}
    done = CliRunner().invoke(main, ["alerts", "backtest", "--from", "clickhouse"], env=environment)
    assert done.exit_code == 1
    assert "Traceback" not in done.output
