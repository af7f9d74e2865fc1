"""Helicone's ratings of a request and of a session: a boolean; the latest one counts.

The envelope of replies and the place of the key are the same for Helicone's other calls, which import them from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from producers.dialects.exchange import Call, Dialect, Problem, Reply, Result, bearer, refusal, single
from schemas.constraints import Violation

_NO_OBJECT = Violation(None, "not_an_object", "the body must be an object with a boolean rating")
_NO_RATING = Violation("rating", "missing", "rating must be true or false")


def secret(headers: Mapping[str, str]) -> str | None:
    """The key. A client may send both headers: then `Authorization` is for the model's provider."""
    return bearer(headers, "helicone-auth") or bearer(headers)


def results(call: Call) -> list[Result]:
    """One vote on a request. Keys beside `rating` are ignored, as the vendor does."""
    return [_vote(call, {"request_id": call.path["request_id"]})]


def session_results(call: Call) -> list[Result]:
    """One vote on a whole session, which is kept apart from requests with the same id."""
    if not call.path["session_id"]:
        return [Violation("session_id", "missing", "session_id is required")]
    return [_vote(call, {"request_id": f"session:{call.path['session_id']}", "metadata": {"target": "session"}})]


def _vote(call: Call, about: Mapping[str, object]) -> Result:
    found = single(call)
    if found is None:
        return _NO_OBJECT
    value, original = found
    if value.get("rating") is None:
        return _NO_RATING
    return call.event({**about, "rating": value["rating"]}, original)


def envelope(status: int) -> Callable[[Call, Sequence[Result]], Reply]:
    """The vendor's reply, both keys always: `status` and no error when all went well."""

    def reply(call: Call, outcome: Sequence[Result]) -> Reply:
        del call
        found = refusal(outcome)
        if found is None:
            return Reply(status, {"data": None, "error": None})
        return Reply(found[0], {"data": None, "error": found[1].message})

    return reply


def trouble(problem: Problem) -> Reply:
    """The envelope with the problem's sentence; the vendor's 401 has a form of its own."""
    if problem.reason == "unauthorized":
        return Reply(problem.status, {"error": problem.message, "trace": "isAuthenticated.error"}, problem.headers)
    return Reply(problem.status, {"data": None, "error": problem.message}, problem.headers)


HELICONE = Dialect("helicone", secret, results, envelope(200), trouble)
SESSION = Dialect("helicone", secret, session_results, envelope(200), trouble)
