"""The widget in Chromium, on the example's page, against the whole product: what people click is what analysts see."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.polling import wait_until
from tests.system.conftest import Running

pytestmark = [pytest.mark.browser, pytest.mark.system, pytest.mark.integration]

SERVER = Path(__file__).resolve().parents[2] / "examples" / "widget_server.py"
VOTES = """SELECT polarity, reasons, comment, user_id FROM current_votes
WHERE tenant_id = {tenant:String} AND request_id = {request:String}"""
HISTORY = """SELECT kind, polarity, reasons, comment FROM vote_history
WHERE tenant_id = {tenant:String} AND request_id = {request:String} ORDER BY effective_time"""
TENANT = "SELECT count() FROM vote_history WHERE tenant_id = {tenant:String}"
REQUEST = (
    "e => JSON.parse(atob(e.getAttribute('token').split('.')[1].replaceAll('-', '+').replaceAll('_', '/'))).request"
)
FETCH = "([url, body]) => fetch(url, {method: 'POST', body: JSON.stringify(body)}).then(String, String)"
SAVED = "Saved, thank you."


@dataclass(frozen=True)
class Chat:
    """The example's server, which knows the key of a tenant of its own."""

    up: Running
    tenant: str
    url: str

    def open(self, page: Page) -> str:
        """Show an answer; gives its request id."""
        page.goto(self.url)
        request: str = page.locator("feedback-buttons").evaluate(REQUEST)
        return request

    def rows(self, query: str, request: str = "") -> list[tuple[Any, ...]]:
        """What analysts see of this tenant."""
        return self.up.rows(query, tenant=self.tenant, request=request)


@pytest.fixture
def chat(up: Running, unique: Callable[[str], str]) -> Iterator[Chat]:
    tenant = unique("widget")
    environment = {**os.environ, "THUMBSTREAM_API_KEY": tokens_key(up, tenant)}
    command = [sys.executable, str(SERVER), up.ready["gateway_url"], "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split()[-1]
    try:
        wait_until(lambda: answers(url), 30, "the gateway knows the key, and the page is there")
        yield Chat(up, tenant, url)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def tokens_key(up: Running, tenant: str) -> str:
    """A new API key that can do nothing but ask for tokens."""
    options = ["--tenant", tenant, "--rights", "tokens", "--file", str(up.directory / "keys.toml")]
    command = [sys.executable, "-m", "thumbstream", "keys", "create", *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def press(page: Page, name: str, status: str = SAVED) -> None:
    page.get_by_role("button", name=name).click()
    expect(page.get_by_role("status")).to_have_text(status)


def test_up_down_a_reason_and_undo_are_what_analysts_see(
    chat: Chat, page: Page, context: BrowserContext, tmp_path: Path
) -> None:
    request = chat.open(page)
    press(page, "Good answer")
    context.set_offline(True)
    press(page, "Bad answer", "Not sent yet. Trying again…")
    context.set_offline(False)
    expect(page.get_by_role("status")).to_have_text(SAVED)
    page.get_by_label("Not correct").check()
    page.get_by_label("Comment").fill("it was 1969")
    page.screenshot(path=tmp_path / "details.png")
    press(page, "Send")
    down = [(-1, ["incorrect"], "it was 1969", "visitor-1")]
    wait_until(lambda: chat.rows(VOTES, request) == down, 60, "the changed vote with its reason is in current_votes")
    press(page, "Bad answer", "Your vote was taken back.")
    wait_until(lambda: chat.rows(VOTES, request) == [], 60, "the vote is gone from current_votes")
    history = [
        ("vote", 1, [], ""), ("vote", -1, [], ""), ("context", None, ["incorrect"], "it was 1969"),
        ("retract", None, [], ""),
    ]  # fmt: skip
    wait_until(lambda: chat.rows(HISTORY, request) == history, 60, f"the history; {chat.rows(HISTORY, request)}")


def test_a_page_of_another_origin_is_refused(chat: Chat, page: Page) -> None:
    origin, gateway = chat.url.replace("127.0.0.1", "localhost"), chat.up.ready["gateway_url"] + "/v1/token-feedback"
    page.goto(origin)
    press(page, "Good answer", "Not saved.")
    stolen = {"token": page.locator("feedback-buttons").get_attribute("token"), "rating": True}
    assert page.evaluate(FETCH, [gateway, stolen]) == "TypeError: Failed to fetch"
    reply = httpx.post(gateway, json=stolen, headers={"Origin": origin})
    assert (reply.status_code, reply.json()["errors"][0]["reason"]) == (403, "forbidden")

    request = chat.open(page)
    press(page, "Good answer")
    wait_until(lambda: chat.rows(VOTES, request) == [(1, [], "", "visitor-1")], 60, "the page's own origin may vote")
    assert chat.rows(TENANT) == [(1,)]
