"""Portkey's Python client against the running product: a vote, its change at once, and what analysts see of both."""

from collections.abc import Callable

import httpx
import pytest

from tests.fixtures.vendor_clients import python_client, run_python
from tests.polling import wait_until
from tests.system.conftest import Running

pytestmark = [pytest.mark.system, pytest.mark.integration]

PROGRAM = """
import json, sys
import portkey_ai
url, key = sys.argv[1:]
client = portkey_ai.Portkey(api_key=key, base_url=url + "/v1")
kept = client.feedback.create(trace_id="kept", value=-1, weight=0.5, metadata={"_user": "ann", "model": "atlas-2"})
client.feedback.update(feedback_id=kept.feedback_ids[0], value=7, metadata={"_environment": "prod"})
both = client.feedback.bulk_create(feedbacks=[{"trace_id": "twice", "value": 1}, {"trace_id": "twice", "value": -10}])
client.feedback.update(feedback_id=both.feedback_ids[0], value=9)
gone = client.feedback.create(trace_id="gone", value=3)
client.feedback.update(feedback_id=gone.feedback_ids[0], value=4)
print(json.dumps([kept.feedback_ids[0], *both.feedback_ids, gone.feedback_ids[0]]))
"""


def test_a_vote_and_its_change_are_what_analysts_see(up: Running, unique: Callable[[str], str]) -> None:
    tenant = unique("portkey")
    key, url = up.key(tenant), up.ready["gateway_url"]
    header = {"Authorization": f"Bearer {key}"}
    probe = f"{url}/v1/feedback/none"
    wait_until(lambda: httpx.put(probe, headers=header, json={}).status_code == 404, 30, "the key is known")
    kept, first, second, gone = run_python(python_client("portkey", ["portkey-ai==2.3.4"]), PROGRAM, url, key)

    def asked(query: str) -> set[tuple[object, ...]]:
        return set(up.rows(f"{query} WHERE tenant_id = {{tenant:String}}", tenant=tenant))

    votes = {("kept", 1, 0.5, "ann", "atlas-2", "prod"), ("twice", -1, 1.0, "", "(none)", "(none)")}
    now = "SELECT request_id, polarity, weight, user_id, model, environment FROM current_votes"
    wait_until(lambda: asked(now) >= votes, 60, "the changed votes")
    history = "SELECT request_id, kind, polarity, feedback_id FROM vote_history"
    said = {
        ("kept", "vote", -1, kept), ("kept", "amend", 1, kept),
        ("twice", "vote", 1, first), ("twice", "vote", -1, second), ("twice", "amend", 1, first),
    }  # fmt: skip
    of_gone = {("gone", "vote", 1, gone), ("gone", "amend", 1, gone)}
    wait_until(lambda: asked(history) == said | of_gone, 60, "everything that was said, under its request")

    erased = httpx.delete(f"{url}/v1/requests/gone", headers=header)
    assert erased.status_code == 200, erased.text
    wait_until(lambda: asked(history) == said, 60, "nothing of the erased request is left to see")
    late = {"x-portkey-api-key": key}
    assert httpx.put(f"{url}/v1/feedback/{gone}", headers=late, json={"value": -9}).status_code == 200
    assert httpx.put(f"{url}/feedback/{second}", headers=late, json={"value": 0}).status_code == 200
    wait_until(lambda: asked(history) == said | {("twice", "amend", 0, second)}, 60, "only the living one's change")
    wait_until(lambda: ("twice", 0) in {row[:2] for row in asked(now)}, 60, "the vote that stands is changed")
    assert {row[0] for row in asked(now)} == {"kept", "twice"}
