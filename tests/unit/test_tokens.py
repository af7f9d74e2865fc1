"""Tokens as bytes: one algorithm, one type, known keys, the one spelling; whatever else is refused."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from producers.dialects.exchange import Problem
from producers.grants import Grant, Values
from producers.token_keys import TokenKey
from producers.tokens import sign, verify

KEY, OLD = TokenKey("new", b"n" * 32), TokenKey("old", b"o" * 32)
KEYS = {key.id: key for key in (KEY, OLD)}
GRANT = Grant("acme", "server", "r1", "u-1", ("vote",), Values(True, (-1, 1), (1, 5)), ("https://a.example",), 100, 200)
HEADER = {"alg": "HS256", "kid": "new", "typ": "feedback+jws"}
CLAIMS = json.loads(base64.urlsafe_b64decode(sign(GRANT, KEY).split(".")[1] + "=="))


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def made(header: Any, claims: Any, secret: bytes = KEY.secret, digest: str = "sha256") -> str:
    """A token built by hand, rightly signed."""
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), digest))}"


def refused(token: str | None, now: float = 150) -> bool:
    return isinstance(verify(token, KEYS.get, now), Problem)


def test_what_is_signed_is_read_again() -> None:
    assert verify(sign(GRANT, KEY), KEYS.get, 150) == GRANT
    assert verify(sign(GRANT, OLD), KEYS.get, 150) == GRANT
    assert verify(made(HEADER, CLAIMS), KEYS.get, 150) == GRANT


def test_what_a_token_says_can_be_read_by_anybody() -> None:
    assert CLAIMS == {
        "tenant": "acme", "key": "server", "request": "r1", "user": "u-1", "kinds": ["vote"],
        "values": {"rating": True, "value": [-1, 1], "scale": [1, 5]}, "origins": ["https://a.example"],
        "iat": 100, "exp": 200,
    }  # fmt: skip


def test_it_ends_when_it_says() -> None:
    token = sign(GRANT, KEY)
    assert verify(token, KEYS.get, 199.999) == GRANT
    assert verify(token, KEYS.get, 200) == Problem("unauthorized", "the token has expired")


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "alg": "none"},
        {**HEADER, "alg": "HS512"},
        {**HEADER, "alg": "hs256"},
        {**HEADER, "kid": "unknown"},
        {**HEADER, "kid": "old"},
        {**HEADER, "kid": ["new"]},
        {**HEADER, "kid": None},
        {**HEADER, "typ": "JWT"},
        {**HEADER, "crit": ["b64"], "b64": False},
        {**HEADER, "jwk": {"kty": "oct", "k": encoded(KEY.secret)}},
        {"alg": "HS256", "typ": "feedback+jws"},
        {"alg": "HS256", "kid": "new"},
        [],
        "HS256",
    ],
)
def test_another_header_is_refused_even_when_it_is_rightly_signed(header: Any) -> None:
    assert refused(made(header, CLAIMS))


def test_another_algorithm_or_key_is_refused() -> None:
    assert refused(made({**HEADER, "alg": "HS512"}, CLAIMS, digest="sha512"))
    assert refused(made(HEADER, CLAIMS, secret=OLD.secret))
    assert refused(made(HEADER, CLAIMS, secret=b""))
    unsigned = ".".join(encoded(json.dumps(part).encode()) for part in ({**HEADER, "alg": "none"}, CLAIMS))
    assert refused(unsigned + ".")
    assert refused(unsigned + "." + encoded(hashlib.sha256(unsigned.encode()).digest()))


@pytest.mark.parametrize("claims", [{}, [], 7, {**CLAIMS, "exp": "x"}, {**CLAIMS, "values": 1}, {**CLAIMS, "kinds": 7}])
def test_claims_that_are_none_are_refused(claims: Any) -> None:
    assert refused(made(HEADER, claims))


@pytest.mark.parametrize("text", [None, "", ".", "..", "a.b.c", "é.é.é", "x" * 20_000, "\ud800", "a b.c.d"])
def test_what_is_no_token_is_refused(text: str | None) -> None:
    assert refused(text)


def test_every_other_character_anywhere_is_refused() -> None:
    """The signature alone could have a second spelling, so there each place gets every other character."""
    token = sign(GRANT, KEY)
    signature = token.rindex(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n"
    for place, character in enumerate(token):
        for other in ("", *(alphabet if place >= signature else "A.9")):
            if other != character:
                assert refused(token[:place] + other + token[place + 1 :])
    for more in alphabet:
        assert refused(token + more)
        assert refused(more + token)
