"""Requesty's feedback call: free data that merges key by key, and what of it is a vote."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from producers.dialects.exchange import TenantRules
from schemas.events import FeedbackEvent
from tests.fixtures.memory_gateway import MemoryGateway

STARS = {"acme": TenantRules((1.0, 5.0))}


class Requesty(MemoryGateway):
    """Calls as the vendor's page shows them."""

    def give(self, body: Any, path: str = "/feedback/chat-1", key: str | None = None) -> httpx.Response:
        content = body if isinstance(body, str) else json.dumps(body)
        return self.send("POST", path, {"Authorization": f"Bearer {self.key if key is None else key}"}, content)

    def polarity(self, data: dict[str, Any]) -> int | None:
        """What one call with `data` says."""
        self.publisher.messages.clear()
        assert self.give({"data": data}).status_code == 200
        event: FeedbackEvent = self.events[0]
        assert (event.polarity is None) == (event.kind == "context")
        return event.polarity


@pytest.fixture
def requesty(tmp_path: Path) -> Requesty:
    return Requesty(tmp_path)


@pytest.mark.parametrize("path", ["/feedback/chat-1", "/feedback/chat-1/"])
def test_a_call_is_answered_with_id_and_word(requesty: Requesty, path: str) -> None:
    reply = requesty.give({"data": {"helpful": True}}, path)
    assert (reply.status_code, reply.json()) == (200, {"id": "chat-1", "status": "accepted"})


@pytest.mark.parametrize(
    ("data", "plain", "with_stars"),
    [
        ({"helpful": True}, 1, 1),
        ({"helpful": False, "thumbs": "up", "rating": 5}, -1, -1),
        ({"thumbs": "down"}, -1, -1),
        ({"thumbs": "up", "rating": 1}, 1, 1),
        ({"rating": 5}, None, 1),
        ({"rating": 3}, None, 0),
        ({"rating": 1.5}, None, -1),
        ({"rating": "5"}, None, None),
        ({"rating": True}, None, None),
        ({"helpful": "yes"}, None, None),
        ({"helpful": None, "rating": 2}, None, -1),
        ({"thumbs": "sideways"}, None, None),
        ({"thumbs": ["up"]}, None, None),
    ],
)
def test_what_is_a_vote(tmp_path: Path, data: dict[str, Any], plain: int | None, with_stars: int | None) -> None:
    assert Requesty(tmp_path).polarity(data) == plain
    assert Requesty(tmp_path, rules=STARS).polarity(data) == with_stars


def test_a_rating_beside_a_vote_is_no_score(tmp_path: Path) -> None:
    requesty = Requesty(tmp_path, rules=STARS)
    for data in ({"helpful": True, "rating": 10}, {"thumbs": "up", "rating": 1}):
        assert requesty.polarity(data) == 1
        (event,) = requesty.events
        assert (event.score, event.scale_min, event.metadata["rating"]) == (None, None, str(data["rating"]))


def test_the_scale_of_one_tenant_is_not_anothers(tmp_path: Path) -> None:
    assert Requesty(tmp_path, rules={"other": TenantRules((1.0, 5.0))}).polarity({"rating": 5}) is None


def test_a_rating_outside_the_scale_is_refused_by_name(tmp_path: Path) -> None:
    reply = Requesty(tmp_path, rules=STARS).give({"data": {"rating": 10}})
    assert (reply.status_code, reply.json()) == (400, {"error": "data.rating must lie within scale"})


def test_calls_merge_key_by_key_and_the_last_call_with_a_vote_stands(requesty: Requesty) -> None:
    requesty.give({"data": {"helpful": True, "page": "cart", "nested": {"a": 1}, "message": "good"}})
    requesty.give({"data": {"helpful": False, "nested": {"b": 2}}})
    requesty.give({"data": {"page": None, "tags": ["slow"]}})
    row = requesty.rows["chat-1"]
    assert row.vote is not None
    assert (row.vote.polarity, row.comment, row.tags) == (-1, "good", ("slow",))
    assert {name: json.loads(text) for name, text in row.metadata.items()} == {
        "helpful": False, "nested": {"b": 2}, "message": "good", "tags": ["slow"],
    }  # fmt: skip


def test_values_of_another_shape_than_a_field_needs_stay_metadata(requesty: Requesty) -> None:
    data = {"message": 1, "tags": "a", "user_id": {"id": 1}, "rating": "great"}
    assert requesty.give({"data": data}).status_code == 200
    (event,) = requesty.events
    assert (event.kind, event.comment, event.tags, event.user_id) == ("context", None, None, None)
    assert {name: json.loads(text or "") for name, text in event.metadata.items()} == data


@pytest.mark.parametrize(
    ("data", "field", "kept"),
    [
        ({"tags": ["x" * 65]}, "tags", None),
        ({"tags": ["x"] * 33}, "tags", None),
        ({"user_id": 17}, "user_id", "17"),
        ({"user_id": "u" * 129}, "user_id", None),
        ({"user_id": "a\nb"}, "user_id", None),
    ],
)
def test_what_a_register_cannot_hold_is_no_reason_to_refuse(
    requesty: Requesty, data: dict[str, Any], field: str, kept: str | None
) -> None:
    assert requesty.give({"data": data}).status_code == 200
    assert getattr(requesty.events[0], field) == kept


def test_empty_data_is_no_error_and_no_event(requesty: Requesty) -> None:
    assert requesty.give({"data": {}}).status_code == 200
    assert requesty.give({"data": {}}, key=requesty.reader).status_code == 403
    assert requesty.events == []


@pytest.mark.parametrize("path", ["/feedback/%ff", "/feedback/%ED%A0%80", "/feedback/a%00b", f"/feedback/{'x' * 257}"])
def test_an_id_that_no_event_could_have_is_refused_also_where_data_is_empty(requesty: Requesty, path: str) -> None:
    for body in ('{"data": {}}', '{"data": {"helpful": true}}'):
        reply = requesty.give(body, path)
        assert (reply.status_code, list(reply.json())) == (400, ["error"])
    assert requesty.events == []


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "{}", '{"data": null}', '{"data": []}', '{"data": "x"}', '[{"data": {"helpful": true}}]']
)
def test_data_must_be_an_object(requesty: Requesty, body: str) -> None:
    reply = requesty.give(body)
    assert (reply.status_code, list(reply.json())) == (400, ["error"])
    assert reply.json()["error"]
    assert requesty.events == []


def test_other_refusals_have_the_same_form(requesty: Requesty) -> None:
    good = {"data": {"helpful": True}}
    assert (requesty.give(good, key="x").status_code, requesty.give(good, key=requesty.reader).status_code) == (
        401,
        403,
    )
    too_many = requesty.give({"data": {str(number): 1 for number in range(65)}})
    assert (too_many.status_code, too_many.json()) == (400, {"error": "data must hold at most 64 keys"})
    assert requesty.give('{"data": "' + "x" * (1 << 20) + '"}').status_code == 413
    requesty.publisher.down = "away"
    refused = requesty.give(good)
    assert (refused.status_code, refused.headers["retry-after"], list(refused.json())) == (503, "2", ["error"])
    for reason in ("unauthorized", "forbidden", "too_long", "too_large"):
        assert requesty.metrics.value("events_refused", dialect="requesty", reason=reason) == 1
