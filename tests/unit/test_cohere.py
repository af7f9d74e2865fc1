"""Cohere's feedback calls, those of its 4.x client and those of 3.x."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fixtures.memory_gateway import MemoryGateway

UNSET = dict.fromkeys(
    ("desired_response", "flagged_response", "flagged_reason", "prompt", "annotator_id", "model")
)  # the client always sends every key
GENERATE, PREFERENCE = "/v1/feedback/generate", "/v1/feedback/generate/preference"


class Cohere(MemoryGateway):
    """Calls with the client's own spelling of the scheme."""

    def post(self, path: str, body: Any, key: str | None = None) -> httpx.Response:
        content = body if isinstance(body, str) else json.dumps(body)
        return self.send("POST", path, {"Authorization": f"BEARER {self.key if key is None else key}"}, content)


@pytest.fixture
def cohere(tmp_path: Path) -> Cohere:
    return Cohere(tmp_path)


@pytest.mark.parametrize("good", [True, False])
def test_a_judged_answer_is_a_vote(cohere: Cohere, good: bool) -> None:
    reply = cohere.post(GENERATE, {"request_id": "g1", "good_response": good, **UNSET})
    (event,) = cohere.events
    assert (reply.status_code, reply.json()) == (200, {"id": event.event_id})
    assert (event.kind, event.request_id, event.rating, event.metadata) == ("vote", "g1", good, {})


def test_everything_that_comes_with_it_is_kept(cohere: Cohere) -> None:
    reason = "because " * 20
    given = {
        "desired_response": "",
        "flagged_response": False,
        "flagged_reason": reason,
        "annotator_id": "a",
        "model": "m",
    }
    assert cohere.post(GENERATE, {"request_id": "g", "good_response": True, **UNSET, **given}).status_code == 200
    (event,) = cohere.events
    assert (event.correction, event.flagged, event.user_id) == ("", False, "a")
    assert event.reasons == (reason[:64],)  # a reason is a word; the whole text stays beside it
    assert event.metadata == {"model": '"m"', "flagged_reason": json.dumps(reason)}


def test_a_preference_is_kept_and_changes_no_vote(cohere: Cohere) -> None:
    ratings = [{"request_id": "a", "rating": 0.9, "generation": "one"}, {"request_id": "b", "rating": -3}]
    reply = cohere.post(PREFERENCE, {"ratings": ratings, "prompt": "p", "annotator_id": None, "model": None})
    (event,) = cohere.events
    assert reply.json() == {"id": event.event_id}
    assert [(one.request_id, one.rating, one.response) for one in event.preference or ()] == [
        ("a", 0.9, "one"),
        ("b", -3.0, None),
    ]
    assert cohere.rows.keys() <= {"a"}
    assert all(row.vote is None for row in cohere.rows.values())


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (GENERATE, {"good_response": True}, "request_id"),
        (GENERATE, {"request_id": None, "good_response": True}, "request_id"),
        (GENERATE, {"request_id": 5, "good_response": True}, "request_id"),
        (GENERATE, {"request_id": "g"}, "good_response"),
        (GENERATE, {"request_id": "g", "good_response": "yes"}, "good_response"),
        (GENERATE, {"request_id": "g", "good_response": True, "desired_response": 1}, "desired_response"),
        (GENERATE, {"request_id": "g", "good_response": True, "flagged_response": 1}, "flagged_response"),
        (GENERATE, {"request_id": "g", "good_response": True, "annotator_id": "a\nb"}, "annotator_id"),
        (GENERATE, {"request_id": "g", "good_response": True, "model": {}}, "model"),
        (GENERATE, [], "body"),
        (GENERATE, "{", "JSON"),
        (PREFERENCE, {"ratings": []}, "ratings"),
        (PREFERENCE, {"ratings": None}, "ratings"),
        (PREFERENCE, {"ratings": [1]}, "ratings"),
        (PREFERENCE, {"ratings": [{"request_id": "a"}]}, "ratings[0].rating"),
        (PREFERENCE, {"ratings": [{"request_id": "a", "rating": "1"}]}, "ratings[0].rating"),
        (PREFERENCE, {"ratings": [{"request_id": "a", "rating": 1, "generation": 2}]}, "ratings[0].generation"),
        (PREFERENCE, {"ratings": [{"request_id": "a", "rating": 1}] * 17}, "ratings"),
        ("/feedback", {"id": "g", "good_response": None}, "good_response"),
        ("/feedback", {"id": "", "good_response": True}, "id"),
        ("/feedback", {"id": "g", "good_response": True, "feedback": 1}, "feedback"),
    ],
)
def test_a_refusal_names_the_callers_own_field_in_a_message(cohere: Cohere, path: str, body: Any, field: str) -> None:
    reply = cohere.post(path, body)
    assert (reply.status_code, list(reply.json())) == (400, ["message"])
    assert field in reply.json()["message"]
    assert cohere.events == []


@pytest.mark.parametrize("path", [GENERATE, PREFERENCE, "/feedback", "/check-api-key"])
def test_a_wrong_key_is_a_message(cohere: Cohere, path: str) -> None:
    reply = cohere.post(path, {"good_response": True}, "ts_no_body")
    assert (reply.status_code, list(reply.json())) == (401, ["message"])


@pytest.mark.parametrize("path", [GENERATE, "/feedback"])
def test_an_absent_broker_is_503_with_a_message(cohere: Cohere, path: str) -> None:
    cohere.publisher.down = "away"
    reply = cohere.post(path, {"request_id": "g", "id": "g", "good_response": True})
    assert (reply.status_code, list(reply.json()), reply.headers["retry-after"]) == (503, ["message"], "2")


def test_the_oldest_client_has_its_key_checked_and_then_votes(cohere: Cohere) -> None:
    assert cohere.post("/check-api-key", "").json() == {"valid": True}
    assert cohere.post("/check-api-key", "", cohere.reader).status_code == 403  # it could not vote
    body = {"id": "g1", "good_response": False, "desired_response": "better", "feedback": ""}
    reply = cohere.post("/feedback", body)
    (event,) = cohere.events
    assert reply.json() == {"id": event.event_id}
    assert (event.request_id, event.rating, event.correction, event.comment) == ("g1", False, "better", None)
    assert event.source.startswith("cohere3/")


def test_a_dialect_is_one_module_and_its_routes() -> None:
    """Adding one touches nothing else: whoever names the module is the table of routes."""
    root = Path(__file__).resolve().parents[2]
    places = [path for stage in ("producers", "thumbstream", "schemas") for path in (root / stage).rglob("*.py")]
    sources = {path: path.read_text("utf-8") for path in places}
    assert {path.name for path, text in sources.items() if "cohere3" in text} == {"cohere3.py", "routing.py"}
