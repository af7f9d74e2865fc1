"""Laws of feedback tokens: no changed one counts, and nothing gets through that the token does not cover."""

import asyncio
import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import assume, example, given, settings

from producers.access import Protection, Tokens
from producers.dialects.exchange import Problem
from producers.gateway import Ingest
from producers.grants import KINDS, Grant, Values
from producers.keys import Key
from producers.publisher import MemoryPublisher
from producers.token_keys import TokenKey
from producers.tokens import sign, verify
from schemas.codec import Codec
from schemas.events import FeedbackEvent
from thumbstream.telemetry import Metrics

KEY = TokenKey("k", b"k" * 32)
CODEC = Codec()
NOW = 1_767_268_800
PAGE = "https://a.example"
TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
NUMBERS = st.floats(-10, 10)
RANGES = st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair)))
VALUES = st.builds(
    Values, rating=st.booleans(), value=st.none() | RANGES, scale=st.sampled_from([None, (1.0, 5.0), (0.0, 10.0)])
)
GRANTS = st.builds(
    Grant,
    tenant_id=st.just("acme"),
    key_id=st.just("server"),
    request_id=TEXTS,
    user_id=st.none() | TEXTS,
    kinds=st.sets(st.sampled_from(KINDS), min_size=1).map(lambda kinds: tuple(sorted(kinds, key=KINDS.index))),
    values=VALUES,
    origins=st.sampled_from([(), (PAGE,)]),
    issued_at=st.just(NOW),
    expires_at=st.integers(NOW + 1, NOW + 100),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "request_id": TEXTS, "user_id": TEXTS, "kind": st.sampled_from([*KINDS, "erase", "preference"]),
    "rating": st.booleans(), "value": NUMBERS, "score": st.sampled_from([0, 1, 5, 7]),
    "scale": st.sampled_from([[1, 5], [0, 10]]), "weight": st.sampled_from([0, 0.5, 1]), "comment": TEXTS,
    "correction": TEXTS, "reasons": st.lists(TEXTS, max_size=2), "tags": st.lists(TEXTS, max_size=2),
    "flagged": st.booleans(), "signal": st.sampled_from(["explicit", "implicit"]),
    "metadata": st.dictionaries(st.sampled_from(["model", "x"]), TEXTS, max_size=1),
    "preference": st.just([{"request_id": "r", "rating": 1}]),
    "event_time": st.integers(NOW * 1000 - 100_000, NOW * 1000 + 200_000),
}  # fmt: skip
BODIES = st.fixed_dictionaries({}, optional=FIELDS)


@given(GRANTS)
def test_a_token_says_what_was_granted(grant: Grant) -> None:
    assert verify(sign(grant, KEY), {"k": KEY}.get, grant.expires_at - 0.001) == grant
    assert isinstance(verify(sign(grant, KEY), {"k": KEY}.get, grant.expires_at), Problem)


@given(GRANTS, st.data())
def test_no_token_with_a_flipped_bit_counts(grant: Grant, data: st.DataObject) -> None:
    token = sign(grant, KEY).encode()
    place, bit = data.draw(st.integers(0, len(token) - 1)), data.draw(st.integers(0, 7))
    flipped = bytes([*token[:place], token[place] ^ 1 << bit, *token[place + 1 :]]).decode("latin-1")
    assert isinstance(verify(flipped, {"k": KEY}.get, NOW), Problem)


@given(GRANTS, st.lists(st.integers(0, 2), min_size=3, max_size=3), GRANTS)
def test_parts_of_two_tokens_make_no_third(grant: Grant, choice: list[int], other: Grant) -> None:
    assume(grant != other and len({one % 2 for one in choice}) > 1)
    pair = [sign(grant, KEY).split("."), sign(other, TokenKey("k", b"j" * 32)).split(".")]
    mixed = ".".join(pair[one % 2][part] for part, one in enumerate(choice))
    found = verify(mixed, {"k": KEY}.get, NOW)
    assert isinstance(found, Problem) or found == grant


class OneKey:
    """A ring on which the only key may give out tokens; it also signs them."""

    def find(self, secret: str | None) -> Key | None:
        return None

    def get(self, key_id: str) -> Any:
        keys = {"server": Key("server", "acme", frozenset({"tokens"}), (), b""), "k": KEY}
        return keys.get(key_id)

    def newest(self) -> TokenKey:
        return KEY


def send(grant: Grant, body: Any, origin: str | None) -> tuple[int, dict[bytes, bytes], list[FeedbackEvent]]:
    publisher, ring = MemoryPublisher(), OneKey()
    protection = Protection(tokens=Tokens(ring, ring))
    ingest = Ingest(publisher, ring, Metrics(), clock=lambda: NOW * 1000, protection=protection)
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def reply(message: Any) -> None:
        said.append(message)

    headers = [(b"authorization", b"Bearer " + sign(grant, KEY).encode())]
    headers += [(b"origin", origin.encode())] if origin else []
    scope = {"type": "http", "method": "POST", "raw_path": b"/v1/token-feedback", "headers": headers}
    asyncio.run(ingest(scope, receive, reply))
    events = [CODEC.decode_as(FeedbackEvent, value) for _, value in publisher.messages]
    return said[0]["status"], dict(said[0]["headers"]), events


@settings(max_examples=150, deadline=None)
@given(GRANTS, BODIES, st.sampled_from([None, PAGE, "https://b.example"]))
@example(Grant("acme", "server", "r", None, KINDS, Values(True), (), NOW, NOW + 1), {"rating": True}, None)
def test_whatever_a_page_sends_only_what_was_granted_gets_through(grant: Grant, body: Any, origin: str | None) -> None:
    if "event_time" in body:
        body["event_id"] = "mine"
    status, headers, events = send(grant, body, origin)
    assert (status == 200) == bool(events)
    assert status in (200, 400, 403)
    if grant.origins and origin not in (None, *grant.origins):
        assert (status, events) == (403, [])
        assert b"access-control-allow-origin" not in headers
    for event in events:
        covers(grant, event)


def covers(grant: Grant, event: FeedbackEvent) -> None:
    """The law, written out once more and differently."""
    assert (event.tenant_id, event.request_id, event.user_id) == (grant.tenant_id, grant.request_id, grant.user_id)
    assert event.kind in grant.kinds
    assert (event.signal, event.tags, event.preference, dict(event.metadata)) == ("explicit", None, None, {})
    assert event.weight == (1.0 if event.kind == "vote" else None)
    assert "context" in grant.kinds or (event.comment, event.reasons, event.flagged) == (None, None, None)
    assert "correction" in grant.kinds or event.correction is None
    assert event.rating is None or grant.values.rating
    if event.value is not None:
        low, high = grant.values.value or (1, 0)
        assert low <= event.value <= high
    if event.score is not None:
        assert (event.scale_min, event.scale_max) == grant.values.scale
    if event.event_time is not None:
        assert NOW - 60 <= event.event_time / 1000 <= grant.expires_at
