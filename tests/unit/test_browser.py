"""Feedback tokens over HTTP: what a server may ask for, what a page may do with one, and how the rest is refused."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from producers.token_keys import rotate
from schemas.events import FeedbackEvent
from tests.fixtures.site import ELSEWHERE, NOON, PAGE, Site, refusal


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_page_votes_on_the_answer_of_its_token_as_the_person_of_its_token(site: Site) -> None:
    reply = site.vote(site.token(user_id="u-1"), headers={"User-Agent": "Mozilla/5.0 (X)"})
    assert reply.status_code == 200
    (event_id,) = reply.json()["event_ids"]
    assert reply.json() == {"accepted": 1, "rejected": 0, "event_ids": [event_id], "errors": []}
    assert site.events == [
        FeedbackEvent(
            "acme", "r1", event_id, "vote", rating=True, weight=1.0, user_id="u-1", source="browser/Mozilla",
            received_at=NOON * 1000, original=b'{"rating": true}',
        )
    ]  # fmt: skip


@pytest.mark.parametrize("seconds", [60, 60.0])
def test_a_token_says_when_it_expires_and_then_does(site: Site, seconds: float) -> None:
    reply = site.ask(expires_in=seconds)
    assert reply.json()["expires_at"] == "2026-01-01T12:01:00Z"
    token = reply.json()["token"]
    site.now = NOON + 59.9
    assert site.vote(token).status_code == 200
    site.now = NOON + 60
    assert refusal(site.vote(token)) == (401, None, "unauthorized")
    assert "expired" in site.vote(token).text
    assert len(site.events) == 1


def test_without_a_word_on_it_a_token_lasts_a_day_and_allows_thumbs_retraction_and_comment(site: Site) -> None:
    assert site.ask().json()["expires_at"] == "2026-01-02T12:00:00Z"
    token = site.token()
    allowed: list[dict[str, Any]] = [
        {"rating": False, "comment": "no", "reasons": ["wrong"]}, {"kind": "retract"}, {"comment": "x"},
    ]  # fmt: skip
    assert [site.vote(token, body).status_code for body in allowed] == [200] * 3
    refused: list[tuple[dict[str, Any], str]] = [
        ({"value": 1}, "value"),
        ({"score": 1, "scale": [1, 5]}, "scale"),
        ({"correction": "x"}, "kind"),
        ({"rating": True, "correction": "x"}, "correction"),
        ({"kind": "erase"}, "kind"),
    ]
    for wrong, field in refused:
        assert refusal(site.vote(token, wrong)) == (403, field, "forbidden")


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"request_id": None}, "request_id", "missing"),
        ({"request_id": ""}, "request_id", "missing"),
        ({"request_id": 7}, "request_id", "wrong_type"),
        ({"request_id": "x" * 257}, "request_id", "too_long"),
        ({"request_id": "a\x00"}, "request_id", "out_of_range"),
        ({"user_id": "u" * 129}, "user_id", "too_long"),
        ({"user_id": 1}, "user_id", "wrong_type"),
        ({"kinds": []}, "kinds", "empty"),
        ({"kinds": "vote"}, "kinds", "wrong_type"),
        ({"kinds": ["vote", "erase"]}, "kinds", "unknown_kind"),
        ({"values": []}, "values", "wrong_type"),
        ({"values": {"stars": True}}, "values.stars", "unknown_field"),
        ({"values": {"rating": "yes"}}, "values.rating", "wrong_type"),
        ({"values": {"value": 1}}, "values.value", "wrong_type"),
        ({"values": {"value": [0, True]}}, "values.value", "wrong_type"),
        ({"values": {"value": [1, -1]}}, "values.value", "out_of_range"),
        ({"values": {"value": [-11, 1]}}, "values.value", "out_of_range"),
        ({"values": {"scale": [5, 5]}}, "values.scale", "out_of_range"),
        ({"values": {"scale": [-1.7e308, 1.7e308]}}, "values.scale", "out_of_range"),
        ({"origins": "https://a.example"}, "origins", "wrong_type"),
        ({"origins": ["https://a.example/"]}, "origins", "out_of_range"),
        ({"origins": ["https://a.example:443"]}, "origins", "out_of_range"),
        ({"origins": ["*"]}, "origins", "out_of_range"),
        ({"origins": [f"https://{n}.example" for n in range(17)]}, "origins", "too_long"),
        ({"expires_in": 0}, "expires_in", "out_of_range"),
        ({"expires_in": 2_592_001}, "expires_in", "out_of_range"),
        ({"expires_in": 1.5}, "expires_in", "wrong_type"),
        ({"expires_in": True}, "expires_in", "wrong_type"),
        ({"rating": True}, "rating", "unknown_field"),
    ],
)
def test_what_no_token_can_say_is_refused_by_field_and_reason(
    site: Site, fields: dict[str, Any], field: str, reason: str
) -> None:
    assert refusal(site.ask(**fields)) == (400, field, reason)


def test_a_body_that_is_no_object_gets_no_token(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.server}"}
    for body in ([], "x", [{"request_id": "r"}]):
        reply = site.send("POST", "/v1/feedback-tokens", headers=headers, json=body)
        assert (reply.status_code, reply.json()["accepted"]) == (400, 0)


def test_only_a_key_with_the_right_tokens_gets_one_and_it_need_not_have_another(site: Site) -> None:
    assert refusal(site.ask(site.reader)) == (403, None, "forbidden")
    assert refusal(site.ask("ts_nobody_x")) == (401, None, "unauthorized")
    assert site.vote(site.token(site.other)).status_code == 200
    assert site.events[0].tenant_id == "other"
    headers = {"Authorization": f"Bearer {site.other}"}
    reply = site.send("POST", "/v1/events", headers=headers, json={"request_id": "r", "rating": True})
    assert reply.status_code == 403


def test_without_token_keys_none_is_given_and_none_is_taken(site: Site, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    bare = Site(tmp_path / "bare", tokens=None)
    assert refusal(bare.ask()) == (403, None, "forbidden")
    assert refusal(bare.vote(site.token())) == (401, None, "unauthorized")
    assert bare.events == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"rating": True, "request_id": "r2"}, "request_id"),
        ({"rating": True, "user_id": "somebody"}, "user_id"),
        ({"rating": True, "metadata": {"model": "x"}}, "metadata"),
        ({"rating": True, "tags": ["x"]}, "tags"),
        ({"rating": True, "signal": "implicit"}, "signal"),
        ({"rating": True, "signal": "explicit"}, "signal"),
        ({"rating": True, "weight": 1}, "weight"),
        ({"preference": [{"request_id": "r1", "rating": 1}]}, "preference"),
    ],
)
def test_what_goes_beyond_the_token_is_forbidden_by_name(site: Site, body: dict[str, Any], field: str) -> None:
    for user in ("u-1", None):
        assert refusal(site.vote(site.token(user_id=user), body)) == (403, field, "forbidden")
    assert site.events == []


def test_ids_that_are_the_tokens_own_may_be_said(site: Site) -> None:
    body = {"rating": True, "request_id": "r1", "user_id": "u-1", "metadata": None}
    assert site.vote(site.token(user_id="u-1"), body).status_code == 200
    assert site.vote(site.token(), {"rating": True, "user_id": None}).status_code == 200


def test_values_are_what_the_token_says(site: Site) -> None:
    token = site.token(values={"value": [-1, 1], "scale": [1, 5]})
    for body in ({"value": -1}, {"value": 0.5}, {"score": 2, "scale": [1, 5]}):
        assert site.vote(token, body).status_code == 200
    assert refusal(site.vote(token, {"value": 1.01})) == (403, "value", "forbidden")
    assert refusal(site.vote(token, {"score": 2, "scale": [1, 6]})) == (403, "scale", "forbidden")
    assert refusal(site.vote(token, {"rating": True})) == (403, "rating", "forbidden")
    assert refusal(site.vote(token, {"value": 0, "rating": True})) == (403, "rating", "forbidden")


def test_a_correction_alone_may_be_what_a_token_is_for(site: Site) -> None:
    token = site.token(kinds=["correction"])
    assert site.vote(token, {"correction": "Paris"}).status_code == 200
    assert refusal(site.vote(token, {"rating": True})) == (403, "kind", "forbidden")
    assert refusal(site.vote(token, {"correction": "Paris", "comment": "x"})) == (403, "comment", "forbidden")


def test_long_texts_and_many_events_are_refused(site: Site) -> None:
    token = site.token()
    assert site.vote(token, {"comment": "x" * 10_000}).status_code == 200
    assert refusal(site.vote(token, {"comment": "x" * 10_001})) == (400, "comment", "too_long")
    assert refusal(site.vote(token, {"comment": "x" * 65_536})) == (413, None, "too_large")
    assert site.vote(token, [{"rating": True}] * 10).status_code == 200
    assert refusal(site.vote(token, [{"rating": True}] * 11)) == (400, None, "too_long")


def test_an_event_lies_within_the_life_of_its_token(site: Site) -> None:
    token = site.token(expires_in=3600)
    for time, status in ((-60_001, 400), (-60_000, 200), (0, 200), (3_600_000, 200), (3_600_001, 400)):
        body = {"rating": True, "event_id": "e", "event_time": NOON * 1000 + time}
        assert site.vote(token, body).status_code == status
    assert refusal(site.vote(token, {"rating": True, "event_id": "e"})) == (400, "event_time", "missing")


def test_of_an_array_the_good_ones_are_accepted(site: Site) -> None:
    reply = site.vote(site.token(), [{"rating": True}, {"rating": 1}, {"comment": "x"}, 7, {"value": 1}])
    assert reply.status_code == 207
    assert [(error["index"], error["reason"]) for error in reply.json()["errors"]] == [
        (1, "wrong_type"), (3, "not_an_object"), (4, "forbidden"),
    ]  # fmt: skip
    assert [event.kind for event in site.events] == ["vote", "context"]


@pytest.mark.parametrize("kind", ["text/plain;charset=UTF-8", "application/json", ""])
def test_the_token_may_come_in_the_body_and_is_not_kept(site: Site, kind: str) -> None:
    token = site.token()
    body = {"token": token, "rating": False, "comment": "né"}
    assert site.vote(None, body, headers={"Content-Type": kind}).status_code == 200
    assert site.events[0].original == '{"rating":false,"comment":"né"}'.encode()
    assert token not in repr(site.publisher.messages)


def test_a_token_in_both_places_or_in_no_usable_one_is_refused(site: Site) -> None:
    token = site.token()
    assert refusal(site.vote(token, {"token": token, "rating": True})) == (400, "token", "unknown_field")
    for body in ({"rating": True}, {"token": 7, "rating": True}, [{"token": token, "rating": True}], 7):
        assert refusal(site.vote(None, body)) == (401, None, "unauthorized")
    assert refusal(site.vote(None, "{")) == (400, None, "malformed_json")
    assert refusal(site.vote(token, {}, headers={"Content-Type": "text/html"})) == (415, None, "unsupported_type")


def test_api_keys_are_no_tokens_and_tokens_no_api_keys(site: Site) -> None:
    assert refusal(site.vote(site.server)) == (401, None, "unauthorized")
    for path in ("/v1/events", "/v1/feedback-tokens"):
        headers = {"Authorization": f"Bearer {site.token()}"}
        reply = site.send("POST", path, headers=headers, json={"request_id": "r1", "rating": True})
        assert reply.status_code == 401


def test_a_token_ends_with_the_key_that_asked_for_it(site: Site) -> None:
    token, other = site.token(), site.token(site.other)
    sections = site.keys_file.read_text().split("\n\n")
    site.keys_file.write_text("\n\n".join(section for section in sections if 'id = "server"' not in section))
    site.now += 2
    assert refusal(site.vote(token)) == (401, None, "unauthorized")
    assert site.vote(other).status_code == 200
    site.keys_file.write_text(site.keys_file.read_text().replace('tenant = "other"', 'tenant = "third"'))
    site.now += 2
    assert refusal(site.vote(other)) == (401, None, "unauthorized")


def test_a_token_ends_when_its_key_loses_the_right_to_give_any(site: Site) -> None:
    token = site.token()
    site.keys_file.write_text(site.keys_file.read_text().replace('["ingest", "tokens"]', '["ingest"]', 1))
    site.now += 2
    assert refusal(site.vote(token)) == (401, None, "unauthorized")


def test_old_token_keys_verify_until_they_are_removed(site: Site) -> None:
    now = datetime.fromtimestamp(NOON, UTC)
    first = site.token()
    rotate(site.token_keys_file, now)
    site.now += 2
    second = site.token()
    assert [site.vote(token).status_code for token in (first, second)] == [200, 200]
    rotate(site.token_keys_file, now, keep=2)
    site.now += 2
    assert [site.vote(token).status_code for token in (first, second)] == [401, 200]


def test_every_other_method_changes_nothing(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.token()}", "Origin": PAGE}
    for path in ("/v1/token-feedback", "/v1/feedback-tokens"):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            reply = site.send(method, path, headers=headers, params={"rating": "true", "token": site.token()})
            assert reply.status_code == 405
            assert reply.headers["allow"] == "POST"
    assert site.events == []


def test_a_page_that_the_token_does_not_name_is_refused_and_told_nothing(site: Site) -> None:
    token = site.token(origins=[PAGE])
    assert site.vote(token, origin=PAGE).status_code == 200
    for origin in (ELSEWHERE, "null", PAGE + ":8443", "http://chat.example", "https://CHAT.example"):
        reply = site.vote(token, origin=origin)
        assert refusal(reply) == (403, None, "forbidden")
        assert "access-control-allow-origin" not in reply.headers
        reply = site.vote(None, {"token": token, "rating": True}, origin=origin)
        assert refusal(reply) == (403, None, "forbidden")
        assert "access-control-allow-origin" not in reply.headers
    assert site.vote(token, origin=None).status_code == 200
    assert len(site.events) == 2


def test_a_key_that_is_bound_to_origins_gives_tokens_for_these_only(site: Site) -> None:
    token = site.token(site.in_page)
    assert refusal(site.vote(token, origin=ELSEWHERE)) == (403, None, "forbidden")
    assert site.vote(token, origin=PAGE).status_code == 200
    assert refusal(site.ask(site.in_page, origins=[ELSEWHERE])) == (403, "origins", "forbidden")


def test_what_is_sent_again_is_the_same_event(site: Site) -> None:
    body = json.dumps({"rating": True, "event_id": "e1", "event_time": NOON * 1000})
    token = site.token()
    for _ in range(2):
        site.vote(token, body)
    first, second = site.events
    assert first == second


def test_what_happened_is_counted(site: Site) -> None:
    site.vote(site.token())
    site.vote(site.token(), {"rating": True, "request_id": "r2"})
    site.vote("x")
    assert site.metrics.value("events_accepted", dialect="browser") == 1
    assert site.metrics.value("events_refused", dialect="browser", reason="forbidden") == 1
    assert site.metrics.value("events_refused", dialect="browser", reason="unauthorized") == 1
