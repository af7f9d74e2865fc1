"""Helicone's logs of model calls (`/custom/v1/log` and its twins): context that votes on the same request join.

Properties, user and request id come as HTTP headers from the vendor's packages, and in `providerRequest.meta` from
elsewhere. Header names have no case, so a property is known by its name in lower case, wherever it came from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from producers.dialects import completions
from producers.dialects.exchange import Call, Dialect, Reply, Result, refusal, renamed, single
from producers.dialects.helicone import envelope, secret, trouble
from schemas.constraints import EARLIEST, LATEST, Violation
from schemas.events import FeedbackEvent

_PROPERTY = "helicone-property-"
_KNOWN = {"helicone-prompt-id": "prompt_id", "helicone-session-id": "session_id"}
_OURS = {"request_id": "Helicone-Request-Id", "user_id": "Helicone-User-Id", "metadata": "Helicone-Property"}
_LONG = ("prompt", "response")
_NO_LOG = Violation(None, "not_an_object", "the body must be an object with providerRequest and providerResponse")
_NO_REQUEST = Violation("providerRequest", "missing", "providerRequest must be an object")


def _results(call: Call, provider: str) -> list[Result]:
    found = single(call)
    if found is None:
        return [_NO_LOG]
    log, original = found
    if not isinstance(log.get("providerRequest"), dict):
        return [_NO_REQUEST]
    names = {**_lower(_object(log["providerRequest"], "meta")), **_headers(call.headers)}
    event = {
        "request_id": names.get("helicone-request-id") or call.new_id(),
        "event_time": _started(log),
        "user_id": names.get("helicone-user-id"),
    }
    told = {**_described(log, provider), **_properties(names)}
    result = call.event({**event, "metadata": told}, original)
    if isinstance(result, Violation) and (result.field, result.reason) == (None, "too_long"):
        short = {name: value for name, value in told.items() if name not in _LONG}
        result = call.event({**event, "metadata": short}, None)  # the model and the user are worth more than nothing
    return [renamed(result, _OURS)]


def _lower(meta: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in meta.items() if isinstance(value, str)}


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: _utf8(value) for name, value in headers.items() if name.startswith("helicone-")}


def _utf8(value: str) -> str:
    """A header's text: clients that send more than ASCII send UTF-8, or else it is Latin-1 as HTTP once said."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _properties(names: Mapping[str, str]) -> dict[str, str]:
    own = {name.removeprefix(_PROPERTY): value for name, value in names.items() if name.startswith(_PROPERTY)}
    return {**{key: names[name] for name, key in _KNOWN.items() if name in names}, **own}


def _described(log: Mapping[str, Any], provider: str) -> dict[str, Any]:
    request, response = _object(log, "providerRequest", "json"), _object(log, "providerResponse")
    answered, text, status = _object(response, "json"), response.get("textBody"), response.get("status")
    said = {
        "provider": log["provider"] if isinstance(log.get("provider"), str) else provider,
        "model": completions.model(request, answered),
        "status": status if type(status) is int else None,
        "prompt": completions.prompt(request),
        "response": completions.answer_in_text(text) if isinstance(text, str) else completions.answer(answered),
        "latency": _latency(log),
        "time_to_first_token": _number(_object(log, "timing").get("timeToFirstToken")) or None,
        **completions.tokens(answered),
        **_called(_object(log, "providerRequest").get("url")),
    }
    return {name: value for name, value in said.items() if value is not None}


def _called(url: Any) -> dict[str, str]:
    """Where the model was asked, without what may be secret in a URL: user, password and query."""
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        return {}
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return {}
    host = parts.netloc.rpartition("@")[2]
    return {"target_url": f"{parts.scheme}://{host}{parts.path}", "path": parts.path or "/"}


def _object(value: Any, *path: str) -> Mapping[str, Any]:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _started(log: Mapping[str, Any]) -> int | None:
    """When the model was asked, epoch milliseconds; None when the log does not say it in a usable way."""
    time = _moment(log, "startTime")
    return int(time) if EARLIEST <= time <= LATEST else None


def _latency(log: Mapping[str, Any]) -> int | None:
    """Milliseconds from question to answer."""
    took = _moment(log, "endTime") - _moment(log, "startTime")
    return int(took) if _started(log) is not None and 0 <= took <= LATEST else None


def _moment(log: Mapping[str, Any], name: str) -> float:
    time = _object(log, "timing", name)
    return _number(time.get("seconds")) * 1_000 + _number(time.get("milliseconds"))


def _number(value: Any) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def _reply(call: Call, outcome: Sequence[Result]) -> Reply:
    """The vendor's `ok`, with the id under which a vote finds this log."""
    if refusal(outcome) is not None:
        return envelope(200)(call, outcome)
    ids = [result.request_id.encode().decode("latin-1") for result in outcome if isinstance(result, FeedbackEvent)]
    return Reply(200, "ok", {"helicone-id": ids[0]}, plain=True)


def _silent(call: Call, outcome: Sequence[Result]) -> Reply:
    return envelope(200)(call, outcome) if refusal(outcome) is not None else Reply(204, None)


def log(provider: str) -> Dialect:
    """The dialect of the log calls for one provider's form; the body may name another provider."""
    return Dialect("helicone", secret, lambda call: _results(call, provider), _reply, trouble)


TRACE = Dialect("helicone", secret, lambda call: _results(call, "custom"), _silent, trouble)
