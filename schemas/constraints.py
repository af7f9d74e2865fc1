"""What a valid event is, whoever made it: the gateway checks before it accepts, `resolve` checks what others published.

Reason words are a closed list; see docs/semantics.md.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from schemas.events import AMEND, KINDS, SIGNALS, FeedbackEvent
from schemas.feedback_ids import hash_in

REASONS = (
    "malformed_json", "not_an_object", "missing", "wrong_type", "out_of_range",
    "too_long", "unknown_field", "unknown_kind", "empty", "forbidden",
)  # fmt: skip
EARLIEST = 946_684_800_000  # 2000-01-01
LATEST = 253_402_300_799_999  # 9999-12-31: the client's clock may be ahead, but must be a date
MAX_ID_BYTES = 256
MAX_EVENT_ID_BYTES = 128
MAX_USER_BYTES = 128
MAX_LIST = 32
MAX_LIST_ITEM = 64
MAX_METADATA = 64
MAX_METADATA_KEY = 128
MAX_EVENT_BYTES = 256 * 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PLAIN_STRING = re.compile(r'"[^"\\\x00-\x1f\ud800-\udfff]*"')
AMENDABLE = ("value", "weight", "comment", "user_id")  # and metadata
_VOTE_FIELDS = ("rating", "value", "score", "weight")


class Violation(NamedTuple):
    """Why an event is refused: the field, a reason word of the closed list, and a sentence for people."""

    field: str | None
    reason: str
    message: str


def violation(event: FeedbackEvent) -> Violation | None:
    """The first rule that `event` breaks, or None."""
    return next((found for rule in _RULES if (found := rule(event)) is not None), None)


def _identity(event: FeedbackEvent) -> Violation | None:
    return (
        _text("tenant_id", event.tenant_id, MAX_ID_BYTES)
        or _request(event)
        or _text("event_id", event.event_id, MAX_EVENT_ID_BYTES)
        or (_text("user_id", event.user_id, MAX_USER_BYTES, empty=True) if event.user_id is not None else None)
    )


def _request(event: FeedbackEvent) -> Violation | None:
    if event.kind != AMEND:
        return _text("request_id", event.request_id, MAX_ID_BYTES)
    if event.request_id:
        return Violation("request_id", "unknown_field", "request_id does not belong in an event of kind amend")
    return None


def _text(field: str, text: str, limit: int, *, empty: bool = False) -> Violation | None:
    if not text and not empty:
        return Violation(field, "missing", f"{field} must not be empty")
    if len(text) > limit or len(text.encode("utf-8", "surrogatepass")) > limit:
        return Violation(field, "too_long", f"{field} must be at most {limit} bytes")
    if _CONTROL.search(text):
        return Violation(field, "out_of_range", f"{field} must not hold control characters")
    return None


def _kind(event: FeedbackEvent) -> Violation | None:
    if event.kind not in _BY_KIND:
        return Violation("kind", "unknown_kind", f"kind must be one of {', '.join(KINDS)}")
    if event.signal not in SIGNALS:
        return Violation("signal", "out_of_range", "signal must be explicit or implicit")
    if event.kind != "preference" and event.preference is not None:
        return Violation("preference", "unknown_field", f"preference does not belong in an event of kind {event.kind}")
    return _BY_KIND[event.kind](event)


def _vote(event: FeedbackEvent) -> Violation | None:
    if event.polarity is None:
        return Violation("rating", "missing", "a vote needs rating, value, or score with scale")
    return None


def _not_a_vote(event: FeedbackEvent) -> Violation | None:
    for field in _VOTE_FIELDS:
        if getattr(event, field) is not None:
            return Violation(field, "unknown_field", f"{field} does not belong in an event of kind {event.kind}")
    return None


def _correction(event: FeedbackEvent) -> Violation | None:
    if event.correction is None:
        return Violation("correction", "missing", "an event of kind correction needs correction")
    return _not_a_vote(event)


def _context(event: FeedbackEvent) -> Violation | None:
    if found := _not_a_vote(event):
        return found
    written = (event.comment, event.correction, event.reasons, event.tags, event.flagged, event.user_id)
    if not event.metadata and all(value is None for value in written):
        return Violation(None, "empty", "the event says nothing: give a rating, comment, correction or metadata")
    return None


def _retract(event: FeedbackEvent) -> Violation | None:
    return _not_a_vote(event) or _carries_none(event, ("comment", "correction", "reasons", "flagged"))


def _erase(event: FeedbackEvent) -> Violation | None:
    rest = ("comment", "correction", "reasons", "flagged", "tags", "user_id")
    if event.metadata:
        return Violation("metadata", "unknown_field", "metadata does not belong in an event of kind erase")
    return _not_a_vote(event) or _carries_none(event, rest)


def _carries_none(event: FeedbackEvent, fields: tuple[str, ...]) -> Violation | None:
    for field in fields:
        if getattr(event, field) is not None:
            return Violation(field, "unknown_field", f"{field} does not belong in an event of kind {event.kind}")
    return None


def _preference(event: FeedbackEvent) -> Violation | None:
    if not event.preference:
        return Violation("preference", "missing", "an event of kind preference needs 1 to 16 candidates")
    if len(event.preference) > 16:
        return Violation("preference", "out_of_range", "preference must hold 1 to 16 candidates")
    for candidate in event.preference:
        if not math.isfinite(candidate.rating):
            return Violation("preference", "out_of_range", "a candidate's rating must be a finite number")
        if found := _text("preference", candidate.request_id, MAX_ID_BYTES):
            return found
    return _not_a_vote(event)


def _amend(event: FeedbackEvent) -> Violation | None:
    if hash_in(event.feedback_id) is None:
        return Violation("feedback_id", "missing", "an event of kind amend needs a feedback id of a gateway's making")
    if event.signal != "explicit":
        return Violation("signal", "unknown_field", "an amendment is about an explicit vote")
    if found := _carries_none(event, ("rating", "score", "correction", "reasons", "tags", "flagged")):
        return found
    if not event.metadata and all(getattr(event, field) is None for field in AMENDABLE):
        return Violation(None, "empty", "the amendment says nothing: give value, weight, comment or metadata")
    return None


_BY_KIND: dict[str, Callable[[FeedbackEvent], Violation | None]] = {
    "vote": _vote, "retract": _retract, "context": _context,
    "correction": _correction, "preference": _preference, "erase": _erase, AMEND: _amend,
}  # fmt: skip


def _time(event: FeedbackEvent) -> Violation | None:
    time = event.event_time
    if time is not None and not EARLIEST <= time <= LATEST:
        return Violation("event_time", "out_of_range", "event_time must lie between the years 2000 and 9999")
    return None


def _numbers(event: FeedbackEvent) -> Violation | None:
    if event.value is not None and not -10 <= event.value <= 10:
        return Violation("value", "out_of_range", "value must be a number from -10 to 10")
    if event.weight is not None and not 0 <= event.weight <= 1:
        return Violation("weight", "out_of_range", "weight must be a number from 0 to 1")
    return _scale(event) if event.score is not None else None


def _scale(event: FeedbackEvent) -> Violation | None:
    low, high, score = event.scale_min, event.scale_max, event.score
    if low is None or high is None or score is None:
        return Violation("scale", "missing", "score needs scale: [lowest, highest]")
    if not (math.isfinite(low) and math.isfinite(high) and low < high and math.isfinite(high - low)):
        return Violation("scale", "out_of_range", "scale must be two finite numbers, the lower first")
    if not low <= score <= high:
        return Violation("score", "out_of_range", "score must lie within scale")
    return None


def _lists(event: FeedbackEvent) -> Violation | None:
    for field, items in (("reasons", event.reasons), ("tags", event.tags)):
        if items is None:
            continue
        if len(items) > MAX_LIST:
            return Violation(field, "too_long", f"{field} must hold at most {MAX_LIST} entries")
        if any(len(item) > MAX_LIST_ITEM for item in items):
            return Violation(field, "too_long", f"an entry of {field} must be at most {MAX_LIST_ITEM} characters")
    return None


def _metadata(event: FeedbackEvent) -> Violation | None:
    if len(event.metadata) > MAX_METADATA:
        return Violation("metadata", "too_long", f"metadata must hold at most {MAX_METADATA} keys")
    for key, text in event.metadata.items():
        if not key or len(key) > MAX_METADATA_KEY:
            return Violation("metadata", "too_long", f"a metadata key must be 1 to {MAX_METADATA_KEY} characters")
        if text is not None and not _is_json(text):
            return Violation(f"metadata.{key}", "malformed_json", "a metadata value must be JSON text")
    return None


def _is_json(text: str) -> bool:
    if _PLAIN_STRING.fullmatch(text):
        return True  # most values are; a decoder takes ten times as long to find out
    try:
        value = _decode(text)
        if "\\ud" in text.lower():  # half of a surrogate pair is a text that nothing downstream can encode
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse).decode  # json.loads would make a decoder at every call


def _size(event: FeedbackEvent) -> Violation | None:
    if sum(map(len, _texts(event))) > MAX_EVENT_BYTES:
        return Violation(None, "too_long", f"the texts must be at most {MAX_EVENT_BYTES} characters together")
    return None


def _texts(event: FeedbackEvent) -> Iterator[str]:
    yield from (text for text in (event.comment, event.correction) if text is not None)
    yield from (text for text in event.metadata.values() if text is not None)
    yield from (candidate.response for candidate in event.preference or () if candidate.response is not None)


_RULES: tuple[Callable[[FeedbackEvent], Violation | None], ...] = (
    _identity, _kind, _time, _numbers, _lists, _metadata, _size,
)  # fmt: skip
