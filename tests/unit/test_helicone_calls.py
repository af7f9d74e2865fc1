"""Helicone's other calls: sessions, the older feedback call, properties, scores and logs."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.events import FeedbackEvent
from tests.fixtures.memory_gateway import MemoryGateway

ENVELOPE = {"data": None, "error": None}


class Helicone(MemoryGateway):
    """Calls as Helicone's clients make them."""

    def call(self, path: str, body: Any, method: str = "POST", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": f"Bearer {self.key}", **named}
        return self.send(method, path, sent, body if isinstance(body, str) else json.dumps(body))

    def legacy(self, body: Any, key: str | None = None) -> httpx.Response:
        headers = {"Helicone-Auth": f"Bearer {self.key if key is None else key}"}
        return self.send("POST", "/v1/feedback", headers, body if isinstance(body, str) else json.dumps(body))

    @property
    def event(self) -> FeedbackEvent:
        (event,) = self.events
        return event


@pytest.fixture
def helicone(tmp_path: Path) -> Helicone:
    return Helicone(tmp_path)


def test_a_sessions_rating_is_kept_apart_from_a_requests(helicone: Helicone) -> None:
    reply = helicone.call("/v1/session/s1/feedback/", {"rating": False})
    assert (reply.status_code, reply.json()) == (200, ENVELOPE)
    assert (helicone.event.request_id, helicone.event.rating) == ("session:s1", False)
    assert helicone.event.metadata == {"target": '"session"'}


@pytest.mark.parametrize("rating", [True, False])
def test_the_older_body_names_its_request_itself(helicone: Helicone, rating: bool) -> None:
    reply = helicone.legacy({"helicone-id": "not-a-uuid", "rating": rating})
    assert (reply.status_code, reply.json()) == (
        200,
        {"message": "Feedback added successfully.", "helicone_id": "not-a-uuid"},
    )
    assert (helicone.event.request_id, helicone.event.rating) == ("not-a-uuid", rating)


@pytest.mark.parametrize(
    ("value", "kind", "rating"), [(True, "vote", True), (4.5, "context", None), ("fine", "context", None)]
)
def test_of_the_oldest_bodys_named_values_a_boolean_is_a_vote(
    helicone: Helicone, value: Any, kind: str, rating: bool | None
) -> None:
    reply = helicone.legacy({"helicone-id": "h", "name": "taste", "value": value, "data-type": "boolean"})
    assert reply.status_code == 200
    assert (helicone.event.kind, helicone.event.rating) == (kind, rating)
    assert json.loads(helicone.event.metadata["feedback.taste"] or "") == value


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"helicone-id": "", "rating": True}, "Invalid helicone-id format."),
        ({"helicone-id": 7, "rating": True}, "Invalid helicone-id format."),
        ({"helicone-id": "h"}, "Invalid rating format. Expected a boolean."),
        ({"helicone-id": "h", "rating": "true"}, "Invalid rating format. Expected a boolean."),
        ({"helicone-id": "h", "name": "", "value": 1}, "Invalid name format. Expected a string."),
        ({"helicone-id": "h", "name": "n", "value": None}, "Invalid value format."),
        ({"helicone-id": "h" * 257, "rating": True}, "request_id must be at most 256 bytes"),
        ("{", "not JSON"),
    ],
)
def test_the_older_calls_errors_are_plain_text(helicone: Helicone, body: Any, text: str) -> None:
    reply = helicone.legacy(body)
    assert (reply.status_code, reply.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert text in reply.text
    assert helicone.events == []


def test_the_older_calls_other_refusals_are_plain_text_too(helicone: Helicone) -> None:
    good = {"helicone-id": "h", "rating": True}
    assert helicone.legacy(good, "ts_no_body").status_code == 401
    assert helicone.legacy(good, helicone.reader).status_code == 403
    helicone.publisher.down = "away"
    refused = helicone.legacy(good)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    for reply in (refused, helicone.legacy(good, "ts_no_body")):
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        assert reply.text


@pytest.mark.parametrize("path", ["/v1/feedback", "/v1/request/h/feedback"])
def test_a_providers_key_beside_ours_does_no_harm(helicone: Helicone, path: str) -> None:
    headers = {"Authorization": "Bearer sk-of-a-provider", "Helicone-Auth": f"Bearer {helicone.key}"}
    reply = helicone.send("POST", path, headers, '{"helicone-id": "h", "rating": true}')
    assert reply.status_code == 200
    assert helicone.event.request_id == "h"


def test_a_property_becomes_metadata_and_a_dimension_where_it_is_one(helicone: Helicone) -> None:
    reply = helicone.call("/v1/request/r/property", {"key": "environment", "value": "beta"}, "PUT")
    assert (reply.status_code, reply.json()) == (200, ENVELOPE)
    assert (helicone.event.kind, helicone.event.metadata) == ("context", {"environment": '"beta"'})
    assert helicone.rows["r"].environment == "beta"


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ([1], "key and value"),
        ({"key": "k"}, "value"),
        ({"key": 1, "value": "v"}, "key"),
        ({"key": "", "value": "v"}, "key"),
    ],
)
def test_a_property_that_is_none_is_400(helicone: Helicone, body: Any, word: str) -> None:
    reply = helicone.call("/v1/request/r/property", body, "PUT")
    assert reply.status_code == 400
    assert word in reply.json()["error"]


def test_scores_are_201_and_merge_key_by_key(helicone: Helicone) -> None:
    first = helicone.call("/v1/request/r/score", {"scores": {"accuracy": 0.5, "fluent": True}})
    helicone.call("/v1/request/r/score", {"scores": {"accuracy": 0.75}})
    assert (first.status_code, first.json()) == (201, ENVELOPE)
    assert helicone.rows["r"].metadata == {"score.accuracy": "0.75", "score.fluent": "true"}
    assert helicone.rows["r"].vote is None


@pytest.mark.parametrize(
    "body", [{}, {"scores": []}, {"scores": {"a": "high"}}, {"scores": {}}, {"scores": {"a": None}}]
)
def test_scores_that_are_none_are_400(helicone: Helicone, body: Any) -> None:
    assert helicone.call("/v1/request/r/score", body).status_code == 400
    assert helicone.events == []


OPENAI = {
    "providerRequest": {
        "url": "custom-model-nopath",
        "json": {"model": "atlas-2", "messages": [{"role": "user", "content": "hi"}]},
        "meta": {"Helicone-Property-App": "shop", "Helicone-User-Id": "from-meta"},
    },
    "providerResponse": {"status": 200, "headers": {}, "json": {"choices": [{"message": {"content": "hello"}}]}},
    "timing": {
        "startTime": {"seconds": 1_767_268_800, "milliseconds": 250},
        "endTime": {"seconds": 0, "milliseconds": 0},
    },
}


def test_a_log_is_context_of_its_request(helicone: Helicone) -> None:
    headers = {"Helicone_Request_Id": "req-1", "Helicone_User_Id": "anna", "Helicone_Property_Plan": "pro"}
    reply = helicone.call("/oai/v1/log", OPENAI, **headers)
    assert (reply.status_code, reply.text, reply.headers["helicone-id"]) == (200, "ok", "req-1")
    event = helicone.event
    assert (event.kind, event.request_id, event.user_id, event.event_time) == (
        "context",
        "req-1",
        "anna",
        1_767_268_800_250,
    )
    assert {name: json.loads(text or "") for name, text in event.metadata.items()} == {
        "provider": "openai",
        "model": "atlas-2",
        "status": 200,
        "prompt": [{"role": "user", "content": "hi"}],
        "response": "hello",
        "app": "shop",
        "plan": "pro",
    }


def test_a_vote_joins_the_log_of_its_request_in_either_order(helicone: Helicone) -> None:
    for first, second in (("a", "b"), ("b", "a")):
        calls = {
            "a": lambda: helicone.call("/custom/v1/log", OPENAI, Helicone_Request_Id="req"),
            "b": lambda: helicone.call("/v1/request/req/feedback", {"rating": False}),
        }
        helicone.publisher.messages.clear()
        calls[first]()
        calls[second]()
        row = helicone.rows["req"]
        assert row.vote is not None
        assert (row.vote.polarity, row.model, row.app) == (-1, "atlas-2", "shop")


def test_a_log_without_an_id_gets_one(helicone: Helicone) -> None:
    reply = helicone.call("/anthropic/v1/log", {"providerRequest": {}})
    assert reply.headers["helicone-id"] == helicone.event.request_id
    assert helicone.event.metadata == {"provider": '"anthropic"'}


@pytest.mark.parametrize("path", ["/v1/trace/custom/v1/log", "/v1/trace/custom/log"])
def test_a_trace_log_is_answered_with_nothing(helicone: Helicone, path: str) -> None:
    reply = helicone.call(path, OPENAI)
    assert (reply.status_code, reply.content) == (204, b"")
    assert not {"content-type", "content-length"} & set(reply.headers)
    assert helicone.event.metadata["model"] == '"atlas-2"'
    assert helicone.call(path, []).json()["error"]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"content": [{"type": "text", "text": "whole"}]}', "whole"),
        (
            '{"choices": [{"delta": {"content": "in "}}]}\n{"choices": []}\n'
            '{"choices": [{"delta": {"content": "parts"}}]}',
            "in parts",
        ),
        (
            '{"choices": [{"delta": {"content": "a\u2028b\u0085"}}]}\r\n\n{"choices": [{"delta": {"content": "c"}}]}\n',
            "a\u2028b\u0085c",
        ),
        (
            r'{"choices": [{"delta": {"content": "\ud83d"}}]}' "\n" r'{"choices": [{"delta": {"content": "\ude00"}}]}',
            "\U0001f600",
        ),
        ("just words", "just words"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_an_answer_logged_as_text_is_read(helicone: Helicone, text: str, answer: str) -> None:
    log = {"providerRequest": {}, "providerResponse": {"status": 200, "json": {}, "textBody": text}}
    assert helicone.call("/custom/v1/log", log).status_code == 200
    assert json.loads(helicone.event.metadata["response"] or "") == answer


@pytest.mark.parametrize(
    ("path", "response"),
    [
        ("/oai/v1/log", {"choices": [{"text": "old form"}]}),
        ("/oai/v1/log", {"output_text": "new form"}),
        ("/anthropic/v1/log", {"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}),
        ("/googleapis/v1/log", {"candidates": [{"content": {"parts": [{"text": "in parts"}]}}]}),
    ],
)
def test_every_providers_form_of_an_answer_is_read(helicone: Helicone, path: str, response: dict[str, Any]) -> None:
    log = {"providerRequest": {"json": {}}, "providerResponse": {"json": response}}
    assert helicone.call(path, log).status_code == 200
    assert json.loads(helicone.event.metadata["response"] or "") in ("old form", "new form", "in parts")


@pytest.mark.parametrize(
    ("response", "counts"),
    [
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 6}}, (3, 2, 6)),
        ({"usage": {"input_tokens": 3, "output_tokens": 2}}, (3, 2, 5)),
        ({"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5}}, (3, 2, 5)),
        ({"usage": {"input_tokens": "3"}}, (None, None, None)),
    ],
)
def test_what_a_call_cost_is_kept(helicone: Helicone, response: dict[str, Any], counts: tuple[int | None, ...]) -> None:
    timing = {"startTime": {"seconds": 1_767_268_800, "milliseconds": 900}, "timeToFirstToken": 70}
    timing["endTime"] = {"seconds": 1_767_268_802, "milliseconds": 100}
    log = {"providerRequest": {}, "providerResponse": {"json": response}, "timing": timing}
    assert helicone.call("/custom/v1/log", log).status_code == 200
    kept = {name: json.loads(text or "") for name, text in helicone.event.metadata.items()}
    assert (kept["latency"], kept["time_to_first_token"]) == (1200, 70)
    assert tuple(kept.get(f"{name}_tokens") for name in ("prompt", "completion", "total")) == counts


@pytest.mark.parametrize(
    ("sent", "kept"), [("ÄÖ".encode(), "ÄÖ"), ("Ä".encode("latin-1"), "Ä")], ids=["as UTF-8", "as Latin-1"]
)
def test_headers_beyond_ascii_are_read_and_sent_back(helicone: Helicone, sent: bytes, kept: str) -> None:
    headers: Any = {"Authorization": f"Bearer {helicone.key}".encode(), "Helicone-Request-Id": sent}
    reply = helicone.send("POST", "/custom/v1/log", headers, json.dumps(OPENAI))
    assert helicone.event.request_id == kept
    assert reply.headers["helicone-id"] == kept


def test_an_impossible_start_is_no_reason_to_refuse_a_log(helicone: Helicone) -> None:
    for start in ({"seconds": 1e300}, {"seconds": "x"}, {"seconds": 5}, None, {"seconds": True, "milliseconds": []}):
        assert helicone.call("/custom/v1/log", {**OPENAI, "timing": {"startTime": start}}).status_code == 200
    assert {event.event_time for event in helicone.events} == {None}


@pytest.mark.parametrize(("url", "target", "path"), [
    ("https://api.example/v1/chat/completions", "https://api.example/v1/chat/completions", '"/v1/chat/completions"'),
    ("https://u:p@g.example:8443/v1beta/m?key=secret#x", "https://g.example:8443/v1beta/m", '"/v1beta/m"'),
    ("http://[::1]:11434", "http://[::1]:11434", '"/"'),
    ("", None, None), ("custom", None, None), ("https://", None, None), ("https://[", None, None), (7, None, None),
    ("ftp://a/b", None, None),
])  # fmt: skip
def test_where_the_model_was_asked_is_kept_without_its_secrets(
    helicone: Helicone, url: Any, target: str | None, path: str | None
) -> None:
    assert helicone.call("/custom/v1/log", {"providerRequest": {"url": url}}).status_code == 200
    kept = helicone.event.metadata
    assert (kept.get("target_url"), kept.get("path")) == (None if target is None else json.dumps(target), path)


def test_of_a_log_that_is_too_long_the_texts_are_left_out(helicone: Helicone) -> None:
    long = {**OPENAI, "providerRequest": {**OPENAI["providerRequest"], "json": {"model": "m", "prompt": "x" * 300_000}}}
    reply = helicone.call("/oai/v1/log", long, Helicone_Request_Id="req-1", Helicone_Property_Plan="pro")
    assert (reply.status_code, reply.headers["helicone-id"]) == (200, "req-1")
    assert helicone.event.metadata.keys() == {"provider", "model", "status", "app", "plan"}
    assert helicone.event.original is None
    too_much = helicone.call("/oai/v1/log", OPENAI, Helicone_Property_Plan="x" * 300_000)
    assert too_much.status_code == 400
    assert len(helicone.events) == 1


@pytest.mark.parametrize(("method", "path"), [("PUT", "/v1/request/r/feedback"), ("GET", "/v1/session/s/feedback")])
def test_another_method_is_refused_in_the_envelope(helicone: Helicone, method: str, path: str) -> None:
    reply = helicone.call(path, {"rating": True}, method)
    assert (reply.status_code, reply.json(), reply.headers["allow"]) == (
        405, {"data": None, "error": "this path takes POST"}, "POST",
    )  # fmt: skip


@pytest.mark.parametrize(("method", "path", "field", "body"), [
    ("POST", "request//feedback", "request_id", {"rating": True}),
    ("POST", "session//feedback", "session_id", {"rating": True}),
    ("PUT", "request//property", "request_id", {"key": "plan", "value": "pro"}),
    ("POST", "request//score", "request_id", {"scores": {"speed": 1}}),
])  # fmt: skip
def test_an_empty_id_is_refused_in_the_envelope(
    helicone: Helicone, method: str, path: str, field: str, body: dict[str, Any]
) -> None:
    reply = helicone.call(f"/v1/{path}", body, method)
    assert (reply.status_code, reply.json()["data"]) == (400, None)
    assert field in reply.json()["error"]
    assert helicone.events == []


def test_a_fault_of_ours_has_the_form_that_the_body_asks_for(
    helicone: Helicone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(helicone.publisher, "publish", fail)
    for body, kind in (
        ({"helicone-id": "h", "rating": True}, "text/plain"),
        ({"trace_id": "t", "value": 1}, "application/json"),
    ):
        reply = helicone.call("/v1/feedback", body)
        assert (reply.status_code, reply.headers["content-type"].partition(";")[0]) == (500, kind)
    assert helicone.metrics.value("requests", dialect="helicone", status="500") == 1
