"""Records become rows: what an analyst reads for every field, given or not."""

from typing import Any

import pytest

from schemas.events import (
    Alert,
    Candidate,
    DeadLetter,
    FeedbackEvent,
    MinuteCount,
    MonitorSet,
    Progress,
    ResolvedFeedback,
    Stamp,
    Vote,
)
from schemas.feedback_ids import packed
from schemas.topics import murmur2, request_key, version_of
from sinks.rows import (
    ALERTS,
    DEAD_LETTERS,
    ERASED,
    EVENTS,
    FEEDBACK_IDS,
    LATEST,
    LATEST_TIME,
    MINUTES,
    TABLES,
    Position,
    Table,
    rows_of,
)

AT = Position(partition=3, offset=17, append_time=1_000_000, epoch=2)


def _row(record: Any, table: Table, at: Position = AT) -> dict[str, Any]:
    """The one row of `record` in `table`, by column."""
    row = dict(rows_of(record, at))[table]
    return dict(zip(table.columns, row, strict=True))


def _event(**fields: Any) -> FeedbackEvent:
    return FeedbackEvent(**{"tenant_id": "acme", "request_id": "r", "event_id": "e", "kind": "vote", **fields})


def _resolved(**fields: Any) -> ResolvedFeedback:
    version = version_of(2, 17)
    given = {"version": version, "erased": False, "vote_time": None, "tenant_id": "acme", "request_id": "r"}
    return ResolvedFeedback(**{**given, **fields})


def test_an_event_carries_the_polarity_of_whatever_field_decided() -> None:
    assert _row(_event(rating=False, value=3.0), EVENTS)["polarity"] == -1
    assert _row(_event(value=0.0), EVENTS)["polarity"] == 0
    assert _row(_event(score=5.0, scale_min=1.0, scale_max=5.0), EVENTS)["polarity"] == 1
    assert _row(_event(kind="retract"), EVENTS)["polarity"] is None


OWN = packed(murmur2(request_key("acme", "r")), 1, 2)


def test_a_vote_under_an_id_of_its_own_tells_first_what_the_id_stands_for() -> None:
    vote = _event(value=1.0, feedback_id=OWN)
    assert [table for table, _row in rows_of(vote, AT)] == [FEEDBACK_IDS, EVENTS]
    assert _row(vote, FEEDBACK_IDS) == {
        "tenant_id": "acme", "feedback_id": OWN, "request_id": "r", "version": version_of(2, 17),
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {"feedback_id": "f"},
        {"feedback_id": packed(1, 1, 2)},  # made for another request
        {"feedback_id": OWN, "kind": "context"},
        {"feedback_id": OWN, "kind": "amend", "request_id": ""},
    ],
)
def test_nothing_else_tells_what_an_id_stands_for(fields: dict[str, Any]) -> None:
    assert [table for table, _row in rows_of(_event(**fields), AT)] == [EVENTS]


def test_an_amendment_says_only_what_it_changes() -> None:
    row = _row(_event(kind="amend", request_id="", feedback_id=OWN, weight=0.5), EVENTS)
    assert (row["request_id"], row["feedback_id"], row["kind"]) == ("", OWN, "amend")
    assert (row["polarity"], row["weight"], row["effective_time"]) == (None, 0.5, 1_000_000)


def test_no_client_clock_reaches_past_the_brokers() -> None:
    late = _row(_event(event_time=1_000_001), EVENTS)
    assert (late["event_time"], late["effective_time"]) == (1_000_001, 1_000_000)
    early = _row(_event(event_time=999_999), EVENTS)
    assert (early["event_time"], early["effective_time"]) == (999_999, 999_999)
    none = _row(_event(), EVENTS)
    assert (none["event_time"], none["effective_time"]) == (None, 1_000_000)


def test_a_date_that_clickhouse_cannot_hold_is_its_last_one() -> None:
    assert _row(_event(event_time=253_402_300_799_999), EVENTS)["event_time"] == LATEST_TIME


def test_removed_metadata_is_null_and_absent_metadata_is_absent() -> None:
    shown = _row(_event(metadata={"a": None, "b": '"null"', "c": "null", "d": '[1, "x"]', "e": '""'}), EVENTS)
    assert shown["metadata"] == {"a": None, "b": "null", "c": "null", "d": '[1, "x"]', "e": ""}


def test_zero_and_absent_stay_distinct() -> None:
    zero, absent = _row(_event(score=0.0, weight=0.0, flagged=False), EVENTS), _row(_event(), EVENTS)
    assert (zero["score"], zero["weight"], zero["flagged"]) == (0.0, 0.0, False)
    assert (absent["score"], absent["weight"], absent["flagged"]) == (None, None, None)


def test_a_position_is_a_version_and_a_source_of_its_epoch() -> None:
    row = _row(_event(), EVENTS)
    assert (row["version"], row["source_partition"], row["append_time"]) == ((2 << 48) + 17, 2003, 1_000_000)


def test_a_preference_is_json_text() -> None:
    row = _row(_event(kind="preference", preference=(Candidate("a", 1.0, "å"), Candidate("b", 0.5))), EVENTS)
    assert row["preference"] == (
        '[{"request_id": "a", "rating": 1.0, "response": "å"}, {"request_id": "b", "rating": 0.5, "response": null}]'
    )


def test_the_explicit_vote_stands_before_the_implicit_one() -> None:
    stamps = (Stamp(5, "e", ("vote", "comment")), Stamp(9, "f", ("implicit",)))
    both = _resolved(vote=Vote(-1, score=1.0, source="native"), implicit=Vote(1), vote_time=5, stamps=stamps)
    row = _row(both, LATEST)
    assert (row["polarity"], row["score"], row["signal"], row["source"], row["voted_at"]) == (
        -1, 1.0, "explicit", "native", 5,
    )  # fmt: skip


def test_an_implicit_signal_alone_shows_as_such_at_the_time_of_its_stamp() -> None:
    row = _row(_resolved(implicit=Vote(1, source="copy"), stamps=(Stamp(9, "f", ("tags", "implicit")),)), LATEST)
    assert (row["polarity"], row["signal"], row["source"], row["voted_at"]) == (1, "implicit", "copy", 9)


def test_a_row_without_any_vote_has_neither_polarity_nor_signal() -> None:
    row = _row(_resolved(), LATEST)
    assert (row["polarity"], row["signal"], row["voted_at"]) == (None, "", None)


def test_a_missing_dimension_is_none_in_brackets_and_an_empty_one_is_empty() -> None:
    row = _row(_resolved(model="", app="web"), LATEST)
    assert [row[name] for name in ("model", "prompt_id", "prompt_version", "environment", "app")] == [
        "", "(none)", "(none)", "(none)", "web",
    ]  # fmt: skip


def test_latest_names_the_source_partition_of_the_epoch_in_its_version() -> None:
    assert _row(_resolved(), LATEST, Position(3, 99, 0, epoch=7))["source_partition"] == 2003


def test_an_erased_request_is_deleted_and_listed_and_the_list_comes_first() -> None:
    tables = [table for table, _ in rows_of(_resolved(erased=True, updated_at=8), AT)]
    assert tables == [ERASED, LATEST]
    assert _row(_resolved(erased=True), LATEST)["is_deleted"] == 1
    assert _row(_resolved(erased=True, updated_at=8), ERASED) == {
        "tenant_id": "acme", "request_id": "r", "version": version_of(2, 17), "erased_at": 8,
    }  # fmt: skip


def _cell(rollup: str, group: tuple[str, ...]) -> MinuteCount:
    return MinuteCount("acme", rollup, group, 120_000, 2003, 5, 1, 2, 3)


def test_a_minute_names_its_dimensions_and_joins_their_values() -> None:
    row = _row(_cell("model+app", ("m|1", "(none)")), MINUTES)
    assert (row["group_key"], row["dimensions"]) == ("m%7C1|(none)", {"model": "m|1", "app": "(none)"})
    assert (row["minute"], row["negative"], row["positive"], row["neutral"]) == (120, 1, 2, 3)


def test_the_tenants_own_minute_has_no_dimension() -> None:
    row = _row(_cell("tenant", ()), MINUTES)
    assert (row["group_key"], row["dimensions"]) == ("", {})


def test_an_alert_keeps_every_field() -> None:
    alert = Alert(
        9, "id", "f", "acme", "m", "threshold", "warning", "model", {"model": "x"}, "firing", 1, 9, None, 15, 3, 10,
        0.3, 0.2, 0.2, None, "why", 4,
    )  # fmt: skip
    row = _row(alert, ALERTS)
    assert row == {name: getattr(alert, name) for name in ALERTS.columns}


def test_a_dead_letter_without_a_place_keeps_its_absence() -> None:
    row = _row(DeadLetter("id", "gateway", "invalid", "no", None, None, None, None, 7, None, None), DEAD_LETTERS)
    assert (row["tenant_id"], row["source_topic"], row["source_partition"], row["source_offset"]) == (
        "",
        "",
        None,
        None,
    )
    assert row["original"] == b""


def test_a_progress_mark_becomes_no_row() -> None:
    assert rows_of(Progress(1000, 4, 5, 6), AT) == ()
    assert rows_of(MonitorSet("", "{}"), AT) == ()


def test_no_table_names_a_column_twice() -> None:
    assert all(len(set(table.columns)) == len(table.columns) for table in TABLES)
