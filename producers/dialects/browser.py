"""Feedback tokens: a server asks for one with its API key, and a page votes with it, natively, on one answer only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from producers import grants
from producers.dialects import native
from producers.dialects.exchange import Body, Call, Dialect, Item, Problem, Reply, Result, bearer
from producers.grants import Grant
from producers.validation import FIELDS, RefusedError
from schemas.constraints import Violation

MAX_BODY = 64 << 10  # what sendBeacon can send
MAX_EVENTS = 10
_TYPES = ("", "application/json", "text/plain")  # the last one spares browsers the preflight


def refuse_type(content_type: str) -> Problem | None:
    """A problem for a media type (lower case, without parameters) that is no JSON."""
    return None if content_type in _TYPES else Problem("unsupported_type", "the body must be JSON")


def token_requested(call: Call) -> list[Result]:
    """No event; one refusal when what is asked for cannot be."""
    found = _asked(call)
    return [found] if isinstance(found, Violation) else []


def token_reply(call: Call, outcome: Sequence[Result]) -> Reply:
    """The token and when it expires, or the native reply that says why there is none."""
    found = _asked(call)
    if outcome or isinstance(found, Violation):
        return native.reply(call, outcome)
    expires = datetime.fromtimestamp(found.expires_at, UTC)
    return Reply(200, {"token": call.sign(found), "expires_at": f"{expires:%Y-%m-%dT%H:%M:%SZ}"})


def _asked(call: Call) -> Grant | Violation:
    """The grant that the body describes, or why there is none. Ids obey the rules of the events that will hold them."""
    value = call.body.items[0].value if not call.body.many else None
    if not isinstance(value, dict):
        return Violation(None, "not_an_object", "the body must be an object with request_id")
    try:
        ids = {name: value.get(name) for name in ("request_id", "user_id")}
        found = call.event({**ids, "kind": "retract"}, None)
        if isinstance(found, Violation):
            return found
        return grants.asked(value, call.tenant_id, call.key_id, call.origins, call.received_at // 1000)
    except RefusedError as refused:
        return refused.violation


def token(body: Body) -> str | None:
    """The token in a body that is one object."""
    value = body.items[0].value if len(body.items) == 1 and not body.many else None
    found = value.get("token") if isinstance(value, dict) else None
    return found if isinstance(found, str) else None


def results(call: Call) -> list[Result]:
    """One event or refusal per item, each about the answer and the person of the token and nobody else."""
    if len(call.body.items) > MAX_EVENTS:
        refusal = Violation(None, "too_long", f"a page sends at most {MAX_EVENTS} events at once")
        return [refusal] * len(call.body.items)
    return [_result(call, item) for item in call.body.items]


def _result(call: Call, item: Item) -> Result:
    grant = call.grant
    if grant is None:
        return Violation(None, "forbidden", "a feedback token is needed")
    value, original = item.value, item.original
    if isinstance(value, dict):
        if "token" in value and bearer(call.headers) is None:
            value = {name: field for name, field in value.items() if name != "token"}
            original = _json(value)  # what is kept of the body must not let its reader vote
        for name, field in value.items():
            if name in FIELDS and name not in grants.FIELDS and field is not None:
                return Violation(name, "forbidden", f"a feedback token never allows {name}")
        value = _completed(grant, value)
    event = call.event(value, original)
    return event if isinstance(event, Violation) else grants.unfit(grant, event) or event


def _completed(grant: Grant, value: dict[str, Any]) -> dict[str, Any]:
    """The event with the token's ids where it names none."""
    ids = {"request_id": grant.request_id, "user_id": grant.user_id}
    return {**value, **{name: known for name, known in ids.items() if value.get(name) is None}}


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


TOKENS = Dialect("native", bearer, token_requested, token_reply, native.trouble, native.refuse_type, needs="tokens")
BROWSER = Dialect("browser", bearer, results, native.reply, native.trouble, refuse_type, token=token, max_body=MAX_BODY)
