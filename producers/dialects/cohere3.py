"""Cohere 3.x, the oldest client with feedback: it asks for its key to be checked, then posts to `/feedback`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from producers.dialects.cohere import reply, trouble, wrong_text
from producers.dialects.exchange import Body, Call, Dialect, Reply, Result, bearer, only, renamed, single
from schemas.constraints import Violation

_OURS = {"request_id": "id", "rating": "good_response", "correction": "desired_response", "comment": "feedback"}


def claims(headers: Mapping[str, str], body: Body) -> bool:
    """Whether this is the call at all: other vendors' calls on the same path have no such key."""
    del headers
    found = only(body)
    return found is not None and "good_response" in found[0]


def results(call: Call) -> list[Result]:
    """One vote. This client sends an empty text for what was not said."""
    found = single(call)
    if found is None:
        return [Violation(None, "not_an_object", "the body must be an object")]
    value, original = found
    if value.get("good_response") is None:
        return [Violation("good_response", "missing", "good_response must be true or false")]
    wrong = wrong_text(value, ("desired_response", "feedback"))
    if wrong is not None:
        return [wrong]
    event = {
        "request_id": value.get("id"),
        "rating": value["good_response"],
        "correction": value.get("desired_response") or None,
        "comment": value.get("feedback") or None,
    }
    return [renamed(call.event(event, original), _OURS)]


def _nothing(call: Call) -> list[Result]:
    del call
    return []


def _valid(call: Call, outcome: Sequence[Result]) -> Reply:
    del call, outcome
    return Reply(200, {"valid": True})


COHERE_3 = Dialect("cohere3", bearer, results, reply, trouble)
KEY_CHECK = Dialect("cohere3", bearer, _nothing, _valid, trouble, reads_body=False, needs="ingest")
