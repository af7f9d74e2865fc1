"""Thumbs, undo, reasons and comment: what a page shows and what the gateway gets."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import FakeGateway, Show, token

pytestmark = pytest.mark.browser

REASONS = "incorrect=Not correct; unsafe=Harmful; other"


def thumb(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def pressed(page: Page) -> list[str]:
    return page.get_by_role("button", pressed=True).evaluate_all("all => all.map(b => b.getAttribute('aria-label'))")


def content(event: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in event.items() if name not in ("event_id", "event_time", "token")}


def test_up_then_down_then_reasons_and_a_comment_then_undo(show: Show, gateway: FakeGateway, tmp_path: Path) -> None:
    page = show(reasons=REASONS, comment="")
    page.screenshot(path=tmp_path / "fresh.png")
    assert pressed(page) == []
    thumb(page, "Good answer")
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    assert pressed(page) == ["Good answer"]
    thumb(page, "Bad answer")
    assert pressed(page) == ["Bad answer"]
    page.get_by_label("Not correct").check()
    page.get_by_label("Comment").fill("It does not rain. 🌧")
    page.screenshot(path=tmp_path / "details.png")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Send")).to_be_hidden()
    gateway.wait(3)
    thumb(page, "Bad answer")
    expect(page.get_by_role("status")).to_have_text("Your vote was taken back.")
    page.screenshot(path=tmp_path / "undone.png")
    assert pressed(page) == []
    events = gateway.wait(4)
    assert [content(event) for event in events] == [
        {"rating": True},
        {"rating": False},
        {"reasons": ["incorrect"], "comment": "It does not rain. 🌧"},
        {"kind": "retract"},
    ]
    assert len({event["event_id"] for event in events}) == 4
    times = [event["event_time"] for event in events]
    assert times == sorted(set(times))
    assert {event["token"] for event in events} == {token()} or len({event["token"] for event in events}) == 1
