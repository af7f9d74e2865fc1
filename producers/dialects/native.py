"""Our own dialect: `POST /v1/events` with an object, an array or NDJSON; partial success, always one reply shape.

`DELETE /v1/requests/{request_id}` is the same as an event of kind erase, and so needs the right admin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from producers.dialects.exchange import Call, Dialect, Problem, Reply, Result, bearer
from schemas.constraints import Violation
from schemas.events import FeedbackEvent

NDJSON = ("application/x-ndjson", "application/ndjson")
_TYPES = ("", "application/json", *NDJSON)


def refuse_type(content_type: str) -> Problem | None:
    """A problem for a media type (lower case, without parameters) that is neither JSON nor NDJSON."""
    if content_type in _TYPES:
        return None
    return Problem("unsupported_type", "the body must be application/json or application/x-ndjson")


def results(call: Call) -> list[Result]:
    """One event or refusal per item, in order."""
    return [item.refusal or call.event(item.value, item.original) for item in call.body.items]


def erasure(call: Call) -> list[Result]:
    """The erase event of the request that the path names."""
    return [call.event({"request_id": call.path["request_id"], "kind": "erase"}, None)]


def reply(call: Call, outcome: Sequence[Result]) -> Reply:
    """200 when all are accepted, 207 when some are, 403 when the key may do none of it, else 400."""
    del call
    errors = [_error(index, found) for index, found in enumerate(outcome) if isinstance(found, Violation)]
    accepted = len(outcome) - len(errors)
    ids = [result.event_id if isinstance(result, FeedbackEvent) else None for result in outcome]
    return Reply(_status(accepted, errors), _document(accepted, len(errors), ids, errors))


def _status(accepted: int, errors: list[dict[str, Any]]) -> int:
    if accepted:
        return 207 if errors else 200
    return 403 if all(error["reason"] == "forbidden" for error in errors) else 400


def trouble(problem: Problem) -> Reply:
    """The reply for a whole request that failed: the error's index is null, nothing is accepted."""
    error = {"index": None, "field": None, "reason": problem.reason, "message": problem.message}
    return Reply(problem.status, _document(0, 0, [], [error]), problem.headers)


def _error(index: int, found: Violation) -> dict[str, Any]:
    return {"index": index, "field": found.field, "reason": found.reason, "message": found.message}


def _document(accepted: int, rejected: int, ids: list[str | None], errors: list[dict[str, Any]]) -> dict[str, Any]:
    return {"accepted": accepted, "rejected": rejected, "event_ids": ids, "errors": errors}


NATIVE = Dialect("native", bearer, results, reply, trouble, refuse_type)
ERASURE = Dialect("native", bearer, erasure, reply, trouble, reads_body=False)
