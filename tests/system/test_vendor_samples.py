"""Every sample of the vendors' documentation against the running product: its reply, and the row in vote_history."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from tests.fixtures.vendor_samples import Player, Request, samples
from tests.polling import wait_until
from tests.system.conftest import Running

pytestmark = [pytest.mark.system, pytest.mark.integration]

_QUERY = """
SELECT request_id, kind, polarity, comment, correction, reasons, tags, user_id, splitByChar('/', source)[1], metadata
FROM vote_history WHERE tenant_id = {tenant:String}
"""


def test_every_vendors_sample_works_with_host_and_key_changed(up: Running, unique: Callable[[str], str]) -> None:
    tenant = unique("samples")
    key = up.key(tenant)
    players = [Player(sample, key) for sample in samples()]
    with httpx.Client(base_url=up.ready["gateway_url"], timeout=30) as client:

        def send(request: Request) -> httpx.Response:
            return client.request(request.method, request.path, headers=request.headers, content=request.content)

        probe = {"authorization": f"Bearer {key}"}
        wait_until(lambda: client.post("/check-api-key", headers=probe).status_code == 200, 30, "the key is known")
        for player in players:
            player.play(send)
    wanted = Counter(_row(event) for player in players for event in _named(player))

    def stored() -> Counter[str]:
        return Counter(json.dumps(row, sort_keys=True, default=list) for row in up.rows(_QUERY, tenant=tenant))

    # an amendment has no request until its vote is stored, too
    wait_until(lambda: stored() == wanted, 60, "vote_history is what the golden files say")


def _named(player: Player) -> list[dict[str, Any]]:
    """The golden events as they were stored; of an amendment the history tells whose vote it changed."""
    events: list[dict[str, Any]] = player.filled(list(player.sample.events))
    requests = {event.get("feedback_id"): event["request_id"] for event in events if event["request_id"]}
    return [
        {**event, "request_id": requests[event["feedback_id"]]} if event["kind"] == "amend" else event
        for event in events
    ]


def _row(event: Mapping[str, Any]) -> str:
    """What vote_history shows of a golden event."""
    row = [
        event["request_id"], event["kind"], _polarity(event), event.get("comment", ""), event.get("correction", ""),
        event.get("reasons", []), event.get("tags", []), event.get("user_id", ""), event["source"],
        {name: _bare(value) for name, value in event.get("metadata", {}).items()},
    ]  # fmt: skip
    return json.dumps(row, sort_keys=True)


def _polarity(event: Mapping[str, Any]) -> int | None:
    if "rating" in event:
        return 1 if event["rating"] else -1
    return (event["value"] > 0) - (event["value"] < 0) if "value" in event else None


def _bare(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
