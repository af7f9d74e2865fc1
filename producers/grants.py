"""What a feedback token allows: read from what a server asks for, and held against what a browser sends. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from producers.validation import RefusedError
from schemas.constraints import Violation
from schemas.events import FeedbackEvent

KINDS = ("vote", "retract", "context", "correction")
FIELDS = frozenset(
    {"event_id", "event_time", "kind", "rating", "value", "score", "scale", "comment", "reasons", "flagged"}
    | {"correction", "request_id", "user_id"}
)
DEFAULT_KINDS = ("vote", "retract", "context")
DEFAULT_SECONDS = 86_400
MAX_SECONDS = 30 * 86_400
MAX_ORIGINS = 16
MAX_TEXT = 10_000  # characters of a comment or correction
_GRACE_MS = 60_000  # of clocks that differ a little
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]{0,30}://([a-z0-9_.-]{1,253}|\[[0-9a-f:.]{2,45}\])(:[1-9][0-9]{0,4})?")
_NEVER_SENT = re.compile(r"http://.*:80|https://.*:443")
_ASKED = ("request_id", "user_id", "kinds", "values", "origins", "expires_in")
_BELONGS_TO = {"comment": "context", "reasons": "context", "flagged": "context", "correction": "correction"}
_NEVER = ("tags", "preference", "metadata")

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Values:
    """What a vote may be: a thumb, a number in a range, a score on one scale."""

    rating: bool = False
    value: Range | None = None
    scale: Range | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows, to whom, and from when until when (epoch seconds). No origins: any."""

    tenant_id: str
    key_id: str
    request_id: str
    user_id: str | None
    kinds: tuple[str, ...]
    values: Values
    origins: tuple[str, ...]
    issued_at: int
    expires_at: int


def is_origin(text: str) -> bool:
    """Whether a text is an origin as browsers write it: scheme, host in lower case, port unless usual; no path."""
    return _ORIGIN.fullmatch(text) is not None and _NEVER_SENT.fullmatch(text) is None


def asked(value: Mapping[str, Any], tenant_id: str, key_id: str, origins: Sequence[str], now: int) -> Grant:
    """The grant that a request for a token describes; RefusedError for fields that cannot be.

    `request_id` and `user_id` are taken as they are: whoever calls this has checked them. `origins` are those of the
    API key, `now` is in epoch seconds.
    """
    for name in value:
        if name not in _ASKED:
            _refuse(str(name)[:64], "unknown_field", f"a token is asked for with {', '.join(_ASKED)}")
    given = {name: item for name, item in value.items() if item is not None}
    return Grant(
        tenant_id,
        key_id,
        given["request_id"],
        given.get("user_id"),
        _kinds(given.get("kinds", list(DEFAULT_KINDS))),
        _values(given.get("values", {"rating": True})),
        _origins(given.get("origins", []), tuple(origins)),
        now,
        now + _seconds(given.get("expires_in", DEFAULT_SECONDS)),
    )


def _refuse(field: str | None, reason: str, message: str) -> NoReturn:
    raise RefusedError(Violation(field, reason, message))


def _texts(name: str, value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        _refuse(name, "wrong_type", f"{name} must be an array of strings")
    return value


def _kinds(value: object) -> tuple[str, ...]:
    kinds = _texts("kinds", value)
    if not kinds:
        _refuse("kinds", "empty", "a token that allows nothing is of no use")
    for kind in kinds:
        if kind not in KINDS:
            _refuse("kinds", "unknown_kind", f"kinds must be some of {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in kinds)


def _values(value: object) -> Values:
    if not isinstance(value, dict):
        _refuse("values", "wrong_type", "values must be an object with rating, value or scale")
    for name in value:
        if name not in ("rating", "value", "scale"):
            _refuse(f"values.{str(name)[:64]}", "unknown_field", "values has rating, value and scale")
    rating = value.get("rating") or False
    if not isinstance(rating, bool):
        _refuse("values.rating", "wrong_type", "values.rating must be true or false")
    number = _range("values.value", value.get("value"), -10, 10)
    scale = _range("values.scale", value.get("scale"), -math.inf, math.inf)
    if scale and not scale[0] < scale[1]:
        _refuse("values.scale", "out_of_range", "values.scale must be two numbers, the lower first")
    return Values(rating, number, scale)


def _range(name: str, value: object, least: float, most: float) -> Range | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
        _refuse(name, "wrong_type", f"{name} must be [lowest, highest]")
    try:
        low, high = float(value[0]), float(value[1])
    except OverflowError:
        low, high = math.inf, math.inf
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(high - low) and least <= low <= high <= most):
        _refuse(name, "out_of_range", f"{name} must be two numbers of ordinary size, the lower first")
    return low, high


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _origins(value: object, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """The origins asked for; a key that is itself bound to origins gives tokens for these only."""
    origins = tuple(dict.fromkeys(_texts("origins", value)))
    if len(origins) > MAX_ORIGINS:
        _refuse("origins", "too_long", f"origins must hold at most {MAX_ORIGINS} entries")
    for origin in origins:
        if not is_origin(origin):
            _refuse("origins", "out_of_range", "an origin is as browsers write it: https://chat.example")
        if allowed and origin not in allowed:
            _refuse("origins", "forbidden", "this key gives tokens for its own origins only")
    return origins or allowed


def _seconds(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number: 60.0 is 60
    if not isinstance(value, int) or isinstance(value, bool):
        _refuse("expires_in", "wrong_type", "expires_in must be whole seconds")
    if not 1 <= value <= MAX_SECONDS:
        _refuse("expires_in", "out_of_range", f"expires_in must be 1 to {MAX_SECONDS} seconds")
    return value


def unfit(grant: Grant, event: FeedbackEvent) -> Violation | None:
    """Why a token does not cover an event, or None: whatever passes is about its one request and its one person."""
    return next((found for rule in _RULES if (found := rule(grant, event)) is not None), None)


def _forbidden(field: str, message: str) -> Violation:
    return Violation(field, "forbidden", message)


def _identity(grant: Grant, event: FeedbackEvent) -> Violation | None:
    if event.tenant_id != grant.tenant_id or event.request_id != grant.request_id:
        return _forbidden("request_id", "this token is for another request")
    if event.user_id != grant.user_id:
        return _forbidden("user_id", "this token is for another user")
    return None


def _content(grant: Grant, event: FeedbackEvent) -> Violation | None:
    if event.kind not in grant.kinds:
        return _forbidden("kind", f"this token allows {', '.join(grant.kinds)}, not {event.kind}")
    if event.signal != "explicit":
        return _forbidden("signal", "a token allows explicit votes only")
    if event.weight not in (None, 1.0):
        return _forbidden("weight", "a token allows the weight 1 only")
    for field in _NEVER:
        if getattr(event, field):
            return _forbidden(field, f"a token never allows {field}")
    for field, kind in _BELONGS_TO.items():
        if getattr(event, field) is not None and kind not in grant.kinds:
            return _forbidden(field, f"this token does not allow {kind}")
    return None


def _vote(grant: Grant, event: FeedbackEvent) -> Violation | None:
    values = grant.values
    if event.rating is not None and not values.rating:
        return _forbidden("rating", "this token does not allow thumbs")
    if event.value is not None and not (values.value and values.value[0] <= event.value <= values.value[1]):
        return _forbidden("value", "this token does not allow this value")
    if event.score is not None and (event.scale_min, event.scale_max) != values.scale:
        return _forbidden("scale", "this token does not allow scores on this scale")
    return None


def _sizes(grant: Grant, event: FeedbackEvent) -> Violation | None:  # noqa: ARG001 - a rule like the others
    for field in ("comment", "correction"):
        if len(getattr(event, field) or "") > MAX_TEXT:
            return Violation(field, "too_long", f"{field} must be at most {MAX_TEXT} characters")
    return None


def _time(grant: Grant, event: FeedbackEvent) -> Violation | None:
    time = event.event_time
    if time is not None and not grant.issued_at * 1000 - _GRACE_MS <= time <= grant.expires_at * 1000:
        return Violation("event_time", "out_of_range", "event_time must lie within the life of the token")
    return None


_RULES: tuple[Callable[[Grant, FeedbackEvent], Violation | None], ...] = (_identity, _content, _vote, _sizes, _time)
