"""Laws of validation, attacked with any JSON value and with mutilated events."""

from typing import Any

import hypothesis.strategies as st
from hypothesis import example, given, settings

from producers.validation import FIELDS, RefusedError, parse_event
from schemas.codec import Codec
from schemas.constraints import REASONS, violation
from schemas.events import FeedbackEvent

CODEC = Codec()
TEXT = st.text(st.characters(exclude_categories=())) | st.text(max_size=8)  # lone surrogates included
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(-12, 12) | st.floats() | TEXT
    | st.sampled_from(["vote", "retract", "erase", "implicit", "2026-01-01T00:00:00Z", 1_767_268_800_000, 10**400])
)  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
)
CANDIDATES = st.lists(
    st.fixed_dictionaries({"request_id": st.text(min_size=1, max_size=4), "rating": st.integers(-3, 3)}), max_size=3
)
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "request_id": st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6),
    "rating": st.booleans(),
    "value": st.floats(-10, 10),
    "weight": st.floats(0, 1),
    "comment": st.text(max_size=9),
    "reasons": st.lists(st.text(max_size=4), max_size=3),
    "metadata": st.dictionaries(st.text(min_size=1, max_size=4), JSON, max_size=3),
    "event_time": st.integers(946_684_800_000, 1_900_000_000_000),
    "preference": CANDIDATES,
}
EVENTS = st.fixed_dictionaries({}, optional={name: PLAUSIBLE.get(name, JSON) | JSON for name in FIELDS})
LIKELY = st.fixed_dictionaries(
    {"request_id": PLAUSIBLE["request_id"], "rating": st.booleans()},
    optional={name: PLAUSIBLE[name] for name in PLAUSIBLE if name not in ("request_id", "rating", "preference")},
)


def parse(value: Any) -> FeedbackEvent | RefusedError:
    try:
        return parse_event(value, tenant_id="t", source="s", new_id=lambda: "made", received_at=1)
    except RefusedError as refused:
        return refused


@settings(max_examples=300, deadline=None)
@given(JSON | EVENTS)
@example({"metadata": {"a": "\udc80"}, "request_id": "r"})
def test_any_value_is_an_event_or_refused_with_a_word_of_the_list(value: Any) -> None:
    found = parse(value)
    if isinstance(found, RefusedError):
        assert found.violation.reason in REASONS
        assert found.violation.message
    else:
        assert violation(found) is None
        assert CODEC.decode(CODEC.encode(found)) == found


@settings(max_examples=150, deadline=None)
@given(LIKELY)
def test_a_plausible_vote_survives_the_wire(value: dict[str, Any]) -> None:
    found = parse(value)
    if isinstance(found, FeedbackEvent):
        assert CODEC.decode(CODEC.encode(found)) == found
        assert found.polarity in (-1, 1)
    else:  # only what JSON itself or a length forbids can be wrong here
        assert found.violation.reason in ("malformed_json", "out_of_range", "too_long")


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.sampled_from(FIELDS))
def test_null_says_the_same_as_nothing(value: dict[str, Any], name: str) -> None:
    absent = {key: item for key, item in value.items() if key != name}
    first, second = parse(absent), parse({**absent, name: None})
    if isinstance(first, RefusedError):
        assert isinstance(second, RefusedError)
        assert first.violation == second.violation
    else:
        assert repr(first) == repr(second)  # by text, for NaN is not equal to itself


@settings(max_examples=150, deadline=None)
@given(LIKELY)
def test_the_order_of_fields_says_nothing(value: dict[str, Any]) -> None:
    turned = {**dict(reversed(value.items()))}
    first, second = parse(value), parse(turned)
    assert isinstance(first, FeedbackEvent) == isinstance(second, FeedbackEvent)
    if isinstance(first, FeedbackEvent):
        assert first == second
