"""Requesty's `POST /feedback/{id}`: free `data` that merges key by key; what in it is a vote becomes one.

Each call is judged by itself: `helpful`, else `thumbs`, else `rating` on the scale that the tenant has settled. Keys of
another shape than a field needs stay metadata, for the vendor refuses none; a rating outside the scale is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from producers.dialects.exchange import Call, Dialect, Problem, Reply, Result, bearer, refusal, renamed, single
from schemas.constraints import MAX_LIST, MAX_LIST_ITEM, MAX_USER_BYTES, Violation

_THUMBS: Mapping[object, bool] = {"up": True, "down": False}
_OURS = {"metadata": "data", "score": "data.rating", "comment": "data.message", "tags": "data.tags",
         "user_id": "data.user_id"}  # fmt: skip
_NO_OBJECT = Violation(None, "not_an_object", "the body must be an object with data")


def results(call: Call) -> list[Result]:
    """One event; none for empty data, which says nothing and is no error with the vendor."""
    found = single(call)
    if found is None:
        return [_NO_OBJECT]
    value, original = found
    data = value.get("data")
    if not isinstance(data, dict):
        return [Violation("data", "wrong_type" if "data" in value else "missing", "data must be an object")]
    request = {"request_id": call.path["request_id"]}
    if not data:
        found_in_path = call.event({**request, "kind": "retract"}, None)  # the id obeys the same rules without an event
        return [found_in_path] if isinstance(found_in_path, Violation) else []
    event = {
        **request,
        "metadata": data,
        "comment": data["message"] if isinstance(data.get("message"), str) else None,
        "tags": data["tags"] if _are_tags(data.get("tags")) else None,
        "user_id": _user(data.get("user_id")),
        **_vote(data, call.rules.requesty_scale),
    }
    return [renamed(call.event(event, original), _OURS)]


def _vote(data: Mapping[str, Any], scale: tuple[float, float] | None) -> dict[str, Any]:
    helpful, thumbs, score = data.get("helpful"), data.get("thumbs"), data.get("rating")
    if isinstance(helpful, bool):
        return {"rating": helpful}
    if isinstance(thumbs, str) and thumbs in _THUMBS:
        return {"rating": _THUMBS[thumbs]}
    if scale is not None and isinstance(score, (int, float)) and not isinstance(score, bool):
        return {"score": score, "scale": list(scale)}
    return {}


def _are_tags(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MAX_LIST
        and all(isinstance(tag, str) and len(tag) <= MAX_LIST_ITEM for tag in value)
    )


def _user(value: object) -> str | None:
    """A user as text, also when the id is a whole number; None when it is no id that a register could hold."""
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else None
    return text if text is not None and text.isprintable() and len(text.encode()) <= MAX_USER_BYTES else None


def reply(call: Call, outcome: Sequence[Result]) -> Reply:
    """The id and a word: the merged data is not echoed, for it is merged later."""
    found = refusal(outcome)
    if found is not None:
        return Reply(found[0], {"error": found[1].message})
    return Reply(200, {"id": call.path["request_id"], "status": "accepted"})


def trouble(problem: Problem) -> Reply:
    """The problem's sentence under `error`."""
    return Reply(problem.status, {"error": problem.message}, problem.headers)


REQUESTY = Dialect("requesty", bearer, results, reply, trouble, needs="ingest")  # also where data is empty
