"""Cohere 4.x: `POST /v1/feedback/generate` and `/v1/feedback/generate/preference`.

The client takes any answer with a key `message` for an error, at any status, so only errors have one. Each call is a
record of its own with the vendor; here the latest vote per request stands and all of them are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from producers.dialects.exchange import Call, Dialect, Problem, Reply, Result, bearer, refusal, renamed, single
from schemas.constraints import MAX_LIST_ITEM, Violation
from schemas.events import FeedbackEvent

_NO_OBJECT = Violation(None, "not_an_object", "the body must be an object")
_OURS = {"rating": "good_response", "correction": "desired_response", "flagged": "flagged_response",
         "reasons": "flagged_reason", "user_id": "annotator_id", "preference": "ratings"}  # fmt: skip
_TEXTS = ("model", "prompt", "flagged_reason", "desired_response", "annotator_id")


def generate_results(call: Call) -> list[Result]:
    """One vote, with the answer that the annotator wanted and why the one given was flagged."""
    found = single(call)
    if found is None:
        return [_NO_OBJECT]
    value, original = found
    if value.get("good_response") is None:
        return [Violation("good_response", "missing", "good_response must be true or false")]
    wrong = wrong_text(value, _TEXTS)
    if wrong is not None:
        return [wrong]
    reason = value.get("flagged_reason")
    event = {
        "request_id": value.get("request_id"),
        "rating": value["good_response"],
        "correction": value.get("desired_response"),
        "flagged": value.get("flagged_response"),
        "reasons": [reason[:MAX_LIST_ITEM]] if reason else None,
        "user_id": value.get("annotator_id"),
        "metadata": _metadata(value, "model", "prompt", "flagged_reason"),
    }
    return [renamed(call.event(event, original), _OURS)]


def preference_results(call: Call) -> list[Result]:
    """Several answers rated against each other."""
    found = single(call)
    if found is None:
        return [_NO_OBJECT]
    value, original = found
    wrong = _wrong_ratings(value.get("ratings")) or wrong_text(value, _TEXTS)
    if wrong is not None:
        return [wrong]
    event = {
        "preference": [_candidate(rating) for rating in value["ratings"]],
        "user_id": value.get("annotator_id"),
        "metadata": _metadata(value, "model", "prompt"),
    }
    return [renamed(call.event(event, original), _OURS)]


def _wrong_ratings(ratings: object) -> Violation | None:
    if not isinstance(ratings, list) or not ratings or not all(isinstance(rating, dict) for rating in ratings):
        return Violation("ratings", "missing", "ratings must be a list of objects and not empty")
    wrong = (found for index, rating in enumerate(ratings) if (found := _wrong_rating(f"ratings[{index}]", rating)))
    return next(wrong, None)


def _wrong_rating(place: str, rating: dict[str, Any]) -> Violation | None:
    number = rating.get("rating")
    if not isinstance(number, (int, float)) or isinstance(number, bool):
        return Violation(f"{place}.rating", "wrong_type", f"{place}.rating must be a number")
    if not isinstance(rating.get("request_id"), str):
        return Violation(f"{place}.request_id", "missing", f"{place}.request_id must be a string")
    if not isinstance(rating.get("generation"), str | None):
        return Violation(f"{place}.generation", "wrong_type", f"{place}.generation must be a string")
    return None


def _candidate(rating: dict[str, Any]) -> dict[str, Any]:
    return {"request_id": rating["request_id"], "rating": rating["rating"], "response": rating.get("generation")}


def _metadata(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value[name] for name in names if value.get(name) is not None}


def wrong_text(value: dict[str, Any], names: Sequence[str]) -> Violation | None:
    """The first of `names` that is neither a text nor absent."""
    for name in names:
        if value.get(name) is not None and not isinstance(value[name], str):
            return Violation(name, "wrong_type", f"{name} must be a string")
    return None


def reply(call: Call, outcome: Sequence[Result]) -> Reply:
    """The id of the event, without a `message`."""
    del call
    found = refusal(outcome)
    if found is not None:
        return Reply(found[0], {"message": found[1].message})
    ids = [result.event_id for result in outcome if isinstance(result, FeedbackEvent)]
    return Reply(200, {"id": ids[0]})


def trouble(problem: Problem) -> Reply:
    """The problem's sentence under `message`."""
    return Reply(problem.status, {"message": problem.message}, problem.headers)


GENERATE = Dialect("cohere", bearer, generate_results, reply, trouble)
PREFERENCE = Dialect("cohere", bearer, preference_results, reply, trouble)
