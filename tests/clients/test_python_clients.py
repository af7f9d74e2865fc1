"""The vendors' own Python clients, unchanged, at fixed versions: they create, fail and retry as against the vendor."""

import json
from pathlib import Path
from typing import Any

import pytest

from producers.access import Protection
from producers.limits import Rate
from tests.fixtures.memory_gateway import MemoryGateway
from tests.fixtures.vendor_clients import python_client, run_python

pytestmark = pytest.mark.integration

COHERE_4 = """
import json, os, sys, cohere
from cohere.responses.feedback import PreferenceRating
from cohere.error import CohereAPIError
url, key = sys.argv[1:]
os.environ["CO_API_URL"] = url
client = cohere.Client(key)
said = {}
said["id"] = client.generate_feedback(request_id="g1", good_response=False, desired_response="better").id
said["preference"] = client.generate_preference_feedback(
    ratings=[PreferenceRating(request_id="a", rating=1, generation="x"),
             PreferenceRating(request_id="b", rating=0, generation="y")]).id
try:
    client.generate_feedback(request_id="", good_response=True)
except CohereAPIError as error:
    said["refused"] = [error.http_status, str(error.message)]
try:
    cohere.Client("ts_wrong_key").generate_feedback(request_id="g1", good_response=True)
except CohereAPIError as error:
    said["unauthorized"] = [error.http_status, str(error.message)]
print(json.dumps(said))
"""
COHERE_RETRY = """
import json, os, sys, cohere
os.environ["CO_API_URL"], key = sys.argv[1:]
print(json.dumps(cohere.Client(key).generate_feedback(request_id="g1", good_response=True).id))
"""
COHERE_ASYNC = """
import asyncio, json, sys, cohere
async def main(url, key):
    async with cohere.AsyncClient(key, api_url=url) as client:
        return (await client.generate_feedback(request_id="g1", good_response=True)).id
print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
"""
COHERE_3 = """
import json, sys, cohere
url, key = sys.argv[1:]
cohere.COHERE_API_URL = url
said = {"good": cohere.Client(key).feedback("g1", True, feedback="thanks").good_response}
try:
    cohere.Client("ts_wrong_key")
except cohere.CohereError as error:
    said["unauthorized"] = [error.http_status, str(error.message)]
print(json.dumps(said))
"""


@pytest.mark.parametrize("version", ["4.57", "4.3.0"])
def test_cohere_4_judges_prefers_and_reads_refusals(gateway: MemoryGateway, url: str, version: str) -> None:
    said = run_python(python_client("cohere", [f"cohere=={version}"]), COHERE_4, url, gateway.key)
    vote, preference = gateway.events
    assert (said["id"], said["preference"]) == (vote.event_id, preference.event_id)
    assert (vote.request_id, vote.rating, vote.correction) == ("g1", False, "better")
    assert [(one.request_id, one.rating, one.response) for one in preference.preference or ()] == [
        ("a", 1, "x"),
        ("b", 0, "y"),
    ]
    assert said["refused"] == [400, "request_id must not be empty"]
    assert said["unauthorized"] == [401, "the API key is missing or unknown"]


RETRYING = pytest.mark.parametrize(
    ("version", "program"),
    [("4.57", COHERE_RETRY), ("4.3.0", COHERE_RETRY), ("4.57", COHERE_ASYNC)],
    ids=["4.57", "4.3.0", "4.57, asynchronous"],
)


@RETRYING
def test_coheres_own_retry_after_a_503_leaves_one_standing_vote(
    gateway: MemoryGateway, url: str, version: str, program: str
) -> None:
    gateway.publisher.lost = 1  # stored, and yet answered with 503
    made = run_python(python_client("cohere", [f"cohere=={version}"]), program, url, gateway.key)
    first, second = gateway.events
    assert made == second.event_id
    assert (first.request_id, first.rating) == (second.request_id, second.rating)
    row = gateway.rows["g1"]
    assert row.vote is not None
    assert (len(gateway.rows), row.vote.polarity) == (1, 1)


@RETRYING
def test_coheres_own_retry_after_a_429_leaves_one_vote(tmp_path: Path, version: str, program: str) -> None:
    def seconds() -> float:
        """The time: a second passes with each refusal."""
        return gateway.metrics.value("events_refused", dialect="cohere", reason="rate_limited")

    gateway = MemoryGateway(tmp_path, protection=Protection(per_key=Rate(1, 1), monotonic=seconds))
    headers, earlier = {"Authorization": f"BEARER {gateway.key}"}, '{"request_id": "g0", "good_response": false}'
    assert gateway.send("POST", "/v1/feedback/generate", headers, earlier).status_code == 200
    with gateway.served() as url:
        made = run_python(python_client("cohere", [f"cohere=={version}"]), program, url, gateway.key)
    other, event = gateway.events
    assert (other.request_id, event.request_id, event.event_id) == ("g0", "g1", made)
    row = gateway.rows["g1"]
    assert row.vote is not None
    assert row.vote.polarity == 1
    answered = {status: gateway.metrics.value("requests", dialect="cohere", status=status) for status in ("200", "429")}
    assert answered == {"200": 2, "429": 1}


def test_cohere_3_has_its_key_checked_and_votes(gateway: MemoryGateway, url: str) -> None:
    said = run_python(python_client("cohere", ["cohere==3.10.0"]), COHERE_3, url, gateway.key)
    assert said == {"good": True, "unauthorized": [401, "the API key is missing or unknown"]}
    (event,) = gateway.events
    assert (event.request_id, event.rating, event.comment) == ("g1", True, "thanks")


HELICONE_OLDEST = """
import json, sys, requests
from datetime import datetime, timezone
from helicone.globals import helicone_global
from helicone.openai_proxy.openai_injector import OpenAIInjector
from helicone.async_logger.async_logger import (
    HeliconeAsyncLogger, HeliconeAyncLogRequest, Provider, ProviderRequest, ProviderResponse, Timing)
url, key = sys.argv[1:]
helicone_global.api_key, helicone_global.proxy_url, helicone_global.base_url = key, url + "/v1", url
injector, response = OpenAIInjector(), {"helicone": {"id": "req-1"}}
said = {"thumb": injector.log_feedback(response, "thumbs", False, data_type=bool),
        "number": injector.log_feedback(response, "stars", 4.5, data_type=float)}
helicone_global.api_key = "ts_wrong_key"
try:
    injector.log_feedback(response, "thumbs", True)
except requests.HTTPError as error:
    said["unauthorized"] = error.response.status_code
helicone_global.api_key = key
noon = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
HeliconeAsyncLogger.from_helicone_global().log(HeliconeAyncLogRequest(
    ProviderRequest("u", {"model": "m"}, {"Helicone-Request-Id": "req-1"}), ProviderResponse({}, 200, {}),
    Timing.from_datetimes(noon, noon)), Provider.OPENAI)
print(json.dumps(said))
"""


def test_helicones_oldest_client_logs_feedback_and_calls(gateway: MemoryGateway, url: str) -> None:
    said = run_python(python_client("helicone", ["helicone==1.0.14"]), HELICONE_OLDEST, url, gateway.key)
    success = {"message": "Feedback added successfully.", "helicone_id": "req-1"}
    assert said == {"thumb": success, "number": success, "unauthorized": 401}
    assert [event.kind for event in gateway.events] == ["vote", "context", "context"]
    row = gateway.rows["req-1"]
    assert row.vote is not None
    assert (row.vote.polarity, row.model, row.metadata["feedback.stars"]) == (-1, "m", "4.5")


HELICONE_HELPERS = """
import asyncio, json, sys
from helicone_helpers import HeliconeManualLogger
url, key = sys.argv[1:]
logger = HeliconeManualLogger(api_key=key, headers={"Helicone-Property-App": "shop"}, logging_endpoint=url)
request = {"model": "atlas-2", "messages": [{"role": "user", "content": "hi"}]}
logger.log_request(request, lambda recorder: recorder.append_results(
    {"choices": [{"message": {"content": "hello"}}]}),
    {"Helicone-Request-Id": "req-1", "Helicone-User-Id": "anna"}, provider="openai")
builder = logger.log_builder(request, {"Helicone-Request-Id": "req-2"})
for piece in ("hel", "lo"):
    builder.add_chunk({"choices": [{"delta": {"content": piece}}]})
asyncio.run(builder.send_log())
print(json.dumps(None))
"""


def test_helicones_manual_logger_gives_votes_their_context(gateway: MemoryGateway, url: str) -> None:
    python = python_client("helicone-helpers", ["helicone-helpers==1.2.1"])
    run_python(python, HELICONE_HELPERS, url, gateway.key)
    whole, streamed = gateway.events
    assert (whole.request_id, whole.user_id, streamed.request_id) == ("req-1", "anna", "req-2")
    for event in (whole, streamed):
        metadata: dict[str, Any] = {name: json.loads(text or "") for name, text in event.metadata.items()}
        assert (metadata["model"], metadata["app"], metadata["response"]) == ("atlas-2", "shop", "hello")
        assert event.event_time is not None


REQUESTY = """
import json, sys, requests
url, key = sys.argv[1:]
headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
data = {"message": "fine", "rating": 5, "helpful": True, "user_id": "user_1234", "tags": ["a"]}
reply = requests.post(f"{url}/feedback/chat-1", headers=headers, json={"data": data})
reply.raise_for_status()
refused = requests.post(f"{url}/feedback/chat-1", headers=headers, json=data)
print(json.dumps([reply.json(), refused.status_code]))
"""


def test_requestys_sample_with_the_library_that_it_uses(gateway: MemoryGateway, url: str) -> None:
    said = run_python(python_client("requests", ["requests==2.32.4"]), REQUESTY, url, gateway.key)
    assert said == [{"id": "chat-1", "status": "accepted"}, 400]
    (event,) = gateway.events
    assert (event.rating, event.comment, event.user_id, event.tags) == (True, "fine", "user_1234", ("a",))
