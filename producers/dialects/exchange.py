"""What every dialect is made of: a call comes in, results go to the publisher, a reply goes out. No transport here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from producers.grants import Grant
from producers.validation import RefusedError, parse_amendment, parse_event
from schemas.constraints import Violation
from schemas.events import FeedbackEvent

# What can be wrong with a whole request, beside the reasons of single events, and its status.
PROBLEMS = {
    "malformed_json": 400, "empty": 400, "unauthorized": 401, "forbidden": 403, "not_found": 404,
    "method_not_allowed": 405, "timeout": 408, "too_large": 413, "unsupported_type": 415, "rate_limited": 429,
    "internal": 500, "unavailable": 503,
}  # fmt: skip
RETRY_AFTER = {"rate_limited": "1", "unavailable": "2"}  # seconds
_UNREAD = ("too_large", "timeout")  # the rest of the body would be taken for the next request


class Problem(NamedTuple):
    """Why a whole request is refused: a word of PROBLEMS and a sentence.

    `allow` lists methods, for 405; `wait` is in seconds, where more is known than the usual Retry-After.
    """

    reason: str
    message: str
    allow: tuple[str, ...] = ()
    wait: int = 0

    @property
    def status(self) -> int:
        """The usual HTTP status of the reason."""
        return PROBLEMS[self.reason]

    @property
    def headers(self) -> dict[str, str]:
        """The headers that belong to the status in every dialect."""
        headers = {"Retry-After": str(self.wait or RETRY_AFTER[self.reason])} if self.reason in RETRY_AFTER else {}
        if self.reason in _UNREAD:
            headers["Connection"] = "close"
        return {**headers, "Allow": ", ".join(self.allow)} if self.allow else headers


@dataclass(frozen=True, slots=True)
class Item:
    """One JSON value of a body and its own bytes; `refusal` when these bytes are no JSON."""

    value: Any
    original: bytes
    refusal: Violation | None = None


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed body: the elements of an array, the lines of NDJSON (`many`), or the one value."""

    items: Sequence[Item]
    many: bool = False


def _no_signing(grant: Grant) -> str:  # noqa: ARG001 - stands in for what signs it
    raise LookupError("there are no token keys")


class FeedbackIds(Protocol):
    """Ids under which a vendor's client may speak of its vote again. They tell by themselves whether they are real."""

    def issue(self, tenant_id: str, request_id: str) -> str:
        """A new id for a vote on this request, which may hold no half of a surrogate pair."""
        ...

    def is_issued(self, tenant_id: str, feedback_id: str) -> bool:
        """Whether this text is an id that a gateway made for this tenant."""
        ...


@dataclass(frozen=True, slots=True)
class TenantRules:
    """What one tenant has settled about its own calls. `requesty_scale` is the lowest and highest `rating`."""

    requesty_scale: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """An authorised request. `path` holds the template's placeholders, `headers` have names in lower case.

    `grant` is what the feedback token allows, where one stands for a key. `key_id`, `origins` and `sign` are for those
    who give out tokens.
    """

    path: Mapping[str, str]
    headers: Mapping[str, str]
    body: Body
    tenant_id: str
    source: str
    received_at: int
    new_id: Callable[[], str]
    ids: FeedbackIds
    rules: TenantRules = TenantRules()
    key_id: str = ""
    origins: tuple[str, ...] = ()
    grant: Grant | None = None
    sign: Callable[[Grant], str] = _no_signing

    def event(self, value: object, original: bytes | None, feedback_id: str | None = None) -> FeedbackEvent | Violation:
        """The event that a value in the native form describes, or why there is none.

        `feedback_id` is the id under which a vendor's client may speak of this event again.
        """
        try:
            return parse_event(
                value,
                tenant_id=self.tenant_id,
                source=self.source,
                new_id=self.new_id,
                received_at=self.received_at,
                original=original,
                feedback_id=feedback_id,
            )
        except RefusedError as refused:
            return refused.violation

    def amendment(self, value: object, original: bytes, feedback_id: str) -> FeedbackEvent | Violation:
        """The amendment, by fields in the native form, of the vote that `feedback_id` names, or why there is none."""
        try:
            return parse_amendment(
                value,
                tenant_id=self.tenant_id,
                source=self.source,
                event_id=self.new_id(),
                received_at=self.received_at,
                original=original,
                feedback_id=feedback_id,
            )
        except RefusedError as refused:
            return refused.violation


Result = FeedbackEvent | Violation


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, a JSON value, and headers beyond Content-Type and Content-Length.

    With `plain` the document is a text and leaves as such. A 204 has neither document nor type.
    """

    status: int
    document: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    plain: bool = False


def _any_type(content_type: str) -> Problem | None:  # noqa: ARG001 - the default takes whatever a client says
    return None


@dataclass(frozen=True, slots=True)
class Dialect:
    """One way to speak to the gateway, as pure functions.

    `secret` finds the API key in the headers; `results` makes one event or refusal per item; `reply` answers when all
    events among the results are durable; `trouble` answers when the whole request failed and nothing is promised.
    `reads_body` is False where the path says it all: the body is taken in, and means nothing.
    `needs` is a right that the key must have for anything at all. `token` finds a feedback token in the body where one
    may stand for a key: then `secret` finds it in the headers, and bodies are at most `max_body` bytes.
    """

    name: str
    secret: Callable[[Mapping[str, str]], str | None]
    results: Callable[[Call], Sequence[Result]]
    reply: Callable[[Call, Sequence[Result]], Reply]
    trouble: Callable[[Problem], Reply]
    refuse_type: Callable[[str], Problem | None] = _any_type
    reads_body: bool = True
    needs: str | None = None
    token: Callable[[Body], str | None] | None = None
    max_body: int = 1 << 20


def bearer(headers: Mapping[str, str], name: str = "authorization") -> str | None:
    """The token of a `Bearer` header, whatever the case of the scheme; None when there is none."""
    scheme, _, token = headers.get(name, "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def only(body: Body) -> tuple[dict[str, Any], bytes] | None:
    """The one object that a body is, and its bytes; None when it is anything else, also an array of one."""
    item = body.items[0] if len(body.items) == 1 and not body.many else None
    return (item.value, item.original) if item is not None and isinstance(item.value, dict) else None


def single(call: Call) -> tuple[dict[str, Any], bytes] | None:
    """The one object that the body of a call is."""
    return only(call.body)


def refusal(outcome: Sequence[Result]) -> tuple[int, Violation] | None:
    """Status and cause when something was refused: what a dialect without partial success answers from."""
    found = next((result for result in outcome if isinstance(result, Violation)), None)
    return None if found is None else (403 if found.reason == "forbidden" else 400, found)


def renamed(result: Result, names: Mapping[str, str]) -> Result:
    """A refusal in the caller's words: `names` maps our fields to those that the client sent."""
    if not isinstance(result, Violation) or result.field is None or result.field not in names:
        return result
    name = names[result.field]
    message = result.message
    if message.startswith(f"{result.field} "):
        message = name + message.removeprefix(result.field)
    return Violation(name, result.reason, message)


def permitted(result: Result, rights: frozenset[str]) -> Result:
    """The result itself, or a refusal when its event needs a right that the key does not have."""
    if isinstance(result, Violation):
        return result
    needed = "admin" if result.kind == "erase" else "ingest"
    if needed in rights:
        return result
    return Violation("kind" if needed == "admin" else None, "forbidden", f"this key does not have the right {needed}")
