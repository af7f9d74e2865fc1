"""`thumbstream alerts list` and `show`: what is open, what was, and what people said in the window that fired."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from schemas.events import Alert, Record, ResolvedFeedback, Vote
from schemas.topics import version_of
from sinks.clickhouse import ClickHouseWriter
from sinks.rows import Position, rows_of
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.sink import database
from tests.simulators.delivery import NOON, alert
from thumbstream.cli import main

pytestmark = pytest.mark.integration
MINUTE = 60_000
FIRED = NOON + 60 * MINUTE
GROUP = {"model": "atlas-2", "language": "d'e"}


@pytest.fixture(scope="module")
def environment(clickhouse: ClickHouse, unique: Callable[[str], str]) -> Iterator[dict[str, str]]:
    """Settings of an analyst on a database with one episode, one open alert, and votes inside and outside."""
    client, address, views = database(clickhouse, unique("alerts"))
    writer = ClickHouseWriter(address)
    for offset, record in enumerate(_records()):
        for table, row in rows_of(record, Position(0, offset, NOON)):
            writer.insert(table, [row])
    user, password = clickhouse.admin  # the analyst's rights are those of the real database only
    yield {
        "THUMBSTREAM_CLICKHOUSE_URL": clickhouse.url, "THUMBSTREAM_CLICKHOUSE_VIEWS": views,
        "THUMBSTREAM_CLICKHOUSE_ANALYST_USER": user, "THUMBSTREAM_CLICKHOUSE_ANALYST_PASSWORD": password,
        "COLUMNS": "200",
    }  # fmt: skip
    for each in (views, address.database):
        client.command(f"DROP DATABASE {each}")
    writer.close()
    client.close()


def _records() -> list[Record]:
    first = alert(
        "a", 1, version=FIRED, started_at=FIRED, evaluated_at=FIRED, alert_id=f"a:{FIRED}:firing:1", group=GROUP,
        rollup="model+language",
    )  # fmt: skip
    ended = FIRED + 90 * MINUTE
    last = replace(
        first, version=ended, evaluated_at=ended, ended_at=ended, status="resolved", negative=0, total=0, rate=0.0,
        reason="recovered", sequence=2, alert_id=f"a:{FIRED}:resolved:2", top_user_share=None,
    )  # fmt: skip
    later = FIRED + 600 * MINUTE
    again: Alert = replace(
        first,
        version=later,
        started_at=later,
        evaluated_at=later,
        sequence=3,
        alert_id=f"a:{later}:firing:3",
        negative=9,
    )
    return [
        first, last, again,
        _vote("in-1", FIRED - 10 * MINUTE, comment="wrong \x1b[31myear", reasons=("factual", "style")),
        _vote("in-2", FIRED - 59 * MINUTE, reasons=("factual",)),
        _vote("late", FIRED), _vote("early", FIRED - 61 * MINUTE), _vote("good", FIRED - MINUTE, polarity=1),
        _vote("elsewhere", FIRED - MINUTE, model="atlas-1"), _vote("other-tenant", FIRED - MINUTE, tenant="other"),
    ]  # fmt: skip


def _vote(
    request: str, at: int, *, polarity: int = -1, model: str = "atlas-2", tenant: str = "acme", **fields: Any
) -> ResolvedFeedback:
    return ResolvedFeedback(
        version_of(1, 1), False, at, tenant, request, Vote(polarity), model=model, first_seen=at, updated_at=at,
        metadata={"language": json.dumps("d'e")}, **fields,
    )  # fmt: skip


def run(environment: dict[str, str], *words: str) -> Result:
    return CliRunner(env=environment).invoke(main, ("alerts", *words))


def test_list_shows_what_is_open_and_all_shows_what_was(environment: dict[str, str]) -> None:
    shown = run(environment, "list")
    assert shown.exit_code == 0, shown.output
    assert "model=atlas-2, language=d'e" in shown.stdout
    assert shown.stdout.endswith("1 open alerts\n")
    lines = [json.loads(line) for line in run(environment, "list", "--all", "--json").stdout.splitlines()]
    assert [(line["status"], line["started_at"], line["ended_at"]) for line in lines] == [
        ("firing", "2026-01-01T23:00:00.000Z", None),
        ("resolved", "2026-01-01T13:00:00.000Z", "2026-01-01T14:30:00.000Z"),
    ]
    assert lines[0]["group"] == GROUP
    assert run(environment, "list", "--tenant", "nobody", "--json").stdout == ""


def test_show_tells_the_evidence_the_reasons_and_only_votes_of_the_group_and_window(
    environment: dict[str, str],
) -> None:
    shown = run(environment, "show", f"a:{FIRED}:resolved:2", "--json")
    assert shown.exit_code == 0, shown.output
    whole = json.loads(shown.stdout)
    assert (whole["status"], whole["negative"]) == ("resolved", 0)
    assert whole["evidence"] == {
        "window_minutes": 60, "negative": 30, "total": 60, "rate": 0.5, "lower_bound": 0.3, "threshold": 0.2,
        "top_user_share": 0.1,
    }  # fmt: skip
    assert [each["status"] for each in whole["transitions"]] == ["resolved", "firing"]
    assert [vote["request_id"] for vote in whole["examples"]] == ["in-1", "in-2"]
    assert whole["reasons"] == [{"reason": "factual", "votes": 2}, {"reason": "style", "votes": 1}]


def test_show_reads_like_a_page_and_lets_no_vote_act_on_the_terminal(environment: dict[str, str]) -> None:
    page = run(environment, "show", f"a:{FIRED}:firing:1").stdout
    assert "30 of 60 votes in 60 min negative (50.0%, at least 30.0%; threshold 20.0%, most negative user 10%)" in page
    assert "Frequent reasons: factual (2), style (1)" in page
    assert "wrong \\u001b[31myear" in page
    newest = run(environment, "show", "a").stdout
    assert "since     2026-01-01T23:00:00Z\n" in newest
    missing = run(environment, "show", "nothing")
    assert (missing.exit_code, "no alert nothing" in missing.stderr) == (1, True)
