"""Whatever bytes come in, the gateway answers in JSON, never with a fault of its own, and keeps its books."""

import asyncio
import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import example, given, settings

from producers.gateway import Ingest
from producers.keys import Key
from producers.publisher import MemoryPublisher
from schemas.constraints import REASONS
from thumbstream.telemetry import Metrics

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["request_id", "rating", "x"]), inner),
    max_leaves=8,
)
GOOD = st.builds(lambda number: {"request_id": f"r{number}", "rating": True}, st.integers(0, 9))
EVENTS = st.lists(GOOD | VALUES, max_size=6)
CUT = st.builds(lambda value, end: json.dumps(value).encode()[:end], EVENTS, st.integers(1, 200))
LINES = st.builds(lambda values: b"\n".join(json.dumps(value).encode() for value in values), EVENTS)
BODIES = st.binary(max_size=64) | CUT | LINES | st.builds(lambda value: json.dumps(value).encode(), EVENTS)


class Everybody:
    """A ring on which every secret is a key that may ingest."""

    def find(self, secret: str | None) -> Key | None:
        return Key("id", "acme", frozenset({"ingest"}), (), b"")


def post(path: bytes, kind: bytes, body: bytes) -> tuple[int, Any, MemoryPublisher]:
    publisher = MemoryPublisher()
    ingest = Ingest(publisher, Everybody(), Metrics())
    said: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        said.append(message)

    headers = [(b"content-type", kind), (b"authorization", b"Bearer any")]
    scope = {"type": "http", "method": "POST", "raw_path": path, "headers": headers}
    asyncio.run(ingest(scope, receive, send))
    return said[0]["status"], json.loads(said[1]["body"]), publisher


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([b"application/json", b"application/x-ndjson"]), BODIES)
@example(b"application/json", b"[" * 5_000 + b"]" * 5_000)
@example(b"application/x-ndjson", b"[" * 600 + b"]" * 600)
@example(b"application/x-ndjson", b'"\\ud800"')
def test_natively_every_event_is_either_published_or_refused(kind: bytes, body: bytes) -> None:
    status, document, publisher = post(b"/v1/events", kind, body)
    assert document.keys() == {"accepted", "rejected", "event_ids", "errors"}
    accepted, rejected = document["accepted"], document["rejected"]
    assert accepted == len(publisher.messages) == sum(one is not None for one in document["event_ids"])
    assert status == (200 if not document["errors"] else 207 if accepted else status)
    assert status in (200, 207) if accepted else 400 <= status < 500
    if rejected:
        assert [error["index"] for error in document["errors"]] == [
            index for index, one in enumerate(document["event_ids"]) if one is None
        ]
        assert {error["reason"] for error in document["errors"]} <= set(REASONS)


@settings(max_examples=100, deadline=None)
@given(BODIES | st.sampled_from([b'{"rating":true}', b'{"rating":false}']), st.binary(max_size=8))
def test_as_helicone_every_body_gets_the_envelope(body: bytes, segment: bytes) -> None:
    path = b"/v1/request/" + b"".join(b"%%%02x" % byte for byte in segment or b"r") + b"/feedback"
    status, document, publisher = post(path, b"application/json", body)
    assert document.keys() == {"data", "error"}
    assert (status == 200) == (document["error"] is None) == (len(publisher.messages) == 1)
    assert status == 200 or 400 <= status < 500
