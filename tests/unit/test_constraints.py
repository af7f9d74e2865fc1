"""Every rule of a valid event, broken one at a time from an event that keeps them all."""

from dataclasses import replace
from typing import Any

import pytest

from schemas.constraints import EARLIEST, LATEST, MAX_EVENT_BYTES, REASONS, violation
from schemas.events import Candidate, FeedbackEvent
from schemas.feedback_ids import packed

VOTE = FeedbackEvent("acme", "r1", "e1", "vote", event_time=EARLIEST, rating=True)
SCORE: dict[str, Any] = {"rating": None, "score": 3.0, "scale_min": 1.0, "scale_max": 5.0}
CONTEXT: dict[str, Any] = {"kind": "context", "rating": None}
PREFERENCE = (Candidate("r1", 1.0), Candidate("r2", 0.0, "text"))
NAN, INFINITY = float("nan"), float("inf")

AMENDED: dict[str, Any] = {"kind": "amend", "rating": None, "request_id": "", "feedback_id": packed(1, 2, 3)}

GOOD: list[dict[str, Any]] = [
    {},
    {"event_time": None},
    {"event_time": LATEST},
    {"rating": None, "value": 0.0},
    {"rating": None, "value": -10.0, "weight": 0.0},
    SCORE,
    {**SCORE, "score": 5.0},
    {"request_id": "r" * 256, "event_id": "e" * 128, "user_id": "u" * 128},
    {"user_id": "", "comment": "", "reasons": (), "tags": ("",)},
    {"reasons": ("x" * 64,) * 32},
    {"metadata": {"k" * 128: None, "b": '{"a": [1, null]}', "c": '"\\ud83d\\ude00"'}},
    {"metadata": {f"k{number}": "1" for number in range(64)}},
    {**CONTEXT, "metadata": {"a": None}},
    {**CONTEXT, "comment": ""},
    {"kind": "correction", "rating": None, "correction": ""},
    {"kind": "retract", "rating": None, "tags": ("t",)},
    {"kind": "erase", "rating": None},
    {"kind": "preference", "rating": None, "preference": PREFERENCE},
    {"comment": "x" * MAX_EVENT_BYTES},
    {**AMENDED, "value": 0.0},
    {**AMENDED, "weight": 0.0, "event_time": None},
    {**AMENDED, "comment": ""},
    {**AMENDED, "user_id": "ann"},
    {**AMENDED, "metadata": {"model": None}},
]
BAD: list[tuple[dict[str, Any], str | None, str]] = [
    ({"tenant_id": ""}, "tenant_id", "missing"),
    ({"request_id": ""}, "request_id", "missing"),
    ({"request_id": "é" * 129}, "request_id", "too_long"),
    ({"request_id": "a\nb"}, "request_id", "out_of_range"),
    ({"event_id": "\x85"}, "event_id", "out_of_range"),
    ({"event_id": "e" * 129}, "event_id", "too_long"),
    ({"user_id": "u" * 129}, "user_id", "too_long"),
    ({"user_id": "\x00"}, "user_id", "out_of_range"),
    ({"kind": "like"}, "kind", "unknown_kind"),
    ({"feedback_id": packed(1, 2, 3), "request_id": ""}, "request_id", "missing"),
    ({**AMENDED, "value": 1.0, "request_id": "r1"}, "request_id", "unknown_field"),
    ({**AMENDED, "value": 1.0, "feedback_id": None}, "feedback_id", "missing"),
    ({**AMENDED, "value": 1.0, "feedback_id": "f1"}, "feedback_id", "missing"),
    ({**AMENDED, "value": 1.0, "signal": "implicit"}, "signal", "unknown_field"),
    ({**AMENDED, "value": 1.0, "rating": True}, "rating", "unknown_field"),
    ({**AMENDED, "value": 1.0, "correction": ""}, "correction", "unknown_field"),
    ({**AMENDED, "value": 1.0, "tags": ()}, "tags", "unknown_field"),
    ({**AMENDED, "value": 11.0}, "value", "out_of_range"),
    ({**AMENDED, "preference": PREFERENCE}, "preference", "unknown_field"),
    (AMENDED, None, "empty"),
    ({"signal": "guessed"}, "signal", "out_of_range"),
    ({"event_time": EARLIEST - 1}, "event_time", "out_of_range"),
    ({"event_time": LATEST + 1}, "event_time", "out_of_range"),
    ({"rating": None}, "rating", "missing"),
    ({"value": 10.5}, "value", "out_of_range"),
    ({"value": NAN}, "value", "out_of_range"),
    ({"weight": 1.01}, "weight", "out_of_range"),
    ({"weight": NAN}, "weight", "out_of_range"),
    ({"score": 3.0}, "scale", "missing"),
    ({**SCORE, "score": 5.1}, "score", "out_of_range"),
    ({**SCORE, "score": NAN}, "score", "out_of_range"),
    ({**SCORE, "rating": True, "scale_max": 1.0}, "scale", "out_of_range"),
    ({**SCORE, "rating": True, "scale_max": INFINITY}, "scale", "out_of_range"),
    ({**SCORE, "rating": True, "scale_min": -1.7e308, "scale_max": 1.7e308}, "scale", "out_of_range"),
    ({"reasons": ("x",) * 33}, "reasons", "too_long"),
    ({"tags": ("x" * 65,)}, "tags", "too_long"),
    ({"metadata": {f"k{number}": "1" for number in range(65)}}, "metadata", "too_long"),
    ({"metadata": {"": "1"}}, "metadata", "too_long"),
    ({"metadata": {"k" * 129: "1"}}, "metadata", "too_long"),
    ({"metadata": {"a": "{"}}, "metadata.a", "malformed_json"),
    ({"metadata": {"a": "NaN"}}, "metadata.a", "malformed_json"),
    ({"metadata": {"a": "[" * 100_000}}, "metadata.a", "malformed_json"),
    ({"metadata": {"a": '"\\ud800"'}}, "metadata.a", "malformed_json"),
    ({"metadata": {"a": '{"\\uDFFF": 1}'}}, "metadata.a", "malformed_json"),
    ({"comment": "x" * MAX_EVENT_BYTES, "correction": "y"}, None, "too_long"),
    ({"preference": PREFERENCE}, "preference", "unknown_field"),
    (CONTEXT, None, "empty"),
    ({**CONTEXT, "value": 0.0, "comment": "x"}, "value", "unknown_field"),
    ({"kind": "correction", "rating": None}, "correction", "missing"),
    ({"kind": "correction", "correction": "x"}, "rating", "unknown_field"),
    ({"kind": "retract"}, "rating", "unknown_field"),
    ({"kind": "retract", "rating": None, "comment": "x"}, "comment", "unknown_field"),
    ({"kind": "erase", "rating": None, "metadata": {"a": None}}, "metadata", "unknown_field"),
    ({"kind": "erase", "rating": None, "user_id": "ann"}, "user_id", "unknown_field"),
    ({"kind": "preference", "rating": None}, "preference", "missing"),
    ({"kind": "preference", "rating": None, "preference": ()}, "preference", "missing"),
    ({"kind": "preference", "rating": None, "preference": PREFERENCE * 9}, "preference", "out_of_range"),
    ({"kind": "preference", "rating": None, "preference": (Candidate("r", NAN),)}, "preference", "out_of_range"),
    ({"kind": "preference", "rating": None, "preference": (Candidate("", 1.0),)}, "preference", "missing"),
]


@pytest.mark.parametrize("fields", GOOD)
def test_events_at_the_edge_of_a_rule_are_valid(fields: dict[str, Any]) -> None:
    assert violation(replace(VOTE, **fields)) is None


@pytest.mark.parametrize(("fields", "field", "reason"), BAD)
def test_a_broken_rule_names_its_field_and_a_reason_of_the_list(
    fields: dict[str, Any], field: str | None, reason: str
) -> None:
    found = violation(replace(VOTE, **fields))
    assert found is not None
    assert (found.field, found.reason) == (field, reason)
    assert found.reason in REASONS
    assert found.message
