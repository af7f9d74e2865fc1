"""Helicone's `POST /v1/request/{id}/feedback`: a boolean rating; the latest one per request counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from producers.dialects.exchange import Call, Dialect, Problem, Reply, Result, bearer
from schemas.constraints import Violation

_NO_OBJECT = Violation(None, "not_an_object", "the body must be an object with a boolean rating")
_NO_RATING = Violation("rating", "missing", "rating must be true or false")


def secret(headers: Mapping[str, str]) -> str | None:
    """The key, from either header that Helicone's clients and documentation use."""
    return bearer(headers) or bearer(headers, "helicone-auth")


def results(call: Call) -> list[Result]:
    """One vote. Keys beside `rating` are ignored, as the vendor does."""
    item = call.body.items[0] if len(call.body.items) == 1 and not call.body.many else None
    if item is None or not isinstance(item.value, dict):
        return [_NO_OBJECT]
    rating = item.value.get("rating")
    if rating is None:
        return [_NO_RATING]
    return [call.event({"request_id": call.path["request_id"], "rating": rating}, item.original)]


def reply(call: Call, outcome: Sequence[Result]) -> Reply:
    """The vendor's envelope: both keys always, `error` null on success."""
    del call
    found = next((result for result in outcome if isinstance(result, Violation)), None)
    if found is None:
        return Reply(200, {"data": None, "error": None})
    return Reply(403 if found.reason == "forbidden" else 400, {"data": None, "error": found.message})


def trouble(problem: Problem) -> Reply:
    """The envelope with the problem's sentence; the vendor's 401 has a form of its own."""
    if problem.reason == "unauthorized":
        return Reply(problem.status, {"error": problem.message, "trace": "isAuthenticated.error"}, problem.headers)
    return Reply(problem.status, {"data": None, "error": problem.message}, problem.headers)


HELICONE = Dialect("helicone", secret, results, reply, trouble)
