"""Helicone's feedback call: the forms of request its clients send, and the forms of answer they read."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from producers.dialects.exchange import Body, Problem
from producers.dialects.helicone import HELICONE
from producers.dialects.native import NATIVE
from producers.dialects.routing import ROUTES, Headers, Route, Router
from producers.gateway import create_app
from producers.keys import Keys, create_key
from producers.publisher import MemoryPublisher
from schemas.codec import Codec
from schemas.events import FeedbackEvent
from thumbstream.telemetry import Metrics

PATH = "/v1/request/req_123abc/feedback"


class Helicone:
    """A gateway in memory, spoken to as Helicone's clients do."""

    def __init__(self, directory: Path, routes: Sequence[Route] = ROUTES) -> None:
        self.publisher = MemoryPublisher()
        self.secret = create_key(directory / "keys.toml", "acme", ["ingest"])
        self.reader = create_key(directory / "keys.toml", "acme", ["query"])
        ring = Keys(directory / "keys.toml")
        self.app = create_app(self.publisher, ring, Metrics(), new_id=lambda: "made", routes=routes)

    @property
    def events(self) -> list[FeedbackEvent]:
        return [Codec().decode_as(FeedbackEvent, value) for _, value in self.publisher.messages]

    def post(self, body: str, path: str = PATH, *, header: str = "Authorization", value: str | None = None) -> Any:
        headers = {header: f"Bearer {self.secret}" if value is None else value, "Content-Type": "application/json"}
        return asyncio.run(self._send(path, body, headers))

    async def _send(self, path: str, body: str, headers: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.post(path, content=body, headers=headers)


@pytest.fixture
def helicone(tmp_path: Path) -> Helicone:
    return Helicone(tmp_path)


@pytest.mark.parametrize("header", ["Authorization", "authorization", "Helicone-Auth"])
@pytest.mark.parametrize(("body", "rating"), [('{"rating": true}', True), ('{"rating":false,"x":1}', False)])
def test_a_rating_becomes_a_vote(helicone: Helicone, header: str, body: str, rating: bool) -> None:
    reply = helicone.post(body, header=header)
    assert (reply.status_code, reply.json()) == (200, {"data": None, "error": None})
    assert reply.headers["content-type"] == "application/json"
    (event,) = helicone.events
    assert (event.kind, event.request_id, event.rating, event.event_id) == ("vote", "req_123abc", rating, "made")
    assert event.source == "helicone/python-httpx"
    assert event.original == body.encode()
    assert event.event_time is None


@pytest.mark.parametrize(
    "body",
    ["", "{", "null", "true", "[]", '[{"rating":true}]', "{}", '{"rating":null}', '{"rating":"true"}', '{"rating":1}'],
)
def test_anything_but_a_boolean_rating_is_400_in_the_envelope(helicone: Helicone, body: str) -> None:
    reply = helicone.post(body)
    assert reply.status_code == 400
    assert reply.json().keys() == {"data", "error"}
    assert reply.json()["data"] is None
    assert isinstance(reply.json()["error"], str)
    assert helicone.events == []


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ts_x_y", "Basic x"])
def test_a_wrong_key_gets_the_vendors_401(helicone: Helicone, value: str) -> None:
    reply = helicone.post('{"rating": true}', value=value)
    assert reply.status_code == 401
    assert reply.json() == {"error": reply.json()["error"], "trace": "isAuthenticated.error"}
    assert reply.json()["error"]


def test_a_key_that_may_not_ingest_is_403_in_the_envelope(helicone: Helicone) -> None:
    reply = helicone.post('{"rating": true}', value=f"Bearer {helicone.reader}")
    assert (reply.status_code, reply.json()["data"]) == (403, None)
    assert "ingest" in reply.json()["error"]


def test_an_absent_broker_is_503_in_the_envelope(helicone: Helicone) -> None:
    helicone.publisher.down = "away"
    reply = helicone.post('{"rating": true}')
    assert (reply.status_code, reply.json()["data"]) == (503, None)
    assert reply.headers["retry-after"]


@pytest.mark.parametrize(
    ("path", "request_id"),
    [
        ("/v1/request/a%2Fb%20c/feedback", "a/b c"),
        ("/v1/request/a/feedback/", "a"),
        ("/v1/request/%C3%A9/feedback?x=1", "é"),
        ("/v1/request/request/feedback", "request"),
    ],
)
def test_the_id_is_one_segment_of_the_path_as_encoded(helicone: Helicone, path: str, request_id: str) -> None:
    assert helicone.post('{"rating": true}', path).status_code == 200
    assert helicone.events[0].request_id == request_id


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/request//feedback", 400),
        ("/v1/request/a/b/feedback", 404),
        ("/v1/request/%ff/feedback", 400),
        ("/v1/request/%00/feedback", 400),
        (f"/v1/request/{'a' * 257}/feedback", 400),
    ],
)
def test_an_id_that_is_none_is_refused(helicone: Helicone, path: str, status: int) -> None:
    assert helicone.post('{"rating": true}', path).status_code == status
    assert helicone.events == []


def _has_rating_only(headers: Headers, body: Body) -> bool:
    return list(body.items[0].value) == ["rating"]


def test_dialects_may_share_a_path_and_are_told_apart_by_the_body(tmp_path: Path) -> None:
    path = "/v1/feedback/{request_id}"
    shared = Helicone(tmp_path, (Route("POST", path, HELICONE, _has_rating_only), Route("POST", path, NATIVE)))
    assert shared.post('{"rating": true}', "/v1/feedback/a").json() == {"data": None, "error": None}
    assert shared.post('{"rating": true, "request_id": "b"}', "/v1/feedback/a").json()["accepted"] == 1
    assert shared.post("{", "/v1/feedback/a").json()["errors"]  # the most general one answers what cannot be told
    assert [event.source for event in shared.events] == ["helicone/python-httpx", "native/python-httpx"]


def test_a_path_knows_its_methods() -> None:
    refused = Router().match("PUT", "/v1/events")
    assert isinstance(refused, Problem)
    assert (refused.status, refused.allow) == (405, ("POST",))


def test_a_path_that_is_spelt_out_is_no_placeholders() -> None:
    refused = Router().match("PUT", "/v1/feedback/generate")
    assert isinstance(refused, Problem)
    assert refused.allow == ("POST",)
    assert not isinstance(Router().match("PUT", "/v1/feedback/generated"), Problem)
