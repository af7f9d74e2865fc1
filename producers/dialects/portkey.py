"""Portkey's `POST /v1/feedback` and `PUT /v1/feedback/{id}`: an integer from -10 to 10 on a trace, changeable later.

An array is taken whole or not at all, for its ids are answered in its order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from producers.dialects.exchange import Call, Dialect, Item, Problem, Reply, Result, bearer
from producers.validation import RefusedError
from schemas.constraints import Violation
from schemas.events import FeedbackEvent

API_KEY = "x-portkey-api-key"
# The vendor's clients send the same body once more after a 5xx, unless a gateway answers for itself by such a header.
_FINAL = {"x-portkey-gateway-exception": "true"}
_CODES = {401: "AB05", 403: "AB03", 404: "AB08", 429: "AB06"}
_STATUS = {"forbidden": 403, "not_found": 404}
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,4}")
_MOST = 1_000
# What the vendor indexes specially, and where we keep it; a key of ours by the same name gives way.
_DIMENSIONS = {"_environment": "environment", "_prompt": "prompt_id"}
_OURS = {"request_id": "trace_id", "comment": "text", "user_id": "metadata._user"}  # in refusals


def secret(headers: Mapping[str, str]) -> str | None:
    """The key. A client may send both headers: then `Authorization` is for the model's provider."""
    return headers.get(API_KEY, "").strip() or bearer(headers)


def results(call: Call) -> list[Result]:
    """One vote per feedback in the body's order, or only refusals as soon as there is one."""
    try:
        items = _items(call.body.items, many=call.body.many)
    except RefusedError as refused:
        return [refused.violation]
    found = [_vote(call, item, f"[{index}]." if len(items) > 1 else "") for index, item in enumerate(items)]
    return [result for result in found if isinstance(result, Violation)] or list(found)


def amendment(call: Call) -> list[Result]:
    """The change of one vote. What names feedback or trace in the body is passed over: neither can change."""
    feedback_id = call.path["feedback_id"].lower()
    if not call.ids.is_issued(call.tenant_id, feedback_id):
        return [Violation("feedback_id", "not_found", "there is no feedback with this id")]
    item = call.body.items[0] if len(call.body.items) == 1 and not call.body.many else None
    try:
        fields = _fields(None if item is None else item.value)
    except RefusedError as refused:
        return [refused.violation]
    assert item is not None
    return [_in_their_words(call.amendment(fields, item.original, feedback_id), "")]


def _items(items: Sequence[Item], *, many: bool) -> list[Item]:
    """The feedbacks of a body. The vendor's Node client turns an array into an object with the keys "0", "1", ..."""
    if many or not isinstance(items[0].value, dict) or not items[0].value:
        return list(items)
    indexed = items[0].value
    if not all(_INDEX.fullmatch(key) for key in indexed):
        return list(items)
    if len(indexed) > _MOST:
        _refuse(None, "too_long", f"a body must hold at most {_MOST} feedbacks")
    return [Item(value, _bytes(value)) for _, value in sorted(indexed.items(), key=lambda pair: int(pair[0]))]


def _bytes(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except RecursionError:
        _refuse(None, "too_long", "a feedback is nested too deep")


def _vote(call: Call, item: Item, place: str) -> Result:
    if item.refusal is not None:
        return _in_their_words(item.refusal, place)
    try:
        fields = _fields(item.value)
        fields["request_id"] = _trace(item.value)
        if "value" not in fields:
            _refuse("value", "missing", "value is required: an integer from -10 to 10")
    except RefusedError as refused:
        return _in_their_words(refused.violation, place)
    event = call.event(fields, item.original)
    if isinstance(event, FeedbackEvent):
        event = replace(event, feedback_id=call.ids.issue(event.tenant_id, event.request_id))
    return _in_their_words(event, place)


def _trace(value: Mapping[str, Any]) -> object:
    trace = value.get("trace_id")
    trace = value.get("traceID") if trace is None else trace
    if trace is None:
        _refuse("trace_id", "missing", "trace_id is required")
    return trace


def _fields(value: object) -> dict[str, Any]:
    """What POST and PUT share, in the native form. Keys that mean nothing here are passed over."""
    if not isinstance(value, dict):
        _refuse(None, "not_an_object", "a feedback must be an object")
    fields: dict[str, Any] = {}
    if value.get("value") is not None:
        fields["value"] = _integer(value["value"])
    for theirs, ours in (("weight", "weight"), ("text", "comment")):
        if value.get(theirs) is not None:
            fields[ours] = value[theirs]
    _promote(fields, _metadata(value.get("metadata")))
    return fields


def _integer(value: object) -> int:
    """The vote. A text is taken where it is an integer: the vendor's own test program sends one."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse("value", "wrong_type", "value must be an integer from -10 to 10")
    if value != value // 1:  # also for what is no number
        _refuse("value", "wrong_type", "value must be an integer, not a fraction")
    if not -10 <= value <= 10:
        _refuse("value", "out_of_range", "value must be an integer from -10 to 10")
    return int(value)


def _metadata(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        value = _decoded(value)
    if value is not None and not isinstance(value, dict):
        _refuse("metadata", "wrong_type", "metadata must be an object, or an object as JSON text")
    return dict(value or {})


def _decoded(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        _refuse("metadata", "malformed_json", "metadata is a text that is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _promote(fields: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Put what the vendor treats specially where our views have it, and the rest into metadata."""
    if "comment" not in fields and isinstance(metadata.get("text"), str):  # newer clients put the field `text` there
        fields["comment"] = metadata.pop("text") or None
    if isinstance(metadata.get("_user"), str):
        fields["user_id"] = metadata.pop("_user") or None
    for theirs, ours in _DIMENSIONS.items():
        if theirs in metadata:
            metadata[ours] = metadata.pop(theirs)
    if metadata:
        fields["metadata"] = metadata


def _in_their_words(result: Result, place: str) -> Result:
    """A refusal with the vendor's names of fields, and the place in the array before."""
    if not isinstance(result, Violation):
        return result
    name, _, rest = (result.field or "").partition(".")
    theirs = _OURS.get(name, name)
    field = place + ".".join(part for part in (theirs, rest) if part)
    return Violation(field.rstrip(".") or None, result.reason, result.message.replace(name, theirs, 1))


def _refuse(field: str | None, reason: str, message: str) -> NoReturn:
    raise RefusedError(Violation(field, reason, message))


def reply(call: Call, outcome: Sequence[Result]) -> Reply:
    """The ids in the order of the feedbacks, or the first refusal."""
    found = next((result for result in outcome if isinstance(result, Violation)), None)
    if found is not None:
        place = f"{found.field}: " if found.field else ""
        return _error(_STATUS.get(found.reason, 400), place + found.message)
    ids = [result.feedback_id for result in outcome if isinstance(result, FeedbackEvent)]
    done = "updated" if "feedback_id" in call.path else "saved"
    return Reply(200, {"status": "success", "message": f"Feedback successfully {done}", "feedback_ids": ids})


def trouble(problem: Problem) -> Reply:
    """The vendor's form of an error; on our own failures with the header that keeps its clients from re-sending."""
    return _error(problem.status, problem.message, problem.headers)


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    code = "AB04" if status >= 500 else _CODES.get(status, "AB01")
    final = _FINAL if status >= 500 else {}
    document = {"success": False, "data": {"message": message, "errorCode": code}}
    return Reply(status, document, {**(headers or {}), **final})


PORTKEY = Dialect("portkey", secret, results, reply, trouble)
AMENDMENT = Dialect("portkey", secret, amendment, reply, trouble)
