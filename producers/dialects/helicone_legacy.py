"""Helicone's older `POST /v1/feedback`: the id travels in the body, errors are plain text.

Two bodies are about: `{"helicone-id", "rating"}`, and the still older `{"helicone-id", "name", "value"}`. Of the latter
a boolean is a vote; a number or a text has no scale that anybody could know and becomes context.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from producers.dialects.exchange import Body, Call, Dialect, Problem, Reply, Result, only, refusal, single
from producers.dialects.helicone import secret
from schemas.constraints import Violation

ID = "helicone-id"
_NO_ID = Violation(ID, "missing", "Invalid helicone-id format.")
_NO_RATING = Violation("rating", "wrong_type", "Invalid rating format. Expected a boolean.")
_NO_NAME = Violation("name", "wrong_type", "Invalid name format. Expected a string.")
_NO_VALUE = Violation("value", "wrong_type", "Invalid value format. Expected a boolean, a number or a string.")


def claims(headers: Mapping[str, str], body: Body) -> bool:
    """Whether this is the call at all: other vendors' calls on the same path have no such key."""
    del headers
    found = only(body)
    return found is not None and ID in found[0]


def results(call: Call) -> list[Result]:
    """One vote, or the context that an old named value is."""
    found = single(call)
    if found is None:
        return [_NO_ID]
    value, original = found
    if not isinstance(value.get(ID), str) or not value[ID]:
        return [_NO_ID]
    said = _named(value) if "value" in value and "rating" not in value else _rated(value)
    return [said if isinstance(said, Violation) else call.event({"request_id": value[ID], **said}, original)]


def _rated(value: Mapping[str, Any]) -> dict[str, Any] | Violation:
    rating = value.get("rating")
    return {"rating": rating} if isinstance(rating, bool) else _NO_RATING


def _named(value: Mapping[str, Any]) -> dict[str, Any] | Violation:
    name, given = value.get("name"), value["value"]
    if not isinstance(name, str) or not name:
        return _NO_NAME
    if not isinstance(given, (bool, int, float, str)):
        return _NO_VALUE
    kept: dict[str, Any] = {"metadata": {f"feedback.{name}": given}}
    return {**kept, "rating": given} if isinstance(given, bool) else kept


def reply(call: Call, outcome: Sequence[Result]) -> Reply:
    """JSON when all went well, else a sentence of plain text."""
    found = refusal(outcome)
    if found is not None:
        return Reply(found[0], found[1].message, plain=True)
    asked = single(call)
    return Reply(200, {"message": "Feedback added successfully.", "helicone_id": asked[0][ID] if asked else None})


def trouble(problem: Problem) -> Reply:
    """A sentence of plain text."""
    return Reply(problem.status, problem.message, problem.headers, plain=True)


HELICONE_LEGACY = Dialect("helicone", secret, results, reply, trouble)
