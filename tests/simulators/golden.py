"""The golden examples under `schemas/examples`: a record as people read it, and the bytes that every client must write.

A file holds exactly three keys: `says` (a sentence), `record` (field -> value; absent fields have their defaults, bytes
are written in hex) and `framed` (the message value in hex).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from schemas.events import (
    Alert,
    Candidate,
    DeadLetter,
    FeedbackEvent,
    MinuteCount,
    MonitorSet,
    Progress,
    Record,
    ResolvedFeedback,
    Stamp,
    Vote,
)

FOLDER = Path(__file__).resolve().parents[2] / "schemas" / "examples"
CLASSES: dict[str, type[Any]] = {
    "feedback_event": FeedbackEvent,
    "resolved_feedback": ResolvedFeedback,
    "minute_count": MinuteCount,
    "progress": Progress,
    "monitor_set": MonitorSet,
    "alert": Alert,
    "dead_letter": DeadLetter,
}
_NESTED: dict[str, type[Any]] = {"preference": Candidate, "stamps": Stamp, "vote": Vote, "implicit": Vote}


@dataclass(frozen=True, slots=True)
class Example:
    """One example, read."""

    says: str
    record: Record
    framed: bytes


def examples(folder: str) -> dict[str, Example]:
    """All examples of one record, by file name."""
    return {
        file.stem: read(file.read_text("utf-8"), CLASSES[folder]) for file in sorted((FOLDER / folder).glob("*.json"))
    }


def read(text: str, cls: type[Any]) -> Example:
    """One example. ValueError for a key that is missing or unknown, at any level."""
    document = json.loads(text)
    if not isinstance(document, dict) or document.keys() != {"says", "record", "framed"}:
        raise ValueError(f"an example has exactly says, record and framed, not {sorted(document)}")
    return Example(document["says"], _made(cls, document["record"]), bytes.fromhex(document["framed"]))


def _made(cls: type[Any], values: Mapping[str, Any]) -> Any:
    kinds = {item.name: str(item.type) for item in fields(cls)}
    if unknown := values.keys() - kinds.keys():
        raise ValueError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")
    return cls(**{name: _value(name, kinds[name], value) for name, value in values.items()})


def _value(name: str, kind: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _NESTED:
        nested = [_made(_NESTED[name], item) for item in (value if isinstance(value, list) else [value])]
        return tuple(nested) if isinstance(value, list) else nested[0]
    if kind.startswith("bytes"):
        return bytes.fromhex(value)
    if "bytes" in kind:
        return {key: bytes.fromhex(text) for key, text in value.items()}
    return tuple(value) if isinstance(value, list) else value
