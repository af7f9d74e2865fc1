"""Every rule of the native event: what is accepted and what it becomes, what is refused and with which word."""

from typing import Any

import pytest

from producers.validation import FIELDS, RefusedError, parse_event
from schemas.constraints import REASONS
from schemas.events import Candidate, FeedbackEvent

NOON = 1_767_268_800_000  # 2026-01-01T12:00:00Z


def parse(value: Any, **more: Any) -> FeedbackEvent:
    arguments: dict[str, Any] = {"tenant_id": "acme", "source": "test", "new_id": lambda: "made", "received_at": NOON}
    return parse_event(value, **{**arguments, **more})


def vote(**fields: Any) -> dict[str, Any]:
    return {"request_id": "r", "rating": True, **fields}


def test_a_thumb_becomes_a_vote_with_all_that_was_not_said_absent() -> None:
    assert parse({"request_id": "r1", "rating": False}) == FeedbackEvent(
        "acme", "r1", "made", "vote", rating=False, weight=1.0, source="test", received_at=NOON
    )


@pytest.mark.parametrize(
    ("value", "attribute", "expected"),
    [
        (vote(), "polarity", 1),
        (vote(rating=False), "polarity", -1),
        ({"request_id": "r", "value": 0}, "polarity", 0),
        ({"request_id": "r", "value": -0.5}, "polarity", -1),
        ({"request_id": "r", "score": 4, "scale": [1, 5]}, "polarity", 1),
        ({"request_id": "r", "score": 2, "scale": [1, 5]}, "polarity", -1),
        ({"request_id": "r", "score": 3, "scale": [1, 5]}, "polarity", 0),
        (vote(value=-3), "polarity", 1),
        ({"request_id": "r", "value": -1, "score": 5, "scale": [1, 5]}, "polarity", -1),
        ({"request_id": "r", "value": 0}, "value", 0.0),
        ({"request_id": "r", "score": 0, "scale": [0, 1]}, "score", 0.0),
        (vote(), "value", None),
        (vote(), "weight", 1.0),
        (vote(weight=0), "weight", 0.0),
        ({"request_id": "r", "comment": "c"}, "weight", None),
        (vote(comment=""), "comment", ""),
        (vote(reasons=[]), "reasons", ()),
        (vote(reasons=["slow", "wrong"]), "reasons", ("slow", "wrong")),
        (vote(flagged=False), "flagged", False),
        (vote(flagged=None), "flagged", None),
        (vote(signal="implicit"), "signal", "implicit"),
        (vote(user_id=""), "user_id", ""),
        (vote(request_id="é" * 128), "request_id", "é" * 128),
    ],
)
def test_a_field_keeps_its_meaning(value: Any, attribute: str, expected: Any) -> None:
    assert getattr(parse(value), attribute) == expected
    assert type(getattr(parse(value), attribute)) is type(expected)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"rating": True, "correction": "c", "comment": "d"}, "vote"),
        ({"value": 0}, "vote"),
        ({"score": 1, "scale": [0, 1]}, "vote"),
        ({"correction": "c", "comment": "d"}, "correction"),
        ({"comment": "d"}, "context"),
        ({"metadata": {"model": None}}, "context"),
        ({"kind": "context", "correction": "c"}, "context"),
        ({"kind": "retract"}, "retract"),
        ({"kind": "retract", "metadata": {"a": 1}, "user_id": "u", "tags": []}, "retract"),
        ({"kind": "erase"}, "erase"),
        ({"kind": None, "rating": False}, "vote"),
        ({"preference": [{"request_id": "x", "rating": 0}]}, "preference"),
    ],
)
def test_the_kind_is_the_given_one_or_follows_from_the_fields(fields: dict[str, Any], kind: str) -> None:
    assert parse({"request_id": "r", **fields}).kind == kind


def test_a_preference_stands_under_its_first_candidate_unless_it_names_a_request() -> None:
    candidates = [{"request_id": "a", "rating": 1}, {"request_id": "b", "rating": -0.5, "response": None}]
    event = parse({"preference": candidates})
    assert event.request_id == "a"
    assert event.preference == (Candidate("a", 1.0), Candidate("b", -0.5))
    assert parse({"request_id": "own", "preference": candidates}).request_id == "own"


def test_metadata_is_compact_canonical_json_text_and_null_removes() -> None:
    sent = {"model": "gpt-é", "n": 0, "b": False, "l": [1, {"z": 1, "a": None}], "gone": None, "t": ""}
    assert parse({"request_id": "r", "metadata": sent}).metadata == {
        "model": '"gpt-é"', "n": "0", "b": "false", "l": '[1,{"a":null,"z":1}]', "gone": None, "t": '""',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "milliseconds"),
    [
        (NOON, NOON),
        ("2026-01-01T12:00:00Z", NOON),
        ("2026-01-01t12:00:00.0019z", NOON + 1),
        ("2026-01-01 13:30:00.123456789+01:30", NOON + 123),
        ("2026-01-01T12:00:00-00:00", NOON),
        (946_684_800_000, 946_684_800_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
    ],
)
def test_a_time_is_rfc_3339_with_an_offset_or_epoch_milliseconds(sent: Any, milliseconds: int) -> None:
    event = parse(vote(event_time=sent, event_id="mine"))
    assert (event.event_time, event.event_id) == (milliseconds, "mine")


def test_null_at_the_top_is_absent_everywhere() -> None:
    nulls = dict.fromkeys(FIELDS)
    assert parse({**nulls, "request_id": "r", "rating": True}) == parse(vote())


DEEP: Any = []
for _ in range(2_000):
    DEEP = [DEEP]

REFUSED: list[tuple[Any, str | None, str]] = [
    ([], None, "not_an_object"),
    ("r", None, "not_an_object"),
    (None, None, "not_an_object"),
    ({}, "request_id", "missing"),
    ({"rating": True}, "request_id", "missing"),
    (vote(request_id=None), "request_id", "missing"),
    (vote(request_id=""), "request_id", "missing"),
    (vote(request_id=5), "request_id", "wrong_type"),
    (vote(request_id="é" * 129), "request_id", "too_long"),
    (vote(request_id="a\nb"), "request_id", "out_of_range"),
    (vote(request_id="\ud800"), "request_id", "malformed_json"),
    (vote(event_id="e"), "event_time", "missing"),
    (vote(event_id="e", event_time=None), "event_time", "missing"),
    (vote(event_id="", event_time=NOON), "event_id", "missing"),
    (vote(event_id="e" * 129, event_time=NOON), "event_id", "too_long"),
    (vote(event_time="2026-01-01T12:00:00"), "event_time", "wrong_type"),
    (vote(event_time="2026-01-01"), "event_time", "wrong_type"),
    (vote(event_time="2026-W01-4T12:00:00Z"), "event_time", "wrong_type"),
    (vote(event_time="٢٠٢٦-01-01T12:00:00Z"), "event_time", "wrong_type"),
    (vote(event_time="2026-02-30T12:00:00Z"), "event_time", "out_of_range"),
    (vote(event_time="2026-01-01T12:00:00+99:00"), "event_time", "out_of_range"),
    (vote(event_time="0001-01-01T00:00:00+23:59"), "event_time", "out_of_range"),
    (vote(event_time=1_767_268_800), "event_time", "out_of_range"),
    (vote(event_time=10**30), "event_time", "out_of_range"),
    (vote(event_time=float(NOON)), "event_time", "wrong_type"),
    (vote(event_time=True), "event_time", "wrong_type"),
    (vote(kind="like"), "kind", "unknown_kind"),
    ({"request_id": "r1", "kind": "amend", "value": 1}, "kind", "unknown_kind"),
    ({"kind": "amend", "value": 1}, "kind", "unknown_kind"),
    (vote(kind=1), "kind", "wrong_type"),
    ({"request_id": "r", "kind": "vote", "comment": "c"}, "rating", "missing"),
    (vote(kind="context"), "rating", "unknown_field"),
    (vote(kind="retract"), "rating", "unknown_field"),
    ({"request_id": "r", "kind": "retract", "comment": "c"}, "comment", "unknown_field"),
    ({"request_id": "r", "kind": "erase", "metadata": {"a": 1}}, "metadata", "unknown_field"),
    ({"request_id": "r", "kind": "erase", "user_id": "u"}, "user_id", "unknown_field"),
    ({"request_id": "r", "kind": "correction", "comment": "c"}, "correction", "missing"),
    ({"request_id": "r", "kind": "preference"}, "preference", "missing"),
    (vote(preference=[{"request_id": "x", "rating": 1}]), "rating", "unknown_field"),
    (vote(kind="vote", preference=[{"request_id": "x", "rating": 1}]), "preference", "unknown_field"),
    (vote(rating=1), "rating", "wrong_type"),
    (vote(rating="true"), "rating", "wrong_type"),
    (vote(value=True), "value", "wrong_type"),
    (vote(value="1"), "value", "wrong_type"),
    (vote(value=10.001), "value", "out_of_range"),
    (vote(value=float("nan")), "value", "out_of_range"),
    (vote(value=float("-inf")), "value", "out_of_range"),
    (vote(value=10**400), "value", "out_of_range"),
    (vote(score=1), "scale", "missing"),
    (vote(scale=[0, 1]), "score", "missing"),
    (vote(score=6, scale=[1, 5]), "score", "out_of_range"),
    (vote(score=float("nan"), scale=[1, 5]), "score", "out_of_range"),
    (vote(score=1, scale=[5, 1]), "scale", "out_of_range"),
    (vote(score=1, scale=[1, 1]), "scale", "out_of_range"),
    (vote(score=1, scale=[0, float("inf")]), "scale", "out_of_range"),
    (vote(score=1, scale=[1]), "scale", "wrong_type"),
    (vote(score=1, scale=[0, True]), "scale", "wrong_type"),
    (vote(weight=1.01), "weight", "out_of_range"),
    ({"request_id": "r", "comment": "c", "weight": 1}, "weight", "unknown_field"),
    (vote(comment=1), "comment", "wrong_type"),
    (vote(comment="\udfff"), "comment", "malformed_json"),
    (vote(correction=["c"]), "correction", "wrong_type"),
    (vote(reasons="slow"), "reasons", "wrong_type"),
    (vote(reasons=[None]), "reasons", "wrong_type"),
    (vote(reasons=["x"] * 33), "reasons", "too_long"),
    (vote(tags=["x" * 65]), "tags", "too_long"),
    (vote(flagged="yes"), "flagged", "wrong_type"),
    (vote(user_id="u" * 129), "user_id", "too_long"),
    (vote(signal="maybe"), "signal", "out_of_range"),
    ({"preference": []}, "request_id", "missing"),
    ({"request_id": "r", "preference": {}}, "preference", "wrong_type"),
    ({"preference": [1]}, "preference[0]", "wrong_type"),
    ({"preference": [{"request_id": "x", "rating": 1}, {"rating": 1}]}, "preference[1].request_id", "missing"),
    ({"preference": [{"request_id": "x", "rating": True}]}, "preference[0].rating", "wrong_type"),
    (
        {"preference": [{"request_id": "x", "rating": 1, "generation": "g"}]},
        "preference[0].generation",
        "unknown_field",
    ),
    ({"preference": [{"request_id": "x", "rating": 1}] * 17}, "preference", "out_of_range"),
    ({"preference": [{"request_id": "x", "rating": float("inf")}]}, "preference", "out_of_range"),
    (vote(metadata=[]), "metadata", "wrong_type"),
    (vote(metadata={str(n): 1 for n in range(65)}), "metadata", "too_long"),
    (vote(metadata={"k" * 129: 1}), "metadata", "too_long"),
    (vote(metadata={"": 1}), "metadata", "too_long"),
    (vote(metadata={"\ud800": 1}), "metadata", "malformed_json"),
    (vote(metadata={"a": ["\ud800"]}), "metadata.a", "malformed_json"),
    (vote(metadata={"a": float("nan")}), "metadata.a", "out_of_range"),
    (vote(metadata={"a": 10**5000}), "metadata.a", "out_of_range"),
    (vote(metadata={"a": DEEP}), "metadata.a", "too_long"),
    (vote(metadata={"a": {1, 2}}), "metadata.a", "wrong_type"),
    (vote(metadata={"a": {"b": 1, 2: 3}}), "metadata.a", "wrong_type"),
    (vote(stars=5), "stars", "unknown_field"),
    (vote(stars=None), "stars", "unknown_field"),
    (vote(tenant_id="other"), "tenant_id", "unknown_field"),
    (vote(feedback_id="f"), "feedback_id", "unknown_field"),
    ({"request_id": "r"}, None, "empty"),
    ({"request_id": "r", "signal": "explicit"}, None, "empty"),
    ({"request_id": "r", "metadata": {}}, None, "empty"),
    (vote(comment="x" * 262_145), None, "too_long"),
]


@pytest.mark.parametrize(("value", "field", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_no_event_is_refused_with_field_and_reason(value: Any, field: str | None, reason: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse(value)
    assert refused.value.violation[:2] == (field, reason)
    assert refused.value.violation.message


def test_the_reasons_given_are_those_of_the_closed_list() -> None:
    given = {reason for _, _, reason in REFUSED}
    assert given == set(REASONS) - {"forbidden"}  # which only a key's rights can cause


def test_an_event_of_more_than_256_kib_as_sent_is_refused() -> None:
    assert parse(vote(), original=b" " * 262_144).original == b" " * 262_144
    with pytest.raises(RefusedError, match="at most 262144 bytes"):
        parse(vote(), original=b" " * 262_145)


def test_a_name_that_is_no_field_is_shown_cut() -> None:
    with pytest.raises(RefusedError) as refused:
        parse(vote(**{"x" * 1_000: 1}))
    assert refused.value.violation.field == "x" * 64
