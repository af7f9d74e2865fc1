"""What a click becomes when the gateway cannot be reached: kept, sent again as the same event, never called stored."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import FakeGateway, Pages, Show, content, pressed, thumb, token

pytestmark = pytest.mark.browser

WAITING, SAVED = "Not sent yet. Trying again…", "Saved, thank you."
BUSY = {"accepted": 0, "rejected": 1, "event_ids": [None], "errors": [{"reason": "unavailable", "message": "later"}]}


def queued(page: Page) -> int:
    count: int = page.evaluate("Object.keys(localStorage).filter(k => k.startsWith('thumbstream:event:')).length")
    return count


def test_offline_then_online_sends_once(show: Show, gateway: FakeGateway, context: BrowserContext) -> None:
    page = show()
    context.set_offline(True)
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text(WAITING)
    assert (pressed(page), queued(page)) == (["Good answer"], 1)
    kept = page.evaluate("JSON.parse(Object.entries(localStorage).find(([k]) => k.includes('event:'))[1]).event")
    context.set_offline(False)
    expect(page.get_by_role("status")).to_have_text(SAVED)
    [event] = gateway.wait(1)
    assert (event["event_id"], event["event_time"]) == (kept["event_id"], kept["event_time"])
    assert queued(page) == 0


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_gateway_that_says_later_gets_the_same_event_again(show: Show, gateway: FakeGateway, status: int) -> None:
    page = show()
    gateway.answers = [(status, BUSY, {})]
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text(SAVED)
    first, again = gateway.wait(2)
    assert first == again


def test_a_200_that_is_not_the_gateways_is_no_receipt(show: Show, gateway: FakeGateway) -> None:
    page = show()
    gateway.answers = [(200, "<h1>Please log in</h1>", {}), (200, {"accepted": 0}, {})]
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text(WAITING)
    expect(page.get_by_role("status")).to_have_text(SAVED)
    gateway.wait(3)


def test_what_waits_is_sent_by_the_next_page_in_order(
    show: Show, gateway: FakeGateway, context: BrowserContext, site: Pages
) -> None:
    page = show(comment="")
    context.set_offline(True)
    thumb(page).click()
    thumb(page, "Bad answer").click()
    page.get_by_label("Comment").fill("late")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_have_text(WAITING)
    page.close()

    context.set_offline(False)
    gateway.hold()
    page = context.new_page()
    page.goto(site.url)
    expect(page.get_by_role("status")).to_have_text(WAITING)
    assert pressed(page) == ["Bad answer"]
    gateway.release()
    expect(page.get_by_role("status")).to_have_text(SAVED)
    taken = {event["event_id"]: content(event) for event in gateway.taken}  # twice, if answers are slow
    said = list(taken.values())
    assert said == [{"rating": True}, {"rating": False, "comment": "late"}] or said == [
        {"rating": True}, {"rating": False}, {"comment": "late"},
    ]  # fmt: skip


def test_with_session_storage_it_survives_a_reload(show: Show, gateway: FakeGateway, context: BrowserContext) -> None:
    page = show(storage="session")
    gateway.answers = [(503, BUSY, {"Retry-After": "600"})]
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text(WAITING)
    assert queued(page) == 0
    page.reload()
    expect(page.get_by_role("status")).to_have_text(SAVED)
    first, again = gateway.wait(2)
    assert first == again


def test_one_answer_that_has_to_wait_does_not_hold_up_another(show: Show, gateway: FakeGateway) -> None:
    page = show(body=f'<feedback-buttons token="{token("answer-2")}"></feedback-buttons>')
    gateway.answers = [(429, BUSY, {"Retry-After": "600"})]
    thumb(page).first.click()
    expect(page.get_by_role("status").first).to_have_text(WAITING)
    thumb(page).nth(1).click()
    expect(page.get_by_role("status").nth(1)).to_have_text(SAVED)


def test_beyond_fifty_waiting_events_a_click_fails_and_says_so(
    show: Show, gateway: FakeGateway, context: BrowserContext
) -> None:
    page = show()
    context.set_offline(True)
    for _ in range(50):
        thumb(page).click()
    expect(page.get_by_role("status")).to_have_text(WAITING)
    assert pressed(page) == []
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Not saved.")
    assert (pressed(page), queued(page)) == ([], 50)
    context.set_offline(False)
    assert len({event["event_id"] for event in gateway.wait(50)}) == 50


def test_a_token_for_other_origins_fails_at_once(show: Show, gateway: FakeGateway, site: Pages) -> None:
    page = show(token=token(origins=["https://chat.example"]))
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Not saved.")
    assert (pressed(page), gateway.taken) == ([], [])
    page = show(token=token(origins=["https://chat.example", site.url]))
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text(SAVED)


def test_spoiled_storage_does_no_harm(show: Show, gateway: FakeGateway) -> None:
    page = show()
    page.evaluate("""() => { for (const [n, text] of ["", "null", "{", "[1]"].entries())
        localStorage.setItem("thumbstream:event:" + n, text);
        localStorage.setItem("thumbstream:known", "7"); }""")
    page.reload()
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text(SAVED)
    gateway.wait(1)
