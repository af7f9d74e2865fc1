"""The gateway over a publisher in memory: statuses, the one reply shape, limits, rights, and what is counted."""

import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import capture_logs

from producers import gateway as module
from producers.bodies import MAX_BODY
from producers.gateway import create_app
from producers.keys import Keys, create_key
from producers.publisher import MemoryPublisher
from schemas.codec import Codec
from schemas.events import FeedbackEvent
from thumbstream.telemetry import Metrics

NOON = 1_767_268_800_000
CODEC = Codec()
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}


class Gateway:
    """A gateway in memory, a client with a key that may ingest, and what was published."""

    def __init__(self, directory: Path, **limits: Any) -> None:
        keys = directory / "keys.toml"
        self.secret = create_key(keys, "acme", ["ingest"])
        self.admin = create_key(keys, "acme", ["ingest", "admin"])
        self.reader = create_key(keys, "acme", ["query"])
        self.publisher, self.metrics = MemoryPublisher(), Metrics()
        numbers = count(1)
        self.app = create_app(
            self.publisher,
            Keys(keys),
            self.metrics,
            clock=lambda: NOON,
            new_id=lambda: f"made-{next(numbers)}",
            **limits,
        )

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def talk() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                return await client.request(method, path, **request)

        return asyncio.run(talk())

    def get(self, path: str) -> httpx.Response:
        return self.send("GET", path)

    def post(self, body: Any, path: str = "/v1/events", **headers: str) -> httpx.Response:
        content = body if isinstance(body, (bytes, str)) else json.dumps(body)
        default = {**JSON, "Authorization": f"Bearer {self.secret}"}
        named = {name.replace("_", "-"): value.encode() for name, value in {**default, **headers}.items()}
        return self.send("POST", path, content=content, headers=named)

    @property
    def events(self) -> list[FeedbackEvent]:
        return [CODEC.decode_as(FeedbackEvent, value) for _, value in self.publisher.messages]


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def vote(number: int = 1, **fields: Any) -> dict[str, Any]:
    return {"request_id": f"r{number}", "rating": True, **fields}


def whole(reply: httpx.Response) -> tuple[int, str]:
    """(status, reason) of a reply about a whole request, after a look at its shape."""
    document = reply.json()
    assert (document["accepted"], document["rejected"], document["event_ids"]) == (0, 0, [])
    (error,) = document["errors"]
    assert (error["index"], error["field"]) == (None, None)
    assert error["message"]
    assert reply.headers["content-type"] == "application/json"
    return reply.status_code, error["reason"]


def test_one_event_is_published_and_answered_with_its_id(gateway: Gateway) -> None:
    reply = gateway.post('{"request_id": "r1",  "rating": false}', User_Agent="curl/8.5 (x)")
    assert reply.status_code == 200
    assert reply.json() == {"accepted": 1, "rejected": 0, "event_ids": ["made-1"], "errors": []}
    assert gateway.events == [
        FeedbackEvent(
            "acme", "r1", "made-1", "vote", rating=False, weight=1.0, source="native/curl", received_at=NOON,
            original=b'{"request_id": "r1",  "rating": false}',
        )
    ]  # fmt: skip
    assert gateway.publisher.messages[0][0] == b"acme|r1"


def test_of_a_batch_the_good_events_are_accepted_and_the_others_named(gateway: Gateway) -> None:
    reply = gateway.post([vote(1), vote(2, rating=1), 7, vote(4, event_id="mine", event_time=NOON)])
    assert reply.status_code == 207
    assert reply.json() == {
        "accepted": 2,
        "rejected": 2,
        "event_ids": ["made-1", None, None, "mine"],
        "errors": [
            {"index": 1, "field": "rating", "reason": "wrong_type", "message": "rating must be true or false"},
            {"index": 2, "field": None, "reason": "not_an_object", "message": "an event must be a JSON object"},
        ],
    }
    assert [event.original for event in gateway.events] == [
        b'{"request_id":"r1","rating":true}',
        b'{"request_id":"r4","rating":true,"event_id":"mine","event_time":1767268800000}',
    ]


def test_ndjson_is_read_line_by_line_and_a_bad_line_hurts_only_itself(gateway: Gateway) -> None:
    body = b'{"request_id":"a","rating":true}\r\n\n{"request_id":\n {"request_id":"b","value":-1}\n'
    reply = gateway.post(body, **NDJSON)
    assert reply.status_code == 207
    assert [(error["index"], error["reason"]) for error in reply.json()["errors"]] == [(1, "malformed_json")]
    assert reply.json()["event_ids"] == ["made-1", None, "made-2"]
    assert [event.original for event in gateway.events] == [
        b'{"request_id":"a","rating":true}',
        b'{"request_id":"b","value":-1}',
    ]


def test_a_body_without_a_usable_event_is_400(gateway: Gateway) -> None:
    reply = gateway.post([vote(rating="up"), {}])
    assert (reply.status_code, reply.json()["accepted"], reply.json()["rejected"]) == (400, 0, 2)
    assert reply.json()["event_ids"] == [None, None]
    assert gateway.post("7").json()["errors"][0]["reason"] == "not_an_object"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"{}x", b"nul", b"NaN", b'{"request_id":"r","value":NaN}', b'{"request_id":"r","value":Infinity}',
        b'{"request_id":"r","value":1e999}', b'{"request_id":"r","value":' + b"9" * 5_000 + b"}",
        b'{"request_id":"\\ud800","rating":true}', b'{"request_id":"\xff","rating":true}', b'\xef\xbb\xbf{"a":1}',
        b"[" * 100_000, b'{"request_id":"r","metadata":{"a":' + b"[" * 500 + b"]" * 500 + b"}}",
        b'{"request_id":"r","rating":true,"rating":false}', b'[{"request_id":"r","metadata":{"a":1,"a":2}}]',
    ],
    ids=range(16),
)  # fmt: skip
def test_what_is_no_json_is_refused_whole(gateway: Gateway, body: bytes) -> None:
    assert whole(gateway.post(body)) == (400, "malformed_json")
    assert gateway.events == []


def test_quotes_in_texts_are_no_duplicate_keys(gateway: Gateway) -> None:
    for text in (r'"\"\"\""', r'"\u0022a\u0022"', '"{\\"a\\":1,\\"a\\":2}"'):
        assert gateway.post('{"request_id":"r","comment":' + text + "}").status_code == 200


def test_a_number_beyond_64_bits_is_taken_as_a_double(gateway: Gateway) -> None:
    assert gateway.post('{"request_id":"r","metadata":{"n":18446744073709551617}}').status_code == 200
    assert gateway.events[0].metadata == {"n": "1.8446744073709552e+19"}


def test_limits_of_body_batch_and_event(gateway: Gateway) -> None:
    padded = json.dumps(vote()).encode().ljust(MAX_BODY)
    assert gateway.post(padded).json()["errors"][0]["reason"] == "too_long"  # one event of 1 MiB
    assert whole(gateway.post(padded + b" ")) == (413, "too_large")
    assert gateway.post([vote(n) for n in range(1_000)]).json()["accepted"] == 1_000
    assert whole(gateway.post([vote(n) for n in range(1_001)])) == (413, "too_large")
    lines = "\n".join(json.dumps(vote(n)) for n in range(1_001))
    assert whole(gateway.post(lines, **NDJSON)) == (413, "too_large")
    assert gateway.post([vote(), vote(comment="x" * 262_144)]).status_code == 207
    assert len(gateway.events) == 1_001


@pytest.mark.parametrize(("body", "headers"), [("[]", JSON), ("", NDJSON), ("\n \n", NDJSON)])
def test_a_batch_of_nothing_is_refused(gateway: Gateway, body: str, headers: dict[str, str]) -> None:
    assert whole(gateway.post(body, **headers)) == (400, "empty")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_other_media_types_are_415(gateway: Gateway, headers: dict[str, str]) -> None:
    assert whole(gateway.post(vote(), **headers)) == (415, "unsupported_type")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", ""])
def test_json_may_be_named_in_any_case_or_not_at_all(gateway: Gateway, kind: str) -> None:
    assert gateway.post(vote(), **{"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer x", "Basic {secret}", "{secret}", "Bearer {secret}x", "Bearer é"]
)
def test_without_a_valid_key_nothing_is_read(gateway: Gateway, header: str) -> None:
    reply = gateway.post("{not json", Authorization=header.format(secret=gateway.secret))
    assert whole(reply) == (401, "unauthorized")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_the_scheme_may_be_written_in_any_case(gateway: Gateway, scheme: str) -> None:
    assert gateway.post(vote(), Authorization=f"{scheme} {gateway.secret}").status_code == 200


def test_rights_are_asked_per_event(gateway: Gateway) -> None:
    mixed = [vote(), {"request_id": "r", "kind": "erase"}]
    reply = gateway.post(mixed)
    assert (reply.status_code, reply.json()["errors"][0]["reason"]) == (207, "forbidden")
    assert [event.kind for event in gateway.events] == ["vote"]
    assert gateway.post(mixed, Authorization=f"Bearer {gateway.admin}").status_code == 200
    assert gateway.post(mixed[1:]).status_code == 403
    reply = gateway.post(mixed, Authorization=f"Bearer {gateway.reader}")
    assert (reply.status_code, reply.json()["rejected"]) == (403, 2)


def test_while_the_broker_is_away_nothing_is_promised(gateway: Gateway) -> None:
    gateway.publisher.down = "no broker"
    reply = gateway.post([vote(), {}])
    assert whole(reply) == (503, "unavailable")
    assert int(reply.headers["retry-after"]) >= 1
    assert gateway.metrics.value("events_accepted", dialect="native") == 0
    assert gateway.get("/readyz").json() == {"status": "not ready", "reason": "no broker"}
    assert gateway.get("/readyz").status_code == 503
    assert gateway.get("/healthz").status_code == 200
    gateway.publisher.down = None
    assert gateway.post([vote()]).status_code == 200
    assert gateway.get("/readyz").status_code == 200


def test_an_absent_broker_is_logged_once_and_so_is_its_return(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_log", structlog.get_logger())
    with capture_logs() as logs:
        for down in ("gone", "gone", None, None):
            gateway.publisher.down = down
            gateway.post(vote())
            gateway.post({})
    assert [entry["event"] for entry in logs] == ["publish_failed", "publish_works_again"]


def test_a_body_beyond_what_memory_allows_is_503_and_the_memory_comes_back(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, bodies_bytes=200_000)  # of which one tenant may hold half
    for _ in range(3):
        assert whole(gateway.post(json.dumps(vote()).ljust(50_000))) == (503, "unavailable")
    assert gateway.post(json.dumps(vote()).ljust(30_000)).status_code == 200


def test_unknown_paths_and_methods_are_answered_in_json(gateway: Gateway) -> None:
    assert whole(gateway.get("/v1/nothing")) == (404, "not_found")
    assert whole(gateway.post(vote(), path="/")) == (404, "not_found")
    reply = gateway.get("/v1/events")
    assert whole(reply) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "POST"
    assert gateway.post(vote(), path="/v1/events/").status_code == 200


def test_a_fault_of_ours_is_500_in_json_and_says_nothing_of_its_cause(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret cause")

    monkeypatch.setattr(gateway.publisher, "publish", fail)
    reply = gateway.post(vote())
    assert whole(reply) == (500, "internal")
    assert "cause" not in reply.text


def test_what_happened_is_counted(gateway: Gateway) -> None:
    gateway.post([vote(), vote(rating=3)])
    gateway.post("{")
    gateway.get("/v1/nothing")
    text = gateway.get("/metrics").text
    assert 'thumbstream_events_accepted_total{dialect="native"} 1.0' in text
    assert 'thumbstream_events_refused_total{dialect="native",reason="wrong_type"} 1.0' in text
    assert 'thumbstream_events_refused_total{dialect="native",reason="malformed_json"} 1.0' in text
    assert 'thumbstream_requests_total{dialect="native",status="207"} 1.0' in text
    assert 'thumbstream_requests_total{dialect="native",status="404"} 1.0' in text


@pytest.mark.parametrize(
    ("agent", "source"),
    [
        ("python-httpx/0.28.1", "native/python-httpx"),
        ("Mozilla/5.0 (X11)", "native/Mozilla"),
        ("x" * 99, "native/" + "x" * 64),
        ("", "native"),
        ("a\x01b", "native/ab"),
    ],
)
def test_the_source_names_dialect_and_client(gateway: Gateway, agent: str, source: str) -> None:
    gateway.post(vote(), User_Agent=agent)
    assert gateway.events[0].source == source


class Wire:
    """One request spoken in ASGI messages, for what no well-behaved client does."""

    def __init__(self, gateway: Gateway) -> None:
        self.sent: list[dict[str, Any]] = []
        authorization = f"Bearer {gateway.secret}".encode()
        self.scope = {
            "type": "http", "method": "POST", "path": "/v1/events", "raw_path": b"/v1/events", "query_string": b"",
            "headers": [(b"authorization", authorization)], "root_path": "", "http_version": "1.1", "scheme": "http",
        }  # fmt: skip
        self.app = gateway.app

    async def talk(self, *messages: dict[str, Any]) -> None:
        queue = iter(messages)

        async def receive() -> dict[str, Any]:
            message = next(queue, None)
            return await asyncio.Future() if message is None else message

        async def send(message: Any) -> None:
            self.sent.append(message)

        await self.app(self.scope, receive, send)


def test_a_body_that_does_not_end_is_answered_after_its_time(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, body_seconds=0.05)
    wire = Wire(gateway)
    asyncio.run(wire.talk({"type": "http.request", "body": b"{", "more_body": True}))
    assert wire.sent[0]["status"] == 408
    assert (b"connection", b"close") in wire.sent[0]["headers"]


def test_a_client_that_leaves_is_not_answered_and_nothing_is_published(gateway: Gateway) -> None:
    wire = Wire(gateway)
    body = json.dumps(vote()).encode()
    asyncio.run(wire.talk({"type": "http.request", "body": body, "more_body": True}, {"type": "http.disconnect"}))
    assert wire.sent == []
    assert gateway.events == []


def test_an_endless_body_is_cut_off_without_being_kept(gateway: Gateway) -> None:
    wire = Wire(gateway)
    chunk = {"type": "http.request", "body": b" " * (1 << 20), "more_body": True}
    asyncio.run(wire.talk(*[chunk] * 30))
    assert wire.sent[0]["status"] == 413
    assert (b"connection", b"close") in wire.sent[0]["headers"]
