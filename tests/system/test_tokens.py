"""Feedback tokens from outside: a page's votes reach current_votes once, and those it may not cast never do."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.polling import wait_until
from tests.system.conftest import Running

pytestmark = [pytest.mark.system, pytest.mark.integration]
PAGE = "https://chat.example"
VOTES = """SELECT request_id, polarity, comment, user_id FROM current_votes
WHERE tenant_id = {tenant:String} ORDER BY request_id"""
HISTORY = """SELECT request_id, count() FROM vote_history
WHERE tenant_id = {tenant:String} GROUP BY request_id ORDER BY request_id"""


class Site:
    """A tenant's server and its pages."""

    def __init__(self, up: Running, tenant: str) -> None:
        self.up, self.tenant = up, tenant
        file = str(up.directory / "keys.toml")
        options = ["--tenant", tenant, "--rights", "tokens", "--file", file]
        command = [sys.executable, "-m", "thumbstream", "keys", "create", *options]
        self.key = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def token(self, request_id: str, **fields: Any) -> str:
        body = {"request_id": request_id, "user_id": f"user-of-{request_id}", "origins": [PAGE], **fields}
        # the gateway sees a new key within a second
        reply = wait_until(lambda: self._ask(body), 30, "the gateway knows the key")
        token: str = reply.json()["token"]
        return token

    def _ask(self, body: dict[str, Any]) -> httpx.Response | None:
        reply = self._post("/v1/feedback-tokens", body, {"Authorization": f"Bearer {self.key}"})
        return reply if reply.status_code == 200 else None

    def vote(self, token: str, body: dict[str, Any], origin: str = PAGE) -> int:
        """The status of a vote, sent as a page would that wants no preflight."""
        return self._post("/v1/token-feedback", {"token": token, **body}, {"Origin": origin}).status_code

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        return httpx.post(self.up.ready["gateway_url"] + path, json=body, headers=headers, timeout=30)


@pytest.fixture
def site(up: Running, unique: Callable[[str], str]) -> Site:
    return Site(up, unique("tokens"))


def test_a_token_changes_the_vote_on_its_own_answer_and_nothing_else(site: Site, up: Running) -> None:
    first, second, brief = site.token("a"), site.token("b"), site.token("c", expires_in=1)
    now = time.time_ns() // 1_000_000
    vote = {"rating": True, "event_id": "v1", "event_time": now}
    change = {"rating": False, "comment": "on reflection", "event_id": "v2", "event_time": now + 1}
    assert [site.vote(first, body) for body in (vote, vote, change, change, vote)] == [200] * 5
    assert site.vote(second, {"rating": True}) == 200

    assert site.vote(first, {"rating": False, "request_id": "b"}) == 403
    assert site.vote(first, {"rating": False}, origin="https://evil.example") == 403
    assert site.vote(first[:-1] + ("A" if first[-1] != "A" else "E"), {"rating": False}) == 401
    wait_until(lambda: site.vote(brief, {"kind": "retract"}) == 401, 30, "the brief token has expired")

    votes = [("a", -1, "on reflection", "user-of-a"), ("b", 1, "", "user-of-b")]
    wait_until(lambda: up.rows(VOTES, tenant=site.tenant) == votes, 60, "both votes are in current_votes")
    wait_until(lambda: history(site, up) == {"a": 2, "b": 1}, 60, "every event is in vote_history once")
    logs = "".join(file.read_text() for file in (up.directory / "logs").iterdir())
    assert not any(token in logs for token in (first, second, site.key))


def history(site: Site, up: Running) -> dict[str, int]:
    """Events by request; of the brief token's some may have come in time."""
    return {request: events for request, events in up.rows(HISTORY, tenant=site.tenant) if request != "c"}
