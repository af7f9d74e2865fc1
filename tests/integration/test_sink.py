"""Kafka to ClickHouse with nothing replaced: what is published can be asked for in the views."""

import time
from collections.abc import Callable, Iterator

import pytest

from schemas.events import Alert, DeadLetter, MinuteCount, Progress, ResolvedFeedback, Stamp, Vote
from schemas.topics import version_of
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.sink import CODEC, Bench, bench, event, sink
from tests.polling import wait_until
from thumbstream.telemetry import Metrics

pytestmark = pytest.mark.integration
MY_EVENT = "SELECT {what} FROM {v}.vote_history WHERE request_id = 'r1'"
NOON = 1_780_000_000_000 // 60_000 * 60_000


@pytest.fixture(scope="module")
def place(kafka_bootstrap: str, clickhouse: ClickHouse, unique: Callable[[str], str]) -> Iterator[Bench]:
    with bench(kafka_bootstrap, clickhouse, unique("sink")) as made:
        yield made


def _row(request: str, offset: int, vote: Vote | None, **fields: object) -> ResolvedFeedback:
    stamps = (Stamp(NOON, "e", ("vote",)),)
    return ResolvedFeedback(
        version_of(1, offset), False, NOON if vote else None, "acme", request, vote, stamps=stamps,
        first_seen=NOON, updated_at=NOON, **fields,  # type: ignore[arg-type]  # each test names its own fields
    )  # fmt: skip


def _alert(status: str, sequence: int) -> Alert:
    return Alert(
        NOON + sequence, f"f:{NOON}:{status}:{sequence}", "f", "acme", "m", "threshold", "warning", "model",
        {"model": "m1"}, status, NOON, NOON + sequence, None, 15, 8, 20, 0.4, 0.2, 0.2, None, "why", sequence,
    )  # fmt: skip


def test_every_kind_of_record_arrives_in_its_view(place: Bench) -> None:
    now = time.time_ns() // 1_000_000  # the table keeps letters for 30 days
    with sink(place.options):
        place.publish(
            event("r1", 1, comment="héllo", metadata={"model": '"m1"', "gone": None, "deep": '{"a": 1}'}),
            _row("r1", 7, Vote(-1, source="native"), model="m1", metadata={"model": '"m1"', "n": "3"}),
            _row("r2", 8, None),
            MinuteCount("acme", "model+app", ("m1", "web|x"), NOON, 1000, 5, 3, 7, 1),
            Progress(1000, 2, 5, NOON),
            _alert("firing", 1),
            _alert("resolved", 2),
            DeadLetter("x-0-1", "resolve", "undecodable", "no", None, "x", 0, 1, now, b"k", b"\xff\x00"),
        )
        wait_until(lambda: place.query("SELECT 1 FROM {t}.feedback_dead_letters"), 60, "the dead letter is stored")
        wait_until(lambda: place.query("SELECT 1 FROM {v}.alert_history WHERE sequence = 2"), 60, "the alert is stored")
        wait_until(lambda: place.query("SELECT 1 FROM {v}.negative_rate_by_day"), 60, "the minute is stored")
        wait_until(lambda: place.query(MY_EVENT.format(v="{v}", what="1")), 60, "the event is stored")
        wait_until(lambda: len(place.query("SELECT 1 FROM {v}.requests")) == 2, 60, "both rows are stored")
    assert place.query("SELECT request_id, polarity, model, app, metadata, signal FROM {v}.current_votes") == [
        ("r1", -1, "m1", "(none)", {"model": "m1", "n": "3"}, "explicit")
    ]
    assert place.query(MY_EVENT.format(v="{v}", what="event_id, polarity, comment, metadata")) == [
        ("r1-1", 1, "héllo", {"model": "m1", "gone": None, "deep": '{"a": 1}'})
    ]
    assert place.query("SELECT group_key, dimensions, negative, votes, rate FROM {v}.negative_rate_by_hour") == [
        ("m1|web%7Cx", {"model": "m1", "app": "web|x"}, 3, 10, 0.3)
    ]
    assert place.query("SELECT status, sequence FROM {v}.alert_history") == [("resolved", 2)]
    assert place.query("SELECT sequence FROM {v}.alerts_open") == []


def test_what_resolve_refuses_is_not_shown_and_stops_nothing(place: Bench) -> None:
    metrics, events = Metrics(), place.topics.events.name
    with sink(place.options, metrics):
        place.produce(events, b"acme|bad", b"not a record")
        place.produce(events, b"acme|bad", None)
        place.publish(event("invalid", 1, rating=None))
        place.produce(events, b"acme|another", CODEC.encode(event("misrouted", 1)))
        minutes, nonsense = place.topics.minutes.name, MinuteCount("acme", "model", ("a", "b"), 0, 1000, 1, 1, 1, 1)
        place.produce(minutes, b"acme|model", CODEC.encode(nonsense))
        place.publish(event("after", 1))
        wait_until(lambda: place.query("SELECT 1 FROM {v}.vote_history WHERE request_id = 'after'"), 60, "it goes on")
        wait_until(lambda: metrics.value("records_skipped", topic=events, reason="misrouted") == 1, 60, "misrouted")
        wait_until(lambda: metrics.value("records_skipped", topic=minutes, reason="undecodable") == 1, 60, "nonsense")
    assert metrics.value("records_skipped", topic=events, reason="undecodable") == 2
    assert metrics.value("records_skipped", topic=events, reason="invalid") == 1
    assert place.query("SELECT 1 FROM {v}.vote_history WHERE request_id IN ('invalid', 'misrouted', 'bad')") == []
