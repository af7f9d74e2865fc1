"""Feedback tokens: a grant as compact JSON Web Signature (HS256) and back. Pure: keys and time come in as arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from jwt import InvalidTokenError, PyJWS

from producers.dialects.exchange import Problem
from producers.grants import Grant, Values
from producers.token_keys import TokenKey

ALGORITHM = "HS256"
TYPE = "feedback+jws"  # so that nothing else that is ever signed with these keys passes for a feedback token
MAX_TOKEN = 16_384  # characters; far more than a grant with all its limits used
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}")
_JWS = PyJWS(algorithms=[ALGORITHM])
_UNKNOWN = Problem("unauthorized", "the token is missing, altered or signed with a key that is not known here")
_EXPIRED = Problem("unauthorized", "the token has expired")


def sign(grant: Grant, key: TokenKey) -> str:
    """The token that says what `grant` says."""
    payload = json.dumps(_claims(grant), separators=(",", ":"), ensure_ascii=False).encode()
    return _JWS.encode(payload, key.secret, ALGORITHM, headers={"kid": key.id, "typ": TYPE})


def verify(token: str | None, key_of: Callable[[str], TokenKey | None], now: float) -> Grant | Problem:
    """What a token allows at `now` (epoch seconds), or why it allows nothing.

    No changed token passes for the same one: the library refuses bits beyond the signature's 32 bytes, and here the
    padding that it would take is refused.
    """
    if not token or len(token) > MAX_TOKEN or not _SHAPE.fullmatch(token):
        return _UNKNOWN
    try:
        header = _JWS.get_unverified_header(token)
        key = key_of(str(header.get("kid")))
        if key is None or header != {"alg": ALGORITHM, "kid": key.id, "typ": TYPE}:
            return _UNKNOWN
        payload = _JWS.decode_complete(token, key.secret, algorithms=[ALGORITHM])["payload"]
        grant = _grant(json.loads(payload))
    except (InvalidTokenError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return _UNKNOWN
    return grant if now < grant.expires_at else _EXPIRED


def _claims(grant: Grant) -> dict[str, Any]:
    values = {"rating": grant.values.rating, "value": grant.values.value, "scale": grant.values.scale}
    claims = {
        "tenant": grant.tenant_id,
        "key": grant.key_id,
        "request": grant.request_id,
        "user": grant.user_id,
        "kinds": grant.kinds,
        "values": {name: value for name, value in values.items() if value},
        "origins": grant.origins,
        "iat": grant.issued_at,
        "exp": grant.expires_at,
    }
    return {name: value for name, value in claims.items() if value is not None}


def _grant(claims: dict[str, Any]) -> Grant:
    values = claims["values"]
    return Grant(
        tenant_id=claims["tenant"],
        key_id=claims["key"],
        request_id=claims["request"],
        user_id=claims.get("user"),
        kinds=tuple(claims["kinds"]),
        values=Values(values.get("rating", False), _range(values.get("value")), _range(values.get("scale"))),
        origins=tuple(claims["origins"]),
        issued_at=int(claims["iat"]),
        expires_at=int(claims["exp"]),
    )


def _range(value: list[float] | None) -> tuple[float, float] | None:
    return (value[0], value[1]) if value else None
