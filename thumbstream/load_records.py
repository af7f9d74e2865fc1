"""Records of a file to native events: CSV cells and JSON objects, mapped, timed and given ids. Pure.

A record without an id gets one made from its content, so loading the same file again changes nothing; a record without
a time gets the time of the load, and is a new event each time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

FIELDS = (
    "request_id", "event_id", "event_time", "kind", "rating", "value", "score", "scale", "weight", "comment",
    "correction", "reasons", "tags", "flagged", "user_id", "signal", "preference", "metadata",
)  # fmt: skip
_METADATA = "metadata."
_RATINGS = {
    **dict.fromkeys(("true", "up", "positive", "thumbs_up"), True),
    **dict.fromkeys(("false", "down", "negative", "thumbs_down"), False),
}


class RecordError(ValueError):
    """A record that is no event; the message begins with a reason word, then names the field."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file's records become events.

    `mapping` is field -> column, `fixed` is field -> text that every event gets, `now` (epoch ms) is the time of
    records without one, and of all records when `keep_times` is false.
    """

    mapping: Mapping[str, str]
    fixed: Mapping[str, str]
    rest_as_metadata: bool
    keep_times: bool
    now: int


def from_cells(plan: Plan, cells: Mapping[str, str]) -> dict[str, Any]:
    """The event of one CSV line. An empty cell is absent. RecordError names a cell that cannot be read."""
    event: dict[str, Any] = {}
    used = set()
    for field, column in _columns(plan, cells).items():
        used.add(column)
        if cells.get(column):
            _put(event, field, cells[column])
    if plan.rest_as_metadata:
        for column in cells.keys() - used:
            if column and cells[column]:
                _place(event, _METADATA + column, cells[column])
    return complete(plan, event)


def from_object(plan: Plan, record: Any) -> dict[str, Any]:
    """The event of one JSON value: its own fields, with mapped names put in place."""
    if not isinstance(record, dict):
        raise RecordError("not_an_object: each line must hold one JSON object")
    moved = {field: record[column] for field, column in plan.mapping.items() if column in record}
    rest = {name: value for name, value in record.items() if name not in plan.mapping.values()}
    event: dict[str, Any] = {key: value for key, value in rest.items() if key in FIELDS or not plan.rest_as_metadata}
    for field, value in moved.items():
        _place(event, field, value)
    for key in rest.keys() - event.keys():
        _place(event, _METADATA + key, rest[key])
    return complete(plan, event)


def complete(plan: Plan, event: dict[str, Any]) -> dict[str, Any]:
    """The event with fixed fields, a time and an id."""
    for field, text in plan.fixed.items():
        _put(event, field, text)
    if not plan.keep_times or event.get("event_time") is None:
        event["event_time"] = plan.now
    if event.get("event_id") is None:
        event["event_id"] = "load-" + hashlib.sha256(canonical(event).encode()).hexdigest()[:24]
    return event


def canonical(event: Mapping[str, Any]) -> str:
    """The event as text that does not depend on the order of its fields."""
    content = {key: value for key, value in event.items() if value is not None}
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _columns(plan: Plan, cells: Mapping[str, str]) -> dict[str, str]:
    missing = [column for column in plan.mapping.values() if column not in cells]
    if missing:
        raise RecordError(f"missing: no column {', '.join(missing)}")
    named = {field: field for field in FIELDS if field in cells and field not in plan.mapping}
    return {**named, **plan.mapping}


def _put(event: dict[str, Any], field: str, text: str) -> None:
    """Read one cell into its field."""
    if field == "rating" and (number := _number(text)) is not None:
        field = "value"  # 1 and -1 are votes; a thumb is true or false
        event[field] = number
        return
    try:
        value = _PARSERS.get(field, str)(text)
    except ValueError as error:
        raise RecordError(f"wrong_type: {field}: {error}") from error
    _place(event, field, value)


def _place(event: dict[str, Any], field: str, value: Any) -> None:
    if field.startswith(_METADATA):
        metadata = event.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise RecordError("wrong_type: metadata must be an object")
        event["metadata"] = {**metadata, field.removeprefix(_METADATA): value}
    else:
        event[field] = value


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else number


def _rating(text: str) -> bool:
    if text.strip().lower() not in _RATINGS:
        raise ValueError(f"{text!r} is no rating: true/false, up/down, positive/negative or a number")
    return _RATINGS[text.strip().lower()]


def _decimal(text: str) -> float:
    number = _number(text)
    if number is None:
        raise ValueError(f"{text!r} is not a number")
    return number


def _time(text: str) -> int | str:
    return int(text) if text.strip().lstrip("-").isdigit() else text


def _list(text: str) -> Any:
    return json.loads(text) if text.lstrip().startswith("[") else [item.strip() for item in text.split(",")]


def _flag(text: str) -> bool:
    if text.strip().lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise ValueError(f"{text!r} is not true or false")
    return text.strip().lower() in ("true", "1", "yes")


_PARSERS: dict[str, Callable[[str], Any]] = {
    "rating": _rating, "value": _decimal, "score": _decimal, "weight": _decimal, "scale": json.loads,
    "event_time": _time, "reasons": _list, "tags": _list, "flagged": _flag,
    "metadata": json.loads, "preference": json.loads,
}  # fmt: skip
