"""Who may enter the fold, when an event counts, and which of two values wins."""

from dataclasses import replace

import pytest

from processors.deduplicate import (
    MAX_CLAMPED,
    MAX_ROW_CHARACTERS,
    Arrival,
    Refusal,
    admit,
    effective_time,
    encoded,
    outgrown,
    remember_clamped,
    wins,
)
from schemas.events import FeedbackEvent, ResolvedFeedback, Vote
from schemas.topics import partition_of, request_key

EVENT = FeedbackEvent("acme", "r1", "e1", "vote", event_time=1_700_000_000_000, rating=True)
KEY = request_key("acme", "r1")
HOME = partition_of(KEY, 4)
ELSEWHERE = (HOME + 1) % 4


def arrival(event: FeedbackEvent | Refusal = EVENT, key: bytes = KEY) -> Arrival:
    return Arrival(5, 1_700_000_001_000, key, event)


def test_a_valid_event_at_home_is_admitted() -> None:
    assert admit(arrival(), HOME, 4, known=False) is None


def test_an_undecodable_record_keeps_its_reason() -> None:
    assert admit(arrival(Refusal("undecodable", "bad bytes")), HOME, 4, known=False) == Refusal(
        "undecodable", "bad bytes"
    )


@pytest.mark.parametrize("key", [b"", b"acme", b"acme|r2", b"acme|r1 ", b"other|r1"])
def test_another_key_is_misrouted(key: bytes) -> None:
    refusal = admit(arrival(key=key), HOME, 4, known=False)
    assert refusal is not None
    assert refusal.reason == "misrouted"
    assert "acme|r1" in refusal.message


def test_another_partition_is_misrouted_unless_the_request_lives_there() -> None:
    refusal = admit(arrival(), ELSEWHERE, 4, known=False)
    assert refusal is not None
    assert (refusal.reason, str(HOME) in refusal.message) == ("misrouted", True)
    assert admit(arrival(), ELSEWHERE, 4, known=True) is None


def test_an_event_that_breaks_a_rule_is_invalid_and_says_which() -> None:
    refusal = admit(arrival(replace(EVENT, value=99.0)), HOME, 4, known=False)
    assert refusal is not None
    assert refusal.reason == "invalid"
    assert refusal.message.startswith("value: out_of_range")


def test_an_event_counts_at_its_own_time_but_never_after_its_append_time() -> None:
    assert effective_time(replace(EVENT, event_time=None), 50, {}) == 50
    assert effective_time(replace(EVENT, event_time=49), 50, {}) == 49
    assert effective_time(replace(EVENT, event_time=51), 50, {}) == 50
    assert effective_time(replace(EVENT, event_time=51), 60, {"e1": 50}) == 50
    assert effective_time(replace(EVENT, event_time=None), 60, {"e1": 50}) == 60


def test_only_clocks_that_ran_ahead_are_remembered_and_only_once() -> None:
    ahead = replace(EVENT, event_time=99)
    assert remember_clamped(replace(EVENT, event_time=50), 50, {}) == {}
    assert remember_clamped(replace(EVENT, event_time=None), 50, {}) == {}
    once = remember_clamped(ahead, 50, {})
    assert once == {"e1": 50}
    assert remember_clamped(ahead, 60, once) is once


def test_the_oldest_clamped_events_are_forgotten_first() -> None:
    clamped = {f"e{number:03}": 1_000 + number for number in range(MAX_CLAMPED)}
    grown = remember_clamped(replace(EVENT, event_id="new", event_time=9_999), 5_000, clamped)
    assert len(grown) == MAX_CLAMPED
    assert "e000" not in grown
    assert grown["new"] == 5_000


def test_stamps_compare_by_time_then_id_then_value() -> None:
    assert wins(2, "a", "x", (1, "z"), "z")
    assert not wins(1, "z", "z", (2, "a"), "a")
    assert wins(1, "b", "a", (1, "a"), "z")
    assert wins(1, "a", "y", (1, "a"), "x")
    assert not wins(1, "a", "x", (1, "a"), "x")


def test_encoded_values_are_totally_ordered_and_tell_null_from_zero_and_empty() -> None:
    values = [None, 0.0, "", False, (), ("a",), Vote(0), Vote(0, 0.0), "null"]
    assert len({encoded(value) for value in values}) == len(values)


def test_every_text_of_unbounded_length_counts_towards_the_size_of_a_row() -> None:
    row, long = ResolvedFeedback(1, False, 1, "acme", "r1"), "x" * (MAX_ROW_CHARACTERS // 2 + 1)
    assert outgrown(replace(row, comment=long)) is None
    for fields in ({"correction": long}, {"vote": Vote(1, source=long)}, {"implicit": Vote(1, feedback_id=long)}):
        refusal = outgrown(replace(row, comment=long, **fields))
        assert refusal is not None
        assert refusal.reason == "too_large"
