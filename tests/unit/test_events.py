"""What an event's vote means, and JSON text as people read it."""

from typing import Any

import pytest

from schemas.events import FeedbackEvent, bare


@pytest.mark.parametrize(
    ("fields", "polarity"),
    [
        ({}, None),
        ({"rating": True}, 1),
        ({"rating": False}, -1),
        ({"value": 0.0}, 0),
        ({"value": -0.0}, 0),
        ({"value": 0.1}, 1),
        ({"value": -10.0}, -1),
        ({"rating": False, "value": 5.0}, -1),
        ({"value": 5.0, "score": 1.0, "scale_min": 1.0, "scale_max": 5.0}, 1),
        ({"score": 4.0, "scale_min": 1.0, "scale_max": 5.0}, 1),
        ({"score": 2.0, "scale_min": 1.0, "scale_max": 5.0}, -1),
        ({"score": 3.0, "scale_min": 1.0, "scale_max": 5.0}, 0),
        ({"score": 0.0, "scale_min": 0.0, "scale_max": 1.0}, -1),
        ({"score": 3.0}, None),
        ({"score": 3.0, "scale_min": 5.0, "scale_max": 5.0}, None),
    ],
)
def test_polarity_is_decided_by_rating_then_value_then_score(fields: dict[str, Any], polarity: int | None) -> None:
    assert FeedbackEvent("t", "r", "e", "vote", **fields).polarity == polarity


READ = {'"a b"': "a b", '""': "", "0": "0", "null": "null", '{"a": "b"}': '{"a": "b"}', '"\\u00e9"': "é"}


@pytest.mark.parametrize(("text", "read"), READ.items())
def test_strings_lose_their_quotes_and_other_values_stay(text: str, read: str) -> None:
    assert bare(text) == read
