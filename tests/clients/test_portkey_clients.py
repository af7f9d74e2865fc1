"""Portkey's own clients, unchanged, at fixed versions: create, update, bulk, error, and what they do after a 503."""

from typing import Any

import pytest

from tests.clients.balancer import Trouble, behind, lost, lost_without_our_headers, well
from tests.fixtures.memory_gateway import MemoryGateway
from tests.fixtures.vendor_clients import node_client, python_client, run_node, run_python

pytestmark = pytest.mark.integration

PYTHON = """
import json, sys
import portkey_ai
from portkey_ai.api_resources.exceptions import APIStatusError
url, key = sys.argv[1:]
client = portkey_ai.Portkey(api_key=key, base_url=url + "/v1", Authorization="Bearer sk-of-a-provider")
said = {}
def ids(reply):
    assert reply.status == "success" and reply.message, reply
    return reply.feedback_ids
def refusal(call):
    try:
        call()
    except APIStatusError as error:
        return [type(error).__name__, error.status_code, str(error)]
said["one"] = ids(client.feedback.create(
    trace_id="t1", value=-1, weight=0.5, metadata={"_user": "ann", "_environment": "prod"}))
said["changed"] = ids(client.feedback.update(feedback_id=said["one"][0], value=5))
said["bulk"] = ids(client.feedback.bulk_create(feedbacks=[
    {"trace_id": "t2", "value": 1}, {"trace_id": "t3", "value": 10, "metadata": {"_prompt": "p"}}]))
said["bad"] = refusal(lambda: client.feedback.create(trace_id="t4", value=11))
said["bad bulk"] = refusal(lambda: client.feedback.bulk_create(
    feedbacks=[{"trace_id": "t4", "value": 1}, {"trace_id": "t4", "value": "x"}]))
said["lost"] = refusal(lambda: client.feedback.update(
    feedback_id="00000000-0000-4000-8000-000000000000", value=1))
said["stranger"] = refusal(lambda: portkey_ai.Portkey(api_key="ts_no_key", base_url=url + "/v1").feedback.create(
    trace_id="t4", value=1))
print(json.dumps(said))
"""
NODE = """
import {Portkey} from "portkey-ai";
const [url, key] = process.argv.slice(-2);
const client = new Portkey({apiKey: key, baseURL: url + "/v1"});
const said = {};
const ids = (reply) => reply.feedback_ids ?? reply.data?.feedback_ids;
const refusal = async (call) => {
  try { await call(); } catch (error) { return [error.constructor.name, error.status, String(error.message)]; }
};
said["one"] = ids(await client.feedback.create(
  {traceID: "t1", value: -1, weight: 0.5, metadata: {_user: "ann", _environment: "prod"}}));
said["changed"] = ids(await client.feedback.update({feedbackID: said["one"][0], value: 5}));
said["bulk"] = ids(await client.feedback.create(
  [{traceID: "t2", value: 1}, {traceID: "t3", value: 10, metadata: {_prompt: "p"}}]));
said["bad"] = await refusal(() => client.feedback.create({traceID: "t4", value: 11}));
said["bad bulk"] = await refusal(() => client.feedback.create(
  [{traceID: "t4", value: 1}, {traceID: "t4", value: "x"}]));
said["lost"] = await refusal(() => client.feedback.update(
  {feedbackID: "00000000-0000-4000-8000-000000000000", value: 1}));
const stranger = new Portkey({apiKey: "ts_no_key", baseURL: url + "/v1"});
said["stranger"] = await refusal(() => stranger.feedback.create({traceID: "t4", value: 1}));
console.log(JSON.stringify(said));
"""
PYTHON_503 = """
import json, sys
import portkey_ai
from portkey_ai.api_resources.exceptions import APIStatusError
url, key = sys.argv[1:]
feedback = portkey_ai.Portkey(api_key=key, base_url=url + "/v1").feedback
told = []
def ids(call):
    try:
        return call().feedback_ids
    except APIStatusError as error:
        told.append(error.status_code)
        return call().feedback_ids
one = ids(lambda: feedback.create(trace_id="t1", value=-3, weight=0.5))
changed = ids(lambda: feedback.update(feedback_id=one[0], value=5))
bulk = ids(lambda: feedback.bulk_create(feedbacks=[{"trace_id": "t2", "value": 1}, {"trace_id": "t3", "value": 10}]))
print(json.dumps({"told": told, "one": one, "changed": changed, "bulk": bulk}))
"""
NODE_503 = """
import {Portkey} from "portkey-ai";
const [url, key] = process.argv.slice(-2);
const {feedback} = new Portkey({apiKey: key, baseURL: url + "/v1"});
const told = [];
const ids = async (call) => {
  try { return (await call()).feedback_ids; } catch (error) { told.push(error.status ?? String(error)); }
  return (await call()).feedback_ids;
};
const one = await ids(() => feedback.create({traceID: "t1", value: -3, weight: 0.5}));
const changed = await ids(() => feedback.update({feedbackID: one[0], value: 5}));
const bulk = await ids(() => feedback.create([{traceID: "t2", value: 1}, {traceID: "t3", value: 10}]));
console.log(JSON.stringify({told, one, changed, bulk}));
"""


class Client:
    """One of the two clients: runs a program that speaks to `url` with a key."""

    def __init__(self, language: str) -> None:
        self.language = language

    def use(self, url: str, key: str) -> dict[str, Any]:
        said: dict[str, Any] = self._run(PYTHON if self.language == "python" else NODE, url, key)
        return said

    def lose_answers(self, url: str, key: str) -> dict[str, Any]:
        """Create, update, bulk; a call that fails is made once more."""
        said: dict[str, Any] = self._run(PYTHON_503 if self.language == "python" else NODE_503, url, key)
        return said

    def _run(self, program: str, url: str, key: str) -> Any:
        if self.language == "python":
            return run_python(python_client("portkey", ["portkey-ai==2.3.4"]), program, url, key)
        return run_node(node_client(["portkey-ai@3.1.0"]), program, url, key)


@pytest.fixture(params=["python", "node"])
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


def test_it_creates_updates_and_reads_refusals(gateway: MemoryGateway, url: str, client: Client) -> None:
    said = client.use(url, gateway.key)
    first, change, second, third = gateway.events
    assert said["one"] == said["changed"] == [first.feedback_id] == [change.feedback_id]
    assert said["bulk"] == [second.feedback_id, third.feedback_id]
    assert (first.value, first.weight, first.user_id, change.value, change.weight) == (-1, 0.5, "ann", 5, None)
    rows = gateway.rows
    assert rows.keys() == {"t1", "t2", "t3"}
    vote = rows["t1"].vote
    assert vote is not None
    assert (vote.polarity, vote.value, vote.weight) == (1, 5, 0.5)
    assert (rows["t1"].environment, rows["t3"].prompt_id) == ("prod", "p")
    _refusals_are_read(said)


def _refusals_are_read(said: dict[str, Any]) -> None:
    for call, name, status, code in (
        ("bad", "BadRequestError", 400, "AB01"),
        ("bad bulk", "BadRequestError", 400, "AB01"),
        ("lost", "NotFoundError", 404, "AB08"),
        ("stranger", "AuthenticationError", 401, "AB05"),
    ):
        assert said[call][:2] == [name, status], call
        assert code in said[call][2], call


@pytest.mark.parametrize(("trouble", "told"), [(lost, [503] * 3), (lost_without_our_headers, [])])
def test_lost_answers_leave_one_standing_vote_per_trace_whoever_sends_again(
    gateway: MemoryGateway, client: Client, trouble: Trouble, told: list[int]
) -> None:
    """After our own 503 it is the caller, who is told of it; after anybody else's the client does, and nobody is."""
    with behind(gateway, [trouble, well] * 3) as url:
        said = client.lose_answers(url, gateway.key)
    assert said["told"] == told
    one, changed, bulk = [("vote", -3)], [("amend", 5)], [("vote", 1), ("vote", 10)]
    events = gateway.events
    assert [(event.kind, event.value) for event in events] == 2 * one + 2 * changed + 2 * bulk
    assert said["one"] == said["changed"] == [events[1].feedback_id]
    assert said["bulk"] == [event.feedback_id for event in events[-2:]]
    votes = {row.request_id: row.vote for row in gateway.rows.values() if row.vote}
    assert {trace: (vote.value, vote.weight, vote.feedback_id) for trace, vote in votes.items()} == {
        "t1": (5, 0.5, said["one"][0]),
        "t2": (1, 1, said["bulk"][0]),
        "t3": (10, 1, said["bulk"][1]),
    }
