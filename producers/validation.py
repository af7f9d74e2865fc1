"""One parsed JSON value to one event, or the reason why not. Pure: ids and times come in as arguments.

Shapes and types are read here; what a value may be is `schemas.constraints`, which everybody shares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from schemas.constraints import AMENDABLE, MAX_EVENT_BYTES, Violation, violation
from schemas.events import AMEND, KINDS, Candidate, FeedbackEvent

_MAX_DEPTH = 64  # far below what a reader with a deep stack of its own can parse
_MAX_NAME = 64  # of an unknown field, in an error
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_json_text = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode

Fields = dict[str, Any]


class RefusedError(ValueError):
    """A value that is no event; `violation` says which field, which reason word, and a sentence for people."""

    def __init__(self, found: Violation) -> None:
        super().__init__(found.message)
        self.violation = found


def parse_event(
    value: object,
    *,
    tenant_id: str,
    source: str,
    new_id: Callable[[], str],
    received_at: int | None,
    original: bytes | None = None,
    feedback_id: str | None = None,
) -> FeedbackEvent:
    """The event that a parsed JSON value in the native form describes, or RefusedError and nothing else.

    `new_id` gives the event id when the client sent none; `received_at` is the caller's clock in epoch milliseconds;
    `original` is the event as it was sent, kept for audit, at most 256 KiB.
    """
    _require_size(original)
    fields = _read(value)
    _complete(fields)
    fields.setdefault("event_id", None)
    return _valid(
        FeedbackEvent(
            **{**fields, "event_id": new_id() if fields["event_id"] is None else fields["event_id"]},
            tenant_id=tenant_id,
            source=source,
            received_at=received_at,
            original=original,
            feedback_id=feedback_id,
        )
    )


def parse_amendment(
    value: object,
    *,
    tenant_id: str,
    source: str,
    event_id: str,
    received_at: int | None,
    original: bytes | None,
    feedback_id: str,
) -> FeedbackEvent:
    """The amendment of the vote that `feedback_id` names, by those of the native fields that it may have."""
    _require_size(original)
    fields = _read(value)
    if foreign := sorted(fields.keys() - {*AMENDABLE, "metadata"}):
        _refuse(foreign[0], "unknown_field", f"{foreign[0]} cannot be amended")
    return _valid(
        FeedbackEvent(
            tenant_id,
            "",
            event_id,
            AMEND,
            **fields,
            source=source,
            received_at=received_at,
            original=original,
            feedback_id=feedback_id,
        )
    )


def _require_size(original: bytes | None) -> None:
    if original is not None and len(original) > MAX_EVENT_BYTES:
        _refuse(None, "too_long", f"an event must be at most {MAX_EVENT_BYTES} bytes")


def _valid(event: FeedbackEvent) -> FeedbackEvent:
    found = violation(event)
    if found is not None:
        raise RefusedError(found)
    return event


def _read(value: object) -> Fields:
    """Every present field by its own reader. Null at the top level is the same as absent."""
    if not isinstance(value, dict):
        _refuse(None, "not_an_object", "an event must be a JSON object")
    fields: Fields = {}
    for name, item in value.items():
        reader = _READERS.get(name)
        if reader is None:
            shown = str(name)[:_MAX_NAME]
            _refuse(shown, "unknown_field", f"there is no field {shown}; free fields go into metadata")
        if item is not None:
            fields[name] = reader(name, item)
    return fields


def _complete(fields: Fields) -> None:
    """What follows from the fields that are there: kind, a preference's request, the scale's two ends, the weight."""
    kind = fields.setdefault("kind", _kind_of(fields))
    if kind == AMEND:
        _refuse("kind", "unknown_kind", f"kind must be one of {', '.join(KINDS)}")
    if kind == "preference" and fields.get("preference"):
        fields.setdefault("request_id", fields["preference"][0].request_id)
    if "request_id" not in fields:
        _refuse("request_id", "missing", "request_id is required")
    if "event_id" in fields and "event_time" not in fields:
        _refuse("event_time", "missing", "event_id needs event_time: only both together make a re-send harmless")
    if "scale" in fields:
        if "score" not in fields:
            _refuse("score", "missing", "scale needs score")
        fields["scale_min"], fields["scale_max"] = fields.pop("scale")
    if kind == "vote":
        fields.setdefault("weight", 1.0)


def _kind_of(fields: Fields) -> str:
    if "preference" in fields:
        return "preference"
    if "rating" in fields or "value" in fields or "score" in fields:
        return "vote"
    return "correction" if "correction" in fields else "context"


def _refuse(field: str | None, reason: str, message: str) -> NoReturn:
    raise RefusedError(Violation(field, reason, message))


def _string(name: str, value: object) -> str:
    if not isinstance(value, str):
        _refuse(name, "wrong_type", f"{name} must be a string")
    if not value.isascii() and _SURROGATE.search(value):
        _refuse(name, "malformed_json", f"{name} holds half of a surrogate pair, which is no text")
    return value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        _refuse(name, "wrong_type", f"{name} must be true or false")
    return value


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        _refuse(name, "wrong_type", f"{name} must be a number")
    try:
        return float(value)
    except OverflowError:
        _refuse(name, "out_of_range", f"{name} is too large for a number")


def _scale(name: str, value: object) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        _refuse(name, "wrong_type", "scale must be [lowest, highest]")
    return _number(name, value[0]), _number(name, value[1])


def _strings(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        _refuse(name, "wrong_type", f"{name} must be an array of strings")
    return tuple(_string(name, item) for item in value)


def _time(name: str, value: object) -> int:
    """Epoch milliseconds, rounded down."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        _refuse(name, "wrong_type", f"{name} must be RFC 3339 with an offset, or integer epoch milliseconds")
    try:
        return (datetime.fromisoformat(value.upper()) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        _refuse(name, "out_of_range", f"{name} is no date and time that exists")


def _candidates(name: str, value: object) -> tuple[Candidate, ...]:
    if not isinstance(value, list):
        _refuse(name, "wrong_type", "preference must be an array of candidates")
    return tuple(_candidate(f"{name}[{index}]", item) for index, item in enumerate(value))


def _candidate(name: str, value: object) -> Candidate:
    if not isinstance(value, dict):
        _refuse(name, "wrong_type", "a candidate must be an object with request_id and rating")
    fields: Fields = {}
    for key, item in value.items():
        reader = _CANDIDATE_READERS.get(key)
        if reader is None:
            _refuse(
                f"{name}.{str(key)[:_MAX_NAME]}", "unknown_field", "a candidate has request_id, rating and response"
            )
        if item is not None:
            fields[key] = reader(f"{name}.{key}", item)
    for key in ("request_id", "rating"):
        if key not in fields:
            _refuse(f"{name}.{key}", "missing", f"a candidate needs {key}")
    return Candidate(**fields)


def _metadata(name: str, value: object) -> Mapping[str, str | None]:
    """Compact JSON text with sorted keys for each value; None, which removes the key, for null."""
    if not isinstance(value, dict):
        _refuse(name, "wrong_type", "metadata must be an object")
    return {_string(name, key): _encoded(f"{name}.{key}", item) for key, item in value.items()}


def _encoded(name: str, value: object) -> str | None:
    if value is None:
        return None
    if not _within(value, _MAX_DEPTH):
        _refuse(name, "too_long", f"a metadata value must be nested at most {_MAX_DEPTH} levels deep")
    try:
        return _string(name, _json_text(value))
    except TypeError:
        _refuse(name, "wrong_type", "a metadata value must be JSON")
    except ValueError as problem:
        if isinstance(problem, RefusedError):
            raise
        _refuse(name, "out_of_range", "a metadata value must hold finite numbers of ordinary size only")


def _within(value: object, levels: int) -> bool:
    if not isinstance(value, (dict, list)):
        return True
    items = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_within(item, levels - 1) for item in items)


_READERS: dict[str, Callable[[str, object], Any]] = {
    "request_id": _string, "event_id": _string, "event_time": _time, "kind": _string,
    "rating": _boolean, "value": _number, "score": _number, "scale": _scale, "weight": _number,
    "comment": _string, "correction": _string, "reasons": _strings, "tags": _strings, "flagged": _boolean,
    "user_id": _string, "signal": _string, "preference": _candidates, "metadata": _metadata,
}  # fmt: skip
_CANDIDATE_READERS: dict[str, Callable[[str, object], Any]] = {
    "request_id": _string, "rating": _number, "response": _string,
}  # fmt: skip
FIELDS = tuple(_READERS)
