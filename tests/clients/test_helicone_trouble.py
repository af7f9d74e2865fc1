"""Helicone's own clients when something fails: they send nothing again, and harm their callers as ever, or not at all.

Each program sends once for each of the requests that it is given, and prints what its caller gets to know.
"""

from typing import NamedTuple

import pytest

from tests.clients.balancer import as_helicone_itself, behind, down, lost, stranger
from tests.fixtures.memory_gateway import MemoryGateway
from tests.fixtures.vendor_clients import node_client, python_client, run_node, run_python

pytestmark = pytest.mark.integration

OLDEST_VOTES = """
import json, sys
from requests import HTTPError
from helicone.globals import helicone_global
from helicone.openai_proxy.openai_injector import OpenAIInjector
url, helicone_global.api_key, *names = sys.argv[1:]
helicone_global.proxy_url = url + "/v1"
said = []
for name in names:
    try:
        said.append(OpenAIInjector().log_feedback({"helicone": {"id": name}}, "thumbs", True)["helicone_id"])
    except HTTPError as error:
        said.append(f"HTTPError {error.response.status_code} {error.response.text}")
print(json.dumps(said))
"""
OLDEST_LOGS = """
import contextlib, io, json, sys
from datetime import datetime, timezone
from helicone.globals import helicone_global
from helicone.async_logger.async_logger import (
    HeliconeAsyncLogger, HeliconeAyncLogRequest, Provider, ProviderRequest, ProviderResponse, Timing)
helicone_global.base_url, helicone_global.api_key, *names = sys.argv[1:]
noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
said = []
for name in names:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        HeliconeAsyncLogger.from_helicone_global().log(HeliconeAyncLogRequest(
            ProviderRequest("u", {"model": "m"}, {"Helicone-Request-Id": name}), ProviderResponse({}, 200, {}),
            Timing.from_datetimes(noon, noon)), Provider.OPENAI)
    said.append(printed.getvalue().strip())
print(json.dumps(said))
"""
HELPERS = """
import contextlib, io, json, sys
from helicone_helpers import HeliconeManualLogger
url, key, *names = sys.argv[1:]
logger = HeliconeManualLogger(api_key=key, logging_endpoint=url)
said = []
for name in names:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        answer = logger.log_request({"model": "m"}, lambda recorder: "answer", {"Helicone-Request-Id": name}, "openai")
    said.append(f"{answer}, {printed.getvalue().partition(':')[0]}")
print(json.dumps(said))
"""
NODE_VOTES = """
import helicone from "@helicone/helicone";
const [url, key, ...names] = process.argv.slice(1);
const { HeliconeProxyOpenAI, HeliconeFeedbackRating } = helicone;
const said = [];
console.error = () => {};
const onFeedback = async (answer) => said.push(`${answer.status} ${await answer.text()}`);
const heliconeMeta = { apiKey: key, baseUrl: url + "/v1", onFeedback };
const client = new HeliconeProxyOpenAI({ apiKey: "x", heliconeMeta });
for (const name of names) await client.helicone.logFeedback(name, HeliconeFeedbackRating.Positive);
console.log(JSON.stringify(said));
process.exit(0);
"""
NODE_HELPERS = """
import { HeliconeManualLogger } from "@helicone/helpers";
const [url, key, ...names] = process.argv.slice(1);
const said = [];
let printed = "";
console.error = (sentence) => { printed += sentence.split(":")[0]; };
const logger = new HeliconeManualLogger({ apiKey: key, loggingEndpoint: url });
for (const name of names) {
  const headers = { "Helicone-Request-Id": name };
  const answer = await logger.logRequest({ model: "m" }, async () => "answer", headers, "openai");
  said.push(`${answer}, ${printed}`);
  printed = "";
}
console.log(JSON.stringify(said));
"""


class Client(NamedTuple):
    """A package, a program, and what its caller gets to know: when all is well, and when the answer is another."""

    package: str
    program: str
    well: str
    trouble: str

    def use(self, url: str, key: str, *requests: str) -> list[str]:
        if "==" in self.package:
            python = python_client(self.package.partition("==")[0], [self.package])
            told: list[str] = run_python(python, self.program, url, key, *requests)
        else:
            told = run_node(node_client(self.package.split()), self.program, url, key, *requests)
        return told


SUCCESS = '{"message":"Feedback added successfully.","helicone_id":"well"}'
UNLOGGED = "answer, Error making request to Helicone log endpoint"
CLIENTS = {
    "oldest, votes": Client("helicone==1.0.14", OLDEST_VOTES, "well", "HTTPError {status} {text}"),
    "oldest, logs": Client("helicone==1.0.14", OLDEST_LOGS, "", "Failed to log to /oai/v1/log. Status code {status}"),
    "helpers": Client("helicone-helpers==1.2.1", HELPERS, "answer, ", UNLOGGED),
    "node, votes": Client("@helicone/helicone@3.1.2 openai@4.104.0", NODE_VOTES, f"200 {SUCCESS}", "{status} {text}"),
    "node helpers": Client("@helicone/helpers@1.8.3", NODE_HELPERS, "answer, ", UNLOGGED),
}


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
def test_a_failure_is_to_the_caller_what_the_vendors_own_is_and_nothing_is_sent_again(
    gateway: MemoryGateway, client: Client
) -> None:
    unstored = (503, "nothing is promised: send all of it again")
    troubles = {
        as_helicone_itself: (500, "Error: Request not found."),
        down: unstored,
        stranger: (401, "the API key is missing or unknown"),
        lost: unstored,
    }
    with behind(gateway, troubles) as url:
        *failed, fine = client.use(url, gateway.key, *(trouble.__name__ for trouble in troubles), "well")
    assert fine == client.well
    assert failed == [client.trouble.format(status=status, text=text) for status, text in troubles.values()]
    assert [event.request_id for event in gateway.events] == ["lost", "well"]
