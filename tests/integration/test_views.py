"""The analysts' contract: names, columns, types, meaning, and every example of the page they read."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from schemas.events import Alert, FeedbackEvent, MinuteCount, Record, ResolvedFeedback, Stamp, Vote
from schemas.feedback_ids import packed
from schemas.topics import murmur2, request_key, version_of
from sinks.clickhouse import ClickHouseWriter
from sinks.rows import TABLES, Position, rows_of
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.sink import database

pytestmark = pytest.mark.integration
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "analysts.md").read_text("utf-8")
_SECTION = re.compile(r"^### `(\w+)`$(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r"^\| `(\w+)` \| (.*?) \|", re.MULTILINE)
_EXAMPLE = re.compile(r"```sql\n(.*?)```\n```text\n(.*?)```", re.DOTALL)
VOTE = (
    "tenant_id request_id polarity score scale_min scale_max weight comment correction reasons tags flagged model"
    " prompt_id prompt_version environment app user_id source signal metadata voted_at first_seen updated_at"
)
RATE = "tenant_id rollup group_key dimensions {} negative positive neutral votes rate rate_low rate_high"
CONTRACT = {
    "current_votes": VOTE,
    "requests": VOTE,
    "vote_history": "tenant_id request_id event_id kind polarity score weight comment correction reasons tags flagged"
    " user_id signal source feedback_id preference metadata event_time ingested_at effective_time",
    "negative_rate_by_minute": RATE.format("minute"),
    "negative_rate_by_hour": RATE.format("hour"),
    "negative_rate_by_day": RATE.format("day"),
    "coverage": "tenant_id day model requests rated coverage",
    "alert_history": "tenant_id fingerprint alert_id monitor kind severity rollup group status started_at evaluated_at"
    " ended_at window_minutes negative total rate lower_bound threshold top_user_share reason sequence",
}
CONTRACT["alerts_open"] = CONTRACT["alert_transitions"] = CONTRACT["alert_history"]


@dataclass
class Views:
    """A database of its own to fill with records and to question as an analyst does."""

    client: Client
    writer: ClickHouseWriter
    tables: str
    name: str

    def store(self, *records: Record, offset: int = 0) -> None:
        """Store each record by itself, at ascending offsets."""
        for at, record in enumerate(records, start=offset):
            for table, row in rows_of(record, Position(0, at, _ms("2026-03-04 00:00"))):
                self.writer.insert(table, [row])

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.client.query(sql, settings={"database": self.name}).result_rows]

    def text(self, sql: str) -> str:
        reply = self.client.raw_query(sql, fmt="TabSeparated", settings={"database": self.name})
        return reply.decode()

    def clear(self) -> None:
        for table in TABLES:
            self.client.command(f"TRUNCATE TABLE {self.tables}.{table.name}")


@pytest.fixture(scope="module")
def made(clickhouse: ClickHouse, unique: Callable[[str], str]) -> Iterator[Views]:
    client, address, name = database(clickhouse, unique("views"))
    writer = ClickHouseWriter(address)
    yield Views(client, writer, address.database, name)
    for each in (name, address.database):
        client.command(f"DROP DATABASE {each}")
    writer.close()
    client.close()


@pytest.fixture
def views(made: Views) -> Iterator[Views]:
    yield made
    made.clear()


def _ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def _row(request: str, offset: int, vote: int | None, at: str = "2026-03-02 10:00", **fields: Any) -> ResolvedFeedback:
    standing = None if vote is None else Vote(vote)
    given = {"first_seen": _ms(at), "updated_at": _ms(at), **fields}
    return ResolvedFeedback(
        version_of(1, offset), False, _ms(at) if vote is not None else None, "acme", request, standing, **given
    )


def _cell(rollup: str, group: tuple[str, ...], at: str, votes: tuple[int, int, int], **fields: Any) -> MinuteCount:
    cell = MinuteCount("acme", rollup, group, _ms(at), 1000, 1, *votes)
    return replace(cell, **fields)


def _alert(model: str, status: str, started: str, sequence: int, ended: str | None = None) -> Alert:
    at = _ms(ended or started)
    return Alert(
        at, f"{model}:{sequence}", model, "acme", "negative-rate", "threshold", "warning", "model", {"model": model},
        status, _ms(started), at, _ms(ended) if ended else None, 60, 9, 20, 0.45, 0.3, 0.2, None, "why", sequence,
    )  # fmt: skip


def test_every_view_has_its_columns_in_order_and_the_page_says_so(views: Views) -> None:
    documented = {name: _COLUMN.findall(text) for name, text in _SECTION.findall(PAGE)}
    documented["alerts_open"] = documented["alert_transitions"] = documented["alert_history"]
    assert {row[0] for row in views.ask("SHOW TABLES")} == set(CONTRACT) == set(documented)
    for name, columns in CONTRACT.items():
        described = [(row[0], row[1]) for row in views.ask(f"DESCRIBE TABLE {name}")]
        assert [column for column, _ in described] == columns.split()
        assert described == documented[name]


def _votes_of_the_page() -> list[Record]:
    def event(request: str, number: int, rating: bool, at: str, **fields: Any) -> FeedbackEvent:
        return FeedbackEvent("acme", request, f"{request}-{number}", "vote", _ms(at), rating, **fields)

    german, english = {"language": '"de"'}, {"language": '"en"'}
    small, large = {"model": "small"}, {"model": "large"}
    return [
        event("r1", 1, False, "2026-03-02 10:00", comment="wrong year"),
        event("r2", 1, True, "2026-03-02 10:20"),
        event("r3", 1, False, "2026-03-02 11:00"),
        event("r3", 2, True, "2026-03-02 11:05"),
        FeedbackEvent("acme", "r4", "r4-1", "context", _ms("2026-03-03 09:00"), metadata={"model": '"large"'}),
        event("r5", 1, True, "2026-03-03 09:30", signal="implicit"),
        _row("r1", 0, -1, comment="wrong year", metadata=german, **small),
        _row("r2", 1, 1, "2026-03-02 10:20", metadata=german, **small),
        _row("r3", 2, -1, "2026-03-02 11:00", metadata=english, **large),
        _row("r3", 3, 1, "2026-03-02 11:05", metadata=english, **large),
        _row("r4", 4, None, "2026-03-03 09:00", **large),
        _row("r5", 5, None, "2026-03-03 09:30", implicit=Vote(1), **large),
        _cell("tenant", (), "2026-03-02 10:00", (1, 0, 0)),
        _cell("tenant", (), "2026-03-02 10:20", (0, 1, 0)),
        _cell("tenant", (), "2026-03-02 11:05", (0, 1, 0)),
        _cell("model", ("small",), "2026-03-02 10:00", (1, 0, 0)),
        _cell("model", ("small",), "2026-03-02 10:20", (0, 1, 0)),
        _cell("model", ("large",), "2026-03-02 11:05", (0, 1, 0)),
        _alert("small", "firing", "2026-03-02 10:15", 1),
        _alert("small", "resolved", "2026-03-02 10:15", 2, ended="2026-03-02 12:00"),
        _alert("large", "firing", "2026-03-03 08:00", 3),
    ]


def test_every_example_of_the_page_gives_what_the_page_says(views: Views) -> None:
    views.store(*_votes_of_the_page())
    examples = _EXAMPLE.findall(PAGE)
    assert len(examples) == PAGE.count("```sql") >= len(CONTRACT)
    for sql, expected in examples:
        assert views.text(sql) == expected, sql


def test_a_replaced_vote_is_found_by_nothing_it_used_to_be(views: Views) -> None:
    views.store(_row("r", 2, 1, "2026-03-09 10:00", model="new"), _row("r", 1, -1, "2026-03-02 10:00", model="old"))
    assert views.ask("SELECT polarity, model FROM current_votes") == [(1, "new")]
    assert views.ask("SELECT 1 FROM current_votes WHERE polarity = -1") == []
    assert views.ask("SELECT 1 FROM current_votes WHERE voted_at < '2026-03-05 00:00:00'") == []
    assert views.ask("SELECT 1 FROM requests WHERE model = 'old'") == []


def test_a_retracted_vote_leaves_the_votes_and_stays_among_the_requests(views: Views) -> None:
    views.store(_row("r", 1, -1), _row("r", 2, None))
    assert views.ask("SELECT 1 FROM current_votes") == []
    assert views.ask("SELECT request_id, polarity, voted_at FROM requests") == [("r", None, None)]


def test_an_erased_request_is_in_no_view_whatever_arrives_later(views: Views) -> None:
    event = FeedbackEvent("acme", "r", "e", "vote", rating=True)
    views.store(event, _row("r", 0, 1), _row("other", 1, 1))
    erased = ResolvedFeedback(version_of(1, 7), True, None, "acme", "r", updated_at=5)
    views.store(erased, replace(event, event_id="late"), _row("r", 3, -1))
    for view in ("current_votes", "requests", "vote_history"):
        assert "r" not in [row[0] for row in views.ask(f"SELECT request_id FROM {view}")]
    assert views.ask("SELECT requests FROM coverage") == [(1,)]


def test_the_erasure_hides_events_even_before_the_stub_is_the_newest_row(views: Views) -> None:
    erased = ResolvedFeedback(version_of(1, 7), True, None, "acme", "r", updated_at=5)
    views.store(erased)
    views.client.command(f"TRUNCATE TABLE {views.tables}.feedback_latest")
    views.store(_row("r", 0, 1), FeedbackEvent("acme", "r", "e", "vote", rating=True))
    assert views.ask("SELECT 1 FROM requests") == views.ask("SELECT 1 FROM vote_history") == []


def test_an_event_sent_again_is_one_event_and_another_time_is_another(views: Views) -> None:
    event = FeedbackEvent("acme", "r", "e", "vote", _ms("2026-03-02 10:00"), rating=True)
    without = replace(event, event_id="f", event_time=None)
    views.store(event, event, replace(event, event_time=_ms("2026-03-02 10:01"), rating=False), without, without)
    assert sorted(views.ask("SELECT event_id, polarity FROM vote_history")) == [("e", -1), ("e", 1), ("f", 1)]


def test_an_amendment_is_in_the_history_of_the_request_whose_vote_it_changed(views: Views) -> None:
    ids = {name: packed(murmur2(request_key("acme", name)), 0, 0) for name in ("r", "s")}
    votes = [FeedbackEvent("acme", name, f"e{name}", "vote", value=1.0, feedback_id=ids[name]) for name in ids]
    changes = [FeedbackEvent("acme", "", f"a{name}", "amend", value=-1.0, feedback_id=ids[name]) for name in ids]
    lost = FeedbackEvent("acme", "", "lost", "amend", comment="of no vote we know", feedback_id=packed(1, 2, 3))
    views.store(*votes, *changes, changes[0], lost)
    everything = "SELECT request_id, event_id, kind, polarity FROM vote_history ORDER BY event_id"
    assert views.ask(everything) == [
        ("r", "ar", "amend", -1), ("s", "as", "amend", -1), ("r", "er", "vote", 1), ("s", "es", "vote", 1),
        ("", "lost", "amend", None),
    ]  # fmt: skip
    assert views.ask("SELECT count() FROM vote_history WHERE tenant_id = 'acme' AND request_id = 'r'") == [(2,)]
    views.store(ResolvedFeedback(version_of(1, 70), True, None, "acme", "r", updated_at=5), offset=70)
    assert [row[1] for row in views.ask(everything)] == ["as", "es", "lost"]


def _wilson(negative: int, votes: int) -> tuple[float, float]:
    z = 1.959963984540054
    middle, share = negative / votes + z * z / 2 / votes, negative / votes
    spread = z * math.sqrt(share * (1 - share) / votes + z * z / 4 / votes / votes)
    return (middle - spread) / (1 + z * z / votes), (middle + spread) / (1 + z * z / votes)


def test_minutes_add_up_over_partitions_and_only_the_newest_version_counts(views: Views) -> None:
    views.store(
        _cell("model", ("m",), "2026-03-02 10:00", (3, 7, 2), version=2),
        _cell("model", ("m",), "2026-03-02 10:00", (5, 5, 5), version=1),
        _cell("model", ("m",), "2026-03-02 10:00", (1, 9, 0), source_partition=1001),
        _cell("model", ("m",), "2026-03-02 10:59", (0, 0, 4)),
    )
    found = views.ask("SELECT minute, negative, positive, neutral, votes, rate FROM negative_rate_by_minute ORDER BY 1")
    assert [row[1:] for row in found] == [(4, 16, 2, 20, 0.2), (0, 0, 4, 0, None)]
    assert views.ask("SELECT rate_low, rate_high FROM negative_rate_by_hour") == [pytest.approx(_wilson(4, 20))]
    assert views.ask("SELECT rate_low, rate_high FROM negative_rate_by_minute WHERE votes = 0") == [(None, None)]


def test_the_interval_holds_at_its_ends(views: Views) -> None:
    found = views.ask("SELECT wilson_low(0, 7), wilson_high(7, 7), wilson_low(0, 0), wilson_high(0, 7) < 1")
    assert found == [(0.0, 1.0, None, 1)]


def test_an_episode_is_one_row_and_a_new_one_is_another(views: Views) -> None:
    views.store(
        _alert("m", "resolved", "2026-03-02 10:00", 2, ended="2026-03-02 11:00"),
        _alert("m", "firing", "2026-03-02 10:00", 1),
        _alert("m", "firing", "2026-03-02 15:00", 3),
    )
    assert views.ask("SELECT status, sequence FROM alert_history ORDER BY 2") == [("resolved", 2), ("firing", 3)]
    assert views.ask("SELECT sequence FROM alerts_open") == [(3,)]


def test_an_implicit_signal_shows_but_does_not_count_as_rated(views: Views) -> None:
    at = _ms("2026-03-02 10:07")
    views.store(_row("r", 1, None, implicit=Vote(-1), stamps=(Stamp(at, "e", ("implicit",)),)))
    assert views.ask("SELECT polarity, signal, toUnixTimestamp64Milli(voted_at) FROM current_votes") == [
        (-1, "implicit", at)
    ]
    assert views.ask("SELECT requests, rated, coverage FROM coverage") == [(1, 0, 0.0)]
