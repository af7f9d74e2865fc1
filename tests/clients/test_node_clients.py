"""Helicone's own Node clients, unchanged, at fixed versions: they vote, log, and swallow every error."""

import pytest

from tests.fixtures.memory_gateway import MemoryGateway
from tests.fixtures.vendor_clients import node_client, run_node

pytestmark = pytest.mark.integration

FEEDBACK = """
import helicone from "@helicone/helicone";
const [url, key] = process.argv.slice(-2);
const { HeliconeProxyOpenAI, HeliconeFeedbackRating } = helicone;
const answers = [];
const onFeedback = async (answer) => answers.push([answer.status, await answer.text()]);
console.error = () => {};
const meta = (apiKey) => ({ apiKey, baseUrl: url + "/v1", onFeedback });
const client = (apiKey) => new HeliconeProxyOpenAI({ apiKey: "x", heliconeMeta: meta(apiKey) });
await client(key).helicone.logFeedback("req-1", HeliconeFeedbackRating.Positive);
await client(key).helicone.logFeedback("req-1", HeliconeFeedbackRating.Negative);
await client("ts_wrong_key").helicone.logFeedback("req-1", HeliconeFeedbackRating.Positive);
console.log(JSON.stringify(answers));
process.exit(0);
"""
OLDEST = """
import helicone from "helicone";
import feedback from "helicone/dist/core/HeliconeFeedback.js";  // its index leaves the ratings out
const [url, key] = process.argv.slice(-2);
const { HeliconeProxyConfiguration, HeliconeProxyOpenAIApi } = helicone;
const { HeliconeFeedbackRating } = feedback;
const answer = await new Promise((resolve) => {
  const meta = { apiKey: "x", heliconeMeta: { apiKey: key, baseUrl: url + "/v1" } };
  const api = new HeliconeProxyOpenAIApi(new HeliconeProxyConfiguration(meta, resolve));
  api.helicone.logFeedback("req-1", HeliconeFeedbackRating.Negative);
});
console.log(JSON.stringify([answer.status, await answer.json()]));
"""
LOGGER = """
import { HeliconeManualLogger } from "@helicone/helpers";
const [url, key] = process.argv.slice(-2);
console.error = () => {};
const headers = { "Helicone-Property-App": "shop" };
const logger = new HeliconeManualLogger({ apiKey: key, loggingEndpoint: url, headers });
const request = { model: "atlas-2", messages: [{ role: "user", content: "hi" }] };
const answer = { choices: [{ message: { content: "hello" } }] };
for (const provider of ["openai", "google", undefined])
  await logger.logRequest(request, async (recorder) => recorder.appendResults(answer),
    { "Helicone-Request-Id": "req-1", "Helicone-User-Id": "anna" }, provider);
console.log(JSON.stringify(null));
"""
SUCCESS = '{"message":"Feedback added successfully.","helicone_id":"req-1"}'


def test_helicones_client_votes_and_changes_its_vote(gateway: MemoryGateway, url: str) -> None:
    packages = node_client(["@helicone/helicone@3.1.2", "openai@4.104.0"])
    up, down, unauthorized = run_node(packages, FEEDBACK, url, gateway.key)
    assert up == down == [200, SUCCESS]
    assert unauthorized == [401, "the API key is missing or unknown"]
    assert [(event.request_id, event.rating) for event in gateway.events] == [("req-1", True), ("req-1", False)]
    row = gateway.rows["req-1"]
    assert row.vote is not None
    assert row.vote.polarity == -1


def test_helicones_oldest_client_votes(gateway: MemoryGateway, url: str) -> None:
    packages = node_client(["helicone@1.0.7", "uuid@9.0.1"])
    status, answer = run_node(packages, OLDEST, url, gateway.key)
    assert (status, answer["helicone_id"]) == (200, "req-1")
    (event,) = gateway.events
    assert (event.request_id, event.rating) == ("req-1", False)


def test_helicones_manual_logger_gives_votes_their_context(gateway: MemoryGateway, url: str) -> None:
    run_node(node_client(["@helicone/helpers@1.8.3"]), LOGGER, url, gateway.key)
    assert [(event.request_id, event.user_id) for event in gateway.events] == [("req-1", "anna")] * 3
    row = gateway.rows["req-1"]
    assert (row.model, row.app, row.metadata["response"]) == ("atlas-2", "shop", '"hello"')
    assert all(event.event_time is not None for event in gateway.events)
