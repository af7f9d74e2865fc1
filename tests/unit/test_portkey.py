"""Portkey's feedback calls: every form of request its documents and clients show, and the forms of answer they read.

Where each form was seen: the vendor's documentation and OpenAPI file, and captures of portkey-ai 2.3.4 (Python) and
3.1.0 (Node).
"""

import asyncio
import json
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from producers.feedback_ids import unshared_ids
from producers.gateway import create_app
from producers.keys import Keys, create_key
from producers.publisher import MemoryPublisher
from schemas.codec import Codec
from schemas.events import FeedbackEvent
from schemas.feedback_ids import hash_in
from schemas.topics import murmur2
from thumbstream.telemetry import Metrics

PATH = "/v1/feedback"
ESCAPE = {"x-portkey-trace-id", "x-portkey-request-id", "x-portkey-gateway-exception"}


class Portkey:
    """A gateway in memory, spoken to as Portkey's clients do."""

    def __init__(self, directory: Path) -> None:
        keys = directory / "keys.toml"
        self.secret, self.other = create_key(keys, "acme", ["ingest"]), create_key(keys, "other", ["ingest"])
        self.reader = create_key(keys, "acme", ["query"])
        self.publisher, self.metrics, numbers = MemoryPublisher(), Metrics(), count(1)
        self.app = create_app(
            self.publisher,
            Keys(keys),
            self.metrics,
            new_id=lambda: f"made-{next(numbers)}",
            feedback_ids=unshared_ids(),
        )

    @property
    def events(self) -> list[FeedbackEvent]:
        return [Codec().decode_as(FeedbackEvent, value) for _, value in self.publisher.messages]

    def send(self, method: str, path: str, body: Any, headers: dict[str, str] | None = None) -> httpx.Response:
        content = body if isinstance(body, (str, bytes)) else json.dumps(body)
        return asyncio.run(self._send(method, path, content, headers or {"x-portkey-api-key": self.secret}))

    async def _send(self, method: str, path: str, body: str | bytes, headers: dict[str, str]) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, content=body, headers=headers)

    def post(self, body: Any, path: str = PATH, **headers: str) -> httpx.Response:
        return self.send("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def saved(self, body: Any, path: str = PATH) -> list[str]:
        """Post, and give the ids of a success."""
        reply = self.post(body, path)
        document = reply.json()
        assert (reply.status_code, document["status"], sorted(document)) == (
            200, "success", ["feedback_ids", "message", "status"],
        )  # fmt: skip
        ids: list[str] = document["feedback_ids"]
        return ids

    def put(self, feedback_id: str, body: Any, path: str = "/v1/feedback/") -> httpx.Response:
        return self.send("PUT", path + feedback_id, body)


@pytest.fixture
def portkey(tmp_path: Path) -> Portkey:
    return Portkey(tmp_path)


def refused(reply: httpx.Response) -> tuple[int, str, str]:
    """(status, code, message) of an error, after a look at its shape."""
    document = reply.json()
    assert (document.keys(), document["data"].keys()) == ({"success", "data"}, {"message", "errorCode"})
    assert document["success"] is False
    assert reply.headers["content-type"] == "application/json"
    return reply.status_code, document["data"]["errorCode"], document["data"]["message"]


def one(**fields: Any) -> dict[str, Any]:
    return {"trace_id": "t1", "value": 1, **fields}


@pytest.mark.parametrize("path", ["/v1/feedback", "/v1/feedback/", "/feedback", "/feedback/"])
def test_a_feedback_becomes_a_vote_under_an_id_that_names_its_partition(portkey: Portkey, path: str) -> None:
    body = '{"trace_id": "t|1", "value": -5, "weight": 0.5, "text": "too long"}'
    (feedback_id,) = portkey.saved(body, path)
    (event,) = portkey.events
    assert (event.kind, event.request_id, event.event_id, event.event_time) == ("vote", "t|1", "made-1", None)
    assert (event.value, event.polarity, event.weight, event.comment) == (-5, -1, 0.5, "too long")
    assert (event.feedback_id, event.source, event.original) == (feedback_id, "portkey/python-httpx", body.encode())
    assert hash_in(feedback_id) == murmur2(portkey.publisher.messages[0][0])


def test_the_weight_is_one_unless_it_is_given(portkey: Portkey) -> None:
    portkey.saved([one(), one(weight=None), one(weight=0)])
    assert [event.weight for event in portkey.events] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("sent", "stored"), [(10, 10), (-10, -10), (0, 0), (3.0, 3), ("1", 1), ("-10", -10), ("+2", 2), ("007", 7)]
)
def test_an_integer_is_a_value_also_as_a_text(portkey: Portkey, sent: object, stored: int) -> None:
    portkey.saved(one(value=sent))
    assert portkey.events[0].value == stored


@pytest.mark.parametrize(
    "value", [0.5, True, False, "0.5", "", " 1", "one", "1e1", [1], {}, 11, -11, "11", "9999", 1e300]
)
def test_a_value_that_is_no_integer_within_the_range_is_refused(portkey: Portkey, value: object) -> None:
    status, code, message = refused(portkey.post(one(value=value)))
    assert (status, code) == (400, "AB01")
    assert message.startswith("value: value must be an integer")
    assert portkey.events == []


def test_the_documents_other_name_of_the_trace_is_taken(portkey: Portkey) -> None:
    portkey.saved({"traceID": "t1", "value": 1})
    portkey.saved({"trace_id": "t2", "traceID": "t3", "value": 1})
    portkey.saved({"trace_id": None, "traceID": "t4", "value": 1})
    assert [event.request_id for event in portkey.events] == ["t1", "t2", "t4"]


def test_metadata_is_taken_with_what_the_vendor_indexes_where_our_views_have_it(portkey: Portkey) -> None:
    metadata = {"_user": "ann", "_environment": "prod", "_prompt": "p1", "_organisation": "o", "n": 1, "gone": None}
    portkey.saved([one(metadata=metadata), one(metadata=json.dumps(metadata))])
    for event in portkey.events:
        assert event.user_id == "ann"
        assert event.metadata == {
            "environment": '"prod"', "prompt_id": '"p1"', "_organisation": '"o"', "n": "1", "gone": None,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("metadata", "user", "kept"),
    [
        ({"_user": ""}, None, {}),
        ({"_user": 7}, None, {"_user": "7"}),
        ({"_user": None}, None, {"_user": None}),
        ({"_environment": "a", "environment": "b"}, None, {"environment": '"a"'}),
        ({}, None, {}),
        ("{}", None, {}),
        (None, None, {}),
        ("null", None, {}),
    ],
)
def test_odd_metadata(portkey: Portkey, metadata: object, user: str | None, kept: dict[str, str | None]) -> None:
    portkey.saved(one(metadata=metadata))
    assert (portkey.events[0].user_id, portkey.events[0].metadata) == (user, kept)


def test_keys_that_mean_nothing_are_passed_over_and_kept_in_the_original(portkey: Portkey) -> None:
    portkey.saved('{"trace_id": "t1", "value": 1, "extra": [1]}')
    assert b"extra" in (portkey.events[0].original or b"")


def test_an_array_is_answered_with_its_ids_in_order(portkey: Portkey) -> None:
    ids = portkey.saved([one(trace_id=f"t{number}") for number in range(30)])
    assert [event.feedback_id for event in portkey.events] == ids
    assert [event.request_id for event in portkey.events] == [f"t{number}" for number in range(30)]
    assert json.loads(portkey.events[3].original or b"") == one(trace_id="t3")


def test_the_node_client_s_object_with_numbers_for_keys_is_an_array(portkey: Portkey) -> None:
    numbered = {str(number): {"traceID": f"t{number}", "value": 1} for number in (10, 0, 2)}
    ids = portkey.saved(numbered)
    assert [event.request_id for event in portkey.events] == ["t0", "t2", "t10"]
    assert [event.feedback_id for event in portkey.events] == ids
    assert json.loads(portkey.events[0].original or b"") == {"traceID": "t0", "value": 1}


@pytest.mark.parametrize("shape", ["array", "object"])
def test_one_bad_feedback_keeps_all_of_them_out(portkey: Portkey, shape: str) -> None:
    items = [one(), one(value=0.5), one(trace_id=""), one()]
    body: Any = items if shape == "array" else {str(number): item for number, item in enumerate(items)}
    status, code, message = refused(portkey.post(body))
    assert (status, code) == (400, "AB01")
    assert message.startswith("[1].value: ")
    assert portkey.events == []
    assert portkey.metrics.value("events_refused", dialect="portkey", reason="wrong_type") == 1
    assert portkey.metrics.value("events_accepted", dialect="portkey") == 0


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"value": 1}, "trace_id: trace_id is required"),
        (one(trace_id=7), "trace_id: trace_id must be a string"),
        (one(trace_id="x" * 257), "trace_id: trace_id must be at most 256 bytes"),
        (one(trace_id="a\u0000b"), "trace_id: trace_id must not hold control characters"),
        ({"trace_id": "t"}, "value: value is required"),
        (one(value=None), "value: value is required"),
        (one(weight=1.1), "weight: weight must be a number from 0 to 1"),
        (one(weight="1"), "weight: weight must be a number"),
        (one(text=1), "text: text must be a string"),
        (one(metadata=[]), "metadata: metadata must be an object"),
        (one(metadata="{"), "metadata: metadata is a text that is not JSON"),
        (one(metadata='{"a": 1, "a": 2}'), "metadata: metadata is a text that is not JSON"),
        (one(metadata='{"a": NaN}'), "metadata.a: "),
        (one(metadata='{"a": "\\ud800"}'), "metadata.a: "),
        (one(metadata="[" * 100_000), "metadata: metadata is a text that is not JSON"),
        (one(metadata={"_user": "x" * 129}), "metadata._user: metadata._user must be at most 128 bytes"),
        (one(metadata={"": 1}), "metadata: "),
        ({"0": one(), "1": 7}, "[1]: a feedback must be an object"),
        ({"0": one(), "x": 7}, "trace_id: trace_id is required"),
        ({}, "trace_id: trace_id is required"),
        ([], "there is no event in the body"),
        ([7], "a feedback must be an object"),
        ("7", "a feedback must be an object"),
        ("null", "a feedback must be an object"),
        ("{", "the body is not JSON"),
        ("", "the body is not JSON"),
        ('{"trace_id": "t", "trace_id": "u", "value": 1}', "the body is not JSON: an object has the same key twice"),
        ({str(number): one() for number in range(1_001)}, "a body must hold at most 1000 feedbacks"),
        ('{"0": ' + '{"a":' * 1_000 + "1" + "}" * 1_000 + "}", ""),
    ],
)  # fmt: skip
def test_a_bad_body_is_answered_with_field_and_reason(portkey: Portkey, body: Any, complaint: str) -> None:
    status, code, message = refused(portkey.post(body))
    assert (status, code) == (400, "AB01")
    assert complaint in message
    assert portkey.events == []


@pytest.mark.parametrize("name", ["x-portkey-api-key", "X-Portkey-Api-Key", "Authorization"])
def test_either_header_carries_the_key(portkey: Portkey, name: str) -> None:
    value = f"Bearer {portkey.secret}" if name == "Authorization" else portkey.secret
    assert portkey.send("POST", PATH, one(), {name: value}).status_code == 200


def test_the_vendor_s_own_header_goes_before_a_provider_s_authorization(portkey: Portkey) -> None:
    both = {"x-portkey-api-key": portkey.secret, "Authorization": "Bearer sk-of-a-provider"}
    assert portkey.send("POST", PATH, one(), both).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/feedback"), ("PUT", "/v1/feedback/x"), ("POST", "/feedback")]
)
def test_a_wrong_key_and_a_missing_right_have_codes_of_their_own(portkey: Portkey, method: str, path: str) -> None:
    header = {"x-portkey-api-key": "ts_no_key"}
    assert refused(portkey.send(method, path, one(), header))[:2] == (401, "AB05")
    if method == "POST":
        header = {"x-portkey-api-key": portkey.reader}
        assert refused(portkey.send(method, path, one(), header))[:2] == (403, "AB03")


def test_when_the_broker_is_away_the_answer_keeps_the_clients_from_sending_again(portkey: Portkey) -> None:
    (feedback_id,) = portkey.saved(one())
    portkey.publisher.down = "away"
    for reply in (portkey.post(one()), portkey.put(feedback_id, {"value": 2})):
        assert refused(reply)[:2] == (503, "AB04")
        assert ESCAPE & reply.headers.keys()
        assert reply.headers["retry-after"]


def test_an_error_that_is_the_client_s_own_has_no_escape_header(portkey: Portkey) -> None:
    assert not ESCAPE & portkey.post(one(value=0.5)).headers.keys()


@pytest.mark.parametrize("path", ["/v1/feedback/", "/feedback/"])
@pytest.mark.parametrize("end", ["", "/"])
def test_a_put_right_after_its_post_becomes_an_amendment_of_that_id(portkey: Portkey, path: str, end: str) -> None:
    (feedback_id,) = portkey.saved(one(value=-1))
    body = '{"value": 4, "weight": 0.25, "text": "better", "metadata": {"_user": "bob", "_prompt": "p2", "x": 1}}'
    reply = portkey.send("PUT", path + feedback_id + end, body)
    assert (reply.status_code, reply.json()["feedback_ids"]) == (200, [feedback_id])
    assert reply.json()["status"] == "success"
    _, event = portkey.events
    assert (event.kind, event.tenant_id, event.request_id, event.feedback_id) == ("amend", "acme", "", feedback_id)
    assert (event.event_id, event.event_time, event.source) == ("made-2", None, "portkey/python-httpx")
    assert (event.value, event.weight, event.comment, event.user_id) == (4, 0.25, "better", "bob")
    assert event.metadata == {"prompt_id": '"p2"', "x": "1"}
    assert event.original == body.encode()
    assert portkey.publisher.messages[1][0] == f"acme||{feedback_id}".encode()


@pytest.mark.parametrize(
    ("body", "value", "weight"),
    [
        ({"value": 0}, 0, None),
        ({"weight": 0.5}, None, 0.5),
        ({"value": "-3", "feedback_id": "whatever", "trace_id": "another"}, -3, None),
        ({"value": 1, "weight": None, "metadata": None}, 1, None),
    ],
)
def test_a_put_says_only_what_it_changes(portkey: Portkey, body: Any, value: Any, weight: Any) -> None:
    (feedback_id,) = portkey.saved(one())
    assert portkey.put(feedback_id.upper(), body).status_code == 200
    event = portkey.events[1]
    assert (event.value, event.weight, event.rating, event.metadata) == (value, weight, None, {})
    assert (event.request_id, event.feedback_id) == ("", feedback_id)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "the amendment says nothing"),
        ({"trace_id": "t2", "feedback_id": "x"}, "the amendment says nothing"),
        ({"value": 1.5}, "value: "),
        ({"value": 1, "weight": 2}, "weight: "),
        ([{"value": 1}], "a feedback must be an object"),
        ("7", "a feedback must be an object"),
        ("{", "the body is not JSON"),
    ],
)
def test_a_bad_put_is_answered_with_field_and_reason(portkey: Portkey, body: Any, complaint: str) -> None:
    (feedback_id,) = portkey.saved(one())
    status, code, message = refused(portkey.put(feedback_id, body))
    assert (status, code) == (400, "AB01")
    assert complaint in message
    assert len(portkey.events) == 1


def test_an_id_that_no_gateway_made_for_this_tenant_is_not_found(portkey: Portkey) -> None:
    (feedback_id,) = portkey.saved(one())
    last = "0" if feedback_id[-1] != "0" else "1"
    for wrong in (feedback_id[:-1] + last, "7" * 36, "x", "%ff", "99999999-9999-8999-8999-999999999999"):
        assert refused(portkey.put(wrong, {"value": 1}))[:2] == (404, "AB08")
    stranger = {"x-portkey-api-key": portkey.other}
    assert refused(portkey.send("PUT", f"/v1/feedback/{feedback_id}", {"value": 1}, stranger))[:2] == (404, "AB08")
    assert len(portkey.events) == 1
    assert portkey.metrics.value("events_refused", dialect="portkey", reason="not_found") == 6


def test_a_client_s_own_method_on_a_path_of_ours_is_told_what_goes_there(portkey: Portkey) -> None:
    for method, path, allowed in (
        ("GET", "/v1/feedback", "POST"), ("PUT", "/v1/feedback", "POST"), ("POST", "/v1/feedback/some-id", "PUT"),
    ):  # fmt: skip
        reply = portkey.send(method, path, one())
        assert refused(reply) == (405, "AB01", f"this path takes {allowed}")
        assert reply.headers["allow"] == allowed


def test_an_array_is_ours_whatever_its_items_hold(portkey: Portkey) -> None:
    (feedback_id,) = portkey.saved([one(**{"helicone-id": "h", "good_response": True})])
    assert [event.feedback_id for event in portkey.events] == [feedback_id]
    assert refused(portkey.post([{"helicone-id": "h"}]))[:2] == (400, "AB01")


def test_a_comment_may_lie_in_the_metadata(portkey: Portkey) -> None:
    portkey.saved(one(metadata={"text": "wrong year", "plan": "pro"}))
    portkey.saved(one(text="said", metadata={"text": "kept"}))
    portkey.saved(one(metadata={"text": 5}))
    assert [(event.comment, event.metadata) for event in portkey.events] == [
        ("wrong year", {"plan": '"pro"'}), ("said", {"text": '"kept"'}), (None, {"text": "5"}),
    ]  # fmt: skip
