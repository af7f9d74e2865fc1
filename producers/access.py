"""Who may do what at the gateway: API keys, feedback tokens, origins of pages, and rates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol

from starlette.types import Scope

from producers import cors, limits, tokens
from producers.addresses import address
from producers.bodies import ProblemError
from producers.dialects.exchange import Body, Dialect, Problem, Reply
from producers.grants import Grant, is_origin
from producers.keys import Key
from producers.limits import Limiter, Rate
from producers.token_keys import TokenKey

_NO_KEY = Problem("unauthorized", "the API key is missing or unknown")
_NO_TOKENS_HERE = Problem("unauthorized", "this gateway takes no feedback tokens: it has no token keys")
_NO_TOKENS = Problem("forbidden", "this gateway gives out no feedback tokens: it has no token keys")
_FOREIGN = Problem("forbidden", "pages of this origin may not do this")


class KeyRing(Protocol):
    """Who a secret stands for."""

    def find(self, secret: str | None) -> Key | None:
        """The key of a secret, or None."""
        ...


class NamedKeys(Protocol):
    """Keys by their id."""

    def get(self, key_id: str) -> Key | None:
        """The key with this id, or None."""
        ...


class SigningKeys(Protocol):
    """Token keys; `newest` signs."""

    def newest(self) -> TokenKey:
        """The key that signs."""
        ...

    def get(self, key_id: str) -> TokenKey | None:
        """The key with this id, or None."""
        ...


class Tokens:
    """Signs feedback tokens and reads them. A token is worth nothing once its API key may no longer give any."""

    def __init__(self, signing: SigningKeys, keys: NamedKeys) -> None:
        self._signing, self._keys = signing, keys

    def sign(self, grant: Grant) -> str:
        """The token for a grant."""
        return tokens.sign(grant, self._signing.newest())

    def find(self, token: str | None, now: float) -> tuple[Key, Grant] | Problem:
        """Who a token stands for (with the one right to send events) and what it allows at `now`, in epoch seconds."""
        grant = tokens.verify(token, self._signing.get, now)
        if isinstance(grant, Problem):
            return grant
        key = self._keys.get(grant.key_id)
        if key is None or key.tenant != grant.tenant_id or "tokens" not in key.rights:
            return Problem("unauthorized", "the API key that asked for this token may give out none any more")
        return replace(key, rights=frozenset({"ingest"}), origins=grant.origins), grant


def _no_origin(origin: str) -> bool:  # noqa: ARG001 - the default lets no page in
    return False


@dataclass(frozen=True, slots=True)
class Protection:
    """How a gateway protects itself; the default has no tokens, no pages and no limits.

    `key_origins` says whether some key may be used by pages of an origin, `page_origins` whose pages may use tokens
    (none: every page that its token names), `proxies` how many trusted ones stand in front.
    """

    tokens: Tokens | None = None
    key_origins: Callable[[str], bool] = _no_origin
    page_origins: tuple[str, ...] = ()
    per_key: Rate | None = None
    per_token: Rate | None = None
    per_address: Rate | None = None
    proxies: int = 0
    monotonic: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class Caller:
    """Who sends one request, as far as is known by now."""

    peer: str
    forwarded: str
    origin: str | None
    key: Key | None = None
    grant: Grant | None = None
    foreign: bool = False  # a page that may not do this, and is not told more


class Access:
    """The decisions; each raises ProblemError where the answer is no."""

    def __init__(self, keys: KeyRing, protection: Protection) -> None:
        self._keys, self._rules = keys, protection
        self._per_key, self._per_token = Limiter(protection.per_key), Limiter(protection.per_token)
        self._per_address = Limiter(protection.per_address)

    def arrive(self, scope: Scope, headers: Mapping[str, str]) -> Caller:
        """A caller of whom nothing is known but where the request comes from."""
        peer = (scope.get("client") or ("",))[0]
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]  # a proxy may add its own
        return Caller(peer, b", ".join(lines).decode("latin-1"), headers.get("origin"))

    def identify(self, caller: Caller, dialects: Sequence[Dialect], headers: Mapping[str, str], now: float) -> None:
        """Find out who calls from the headers; leaves the key open where a token may follow in the body.

        Whoever is let through to send a body first is counted by address until the body says who it is: so one address
        cannot keep many slow bodies open.
        """
        secrets = [found for dialect in dialects if (found := dialect.secret(headers))]
        if dialects[-1].token is None:
            # a client may carry another service's key beside ours
            caller.key = next((key for secret in secrets if (key := self._keys.find(secret)) is not None), None)
            self._judge(caller)
        elif secrets:
            self._by_token(caller, secrets[0], now)
        else:
            self._judge_page(caller)
            self._limit(self._per_address.take(self._address(caller), self._rules.monotonic()))

    def identify_by_body(self, caller: Caller, dialect: Dialect, body: Body, now: float) -> Key:
        """The caller's key, now that the body is there."""
        if caller.key is None:
            self._per_address.give_back(self._address(caller), self._rules.monotonic())
            self._by_token(caller, dialect.token(body) if dialect.token else None, now)
        assert caller.key is not None
        if dialect.needs is not None:
            self._require(dialect.needs, caller.key)
        return caller.key

    def _require(self, right: str, key: Key) -> None:
        if right not in key.rights:
            raise ProblemError(Problem("forbidden", f"this key does not have the right {right}"))
        if right == "tokens" and self._rules.tokens is None:
            raise ProblemError(_NO_TOKENS)

    def _by_token(self, caller: Caller, token: str | None, now: float) -> None:
        self._judge_page(caller)
        found = self._rules.tokens.find(token, now) if self._rules.tokens else _NO_TOKENS_HERE
        if isinstance(found, Problem):
            self._judge(caller, found)
        else:
            caller.key, caller.grant = found
            self._judge(caller)

    def _judge(self, caller: Caller, unknown: Problem = _NO_KEY) -> None:
        """Unknown callers are limited by address, known ones by key or token; pages must be of an origin it allows."""
        key, now = caller.key, self._rules.monotonic()
        if key is None:
            self._limit(self._per_address.take(self._address(caller), now))
            raise ProblemError(unknown)
        if caller.origin is not None and key.origins and caller.origin not in key.origins:
            self._refuse_page(caller)
        limiter, name = self._bucket(caller)
        self._limit(limiter.take(name, now))

    def _address(self, caller: Caller) -> str:
        return address(caller.peer, caller.forwarded, self._rules.proxies)

    def owner(self, caller: Caller) -> str:
        """In whose name a request is admitted before its body is there: the tenant's, or an address for strangers."""
        return caller.key.tenant if caller.key and not caller.grant else self._address(caller)

    def _judge_page(self, caller: Caller) -> None:
        allowed = self._rules.page_origins
        if caller.origin is not None and allowed and caller.origin not in allowed:
            self._refuse_page(caller)

    def _refuse_page(self, caller: Caller) -> NoReturn:
        caller.foreign = True
        raise ProblemError(_FOREIGN)

    def _bucket(self, caller: Caller) -> tuple[Limiter, str]:
        if caller.grant is not None:
            return self._per_token, f"{caller.grant.tenant_id}|{caller.grant.request_id}"
        return self._per_key, caller.key.id if caller.key else ""

    def _limit(self, wait: float) -> None:
        if wait:
            message = "too many requests: wait as long as Retry-After says"
            raise ProblemError(Problem("rate_limited", message, wait=limits.seconds(wait)))

    def still_waits(self, caller: Caller, problem: Problem) -> bool:
        """Whether `problem` is that this known caller has used up its rate, and would be said once more."""
        if caller.key is None or problem.reason != "rate_limited":
            return False
        limiter, name = self._bucket(caller)
        wait = limiter.wait(name, self._rules.monotonic())
        return wait > 0 and limits.seconds(wait) == problem.wait

    def charge(self, caller: Caller, events: int) -> None:
        """Count the events of a request, the first of which its arrival has paid for: the next ones wait for them."""
        limiter, name = self._bucket(caller)
        limiter.charge(name, self._rules.monotonic(), events - 1)

    def sign(self, grant: Grant) -> str:
        """The token for a grant. LookupError without token keys, which `needs` has ruled out before."""
        if self._rules.tokens is None:
            raise LookupError("there are no token keys")
        return self._rules.tokens.sign(grant)

    def response_headers(self, caller: Caller, dialect: Dialect) -> Mapping[str, str]:
        """The CORS headers of an answer."""
        if caller.origin is None or caller.foreign:
            return cors.VARY
        allowed = self._allows(caller.origin, dialect)
        if dialect.token is None and caller.key is not None:
            allowed = caller.origin in caller.key.origins
        return cors.response_headers(caller.origin) if allowed else cors.VARY

    def preflight(self, caller: Caller, dialect: Dialect, method: str, headers: Mapping[str, str]) -> Reply:
        """The answer to a browser that asks before it sends; who it is for is judged when the request comes."""
        if caller.origin is None or not self._allows(caller.origin, dialect):
            refusal = dialect.trouble(_FOREIGN)
            return replace(refusal, headers={**refusal.headers, **cors.VARY})
        asked = headers.get("access-control-request-headers", "")
        return Reply(204, None, cors.preflight_headers(caller.origin, [method], asked))

    def _allows(self, origin: str, dialect: Dialect) -> bool:
        if dialect.token is None:
            return self._rules.key_origins(origin)
        if self._rules.page_origins:
            return origin in self._rules.page_origins
        return is_origin(origin) or origin == "null"  # nothing else is ever repeated to anybody
