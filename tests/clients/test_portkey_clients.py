"""Portkey's own clients, unchanged, at fixed versions: create, update, bulk, error, and what they do after a 503."""

from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
client = portkey_ai.Portkey(api_key=key, base_url=url + "/v1")
try:
    client.feedback.create(trace_id="t1", value=-3)
    print(json.dumps("accepted"))
except APIStatusError as error:
    print(json.dumps(error.status_code))
"""
NODE_503 = """
import {Portkey} from "portkey-ai";
const [url, key] = process.argv.slice(-2);
try {
  await new Portkey({apiKey: key, baseURL: url + "/v1"}).feedback.create({traceID: "t1", value: -3});
  console.log(JSON.stringify("accepted"));
} catch (error) { console.log(JSON.stringify(error.status ?? String(error))); }
"""


class Client:
    """One of the two clients: runs a program that speaks to `url` with a key."""

    def __init__(self, language: str) -> None:
        self.language = language

    def use(self, url: str, key: str) -> dict[str, Any]:
        said: dict[str, Any] = self._run(PYTHON if self.language == "python" else NODE, url, key)
        return said

    def meet_a_503(self, url: str, key: str) -> Any:
        return self._run(PYTHON_503 if self.language == "python" else NODE_503, url, key)

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


def test_after_our_own_503_it_does_not_send_again(gateway: MemoryGateway, url: str, client: Client) -> None:
    gateway.publisher.lost = 1  # stored, and yet answered with 503
    assert client.meet_a_503(url, gateway.key) == 503
    assert [event.value for event in gateway.events] == [-3]


class _Stripped:
    """A load balancer of another make: it answers for itself, without our headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def strip(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if not pair[0].startswith(b"x-portkey-")]
                message = {**message, "headers": kept}
            await send(message)

        await self._app(scope, receive, strip)

    def answer_at_once(self, scope: Scope) -> None:
        """Nothing: all goes through the balancer."""


def test_its_own_retry_after_anybodys_503_leaves_one_standing_vote(gateway: MemoryGateway, client: Client) -> None:
    gateway.app = _Stripped(gateway.app)  # type: ignore[assignment]  # all that is asked of it is to be served
    gateway.publisher.lost = 1
    with gateway.served() as url:
        assert client.meet_a_503(url, gateway.key) == "accepted"
    assert [event.value for event in gateway.events] == [-3, -3]
    (row,) = gateway.rows.values()
    assert row.vote is not None
    assert (row.request_id, row.vote.value, row.vote.feedback_id) == ("t1", -3, gateway.events[1].feedback_id)
