"""Thumbs, undo, reasons and comment: what a page shows and what the gateway gets."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import FakeGateway, Show, content, pressed, thumb, token

pytestmark = pytest.mark.browser

REASONS = "incorrect=Not correct; unsafe=Harmful; other"
REFUSED = {"accepted": 0, "rejected": 1, "event_ids": [None]}
EXPIRED = REFUSED | {"errors": [{"index": None, "field": None, "reason": "unauthorized", "message": "it has expired"}]}
LISTEN = """() => { window.seen = []; for (const name of ["change", "waiting", "stored", "failed"])
    document.addEventListener("feedback-" + name, ({detail}) => seen.push([name, detail])); }"""


def test_up_then_down_then_reasons_and_a_comment_then_undo(show: Show, gateway: FakeGateway, tmp_path: Path) -> None:
    page = show(reasons=REASONS, comment="")
    page.screenshot(path=tmp_path / "fresh.png")
    assert pressed(page) == []
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    assert pressed(page) == ["Good answer"]
    thumb(page, "Bad answer").click()
    assert pressed(page) == ["Bad answer"]
    page.get_by_label("Not correct").check()
    page.get_by_label("Comment").fill(" It does not rain. 🌧 ")
    page.screenshot(path=tmp_path / "details.png")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Send")).to_be_hidden()
    gateway.wait(3)
    thumb(page, "Bad answer").click()
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


def test_who_changes_to_up_says_no_longer_what_was_wrong(show: Show, gateway: FakeGateway) -> None:
    page = show(reasons=REASONS, comment="")
    thumb(page, "Bad answer").click()
    page.get_by_label("Harmful").check()
    page.get_by_role("button", name="Send").click()
    thumb(page).click()
    assert content(gateway.wait(3)[-1]) == {"rating": True, "reasons": [], "comment": ""}
    thumb(page, "Bad answer").click()
    expect(page.get_by_label("Harmful")).not_to_be_checked()


def test_details_can_be_opened_again_changed_and_emptied(show: Show, gateway: FakeGateway) -> None:
    page = show(reasons=REASONS, comment="")
    thumb(page, "Bad answer").click()
    page.get_by_label("other").check()
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Details").click()
    page.get_by_label("other").uncheck()
    page.get_by_role("button", name="Send").click()
    assert content(gateway.wait(3)[-1]) == {"reasons": [], "comment": ""}


def test_it_asks_for_nothing_that_the_page_does_not_want(show: Show, gateway: FakeGateway) -> None:
    page = show()
    thumb(page, "Bad answer").click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    assert page.get_by_role("button").count() == 2
    thumb(page).click()
    assert content(gateway.wait(2)[-1]) == {"rating": True}


@pytest.mark.parametrize(("kinds", "asks", "undoes"), [(["vote"], 0, False), (["vote", "retract"], 0, True)])
def test_it_offers_what_the_token_allows(
    show: Show, gateway: FakeGateway, kinds: list[str], asks: int, undoes: bool
) -> None:
    page = show(reasons=REASONS, token=token(kinds=kinds))
    thumb(page, "Bad answer").click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    assert page.get_by_role("checkbox").count() == asks
    thumb(page, "Bad answer").click()
    assert pressed(page) == ([] if undoes else ["Bad answer"])
    thumb(page).click()
    gateway.wait(3 if undoes else 2)


def test_without_a_token_nothing_can_be_pressed_and_with_one_it_can(show: Show, gateway: FakeGateway) -> None:
    page = show(token=None)
    expect(thumb(page)).to_be_disabled()
    page.locator("feedback-buttons").evaluate("(element, token) => element.setAttribute('token', token)", token("r2"))
    thumb(page).click()
    assert content(gateway.wait(1)[0]) == {"rating": True}


def test_a_refused_vote_is_not_shown_as_one(show: Show, gateway: FakeGateway) -> None:
    page = show()
    page.evaluate(LISTEN)
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    gateway.answers = [(401, EXPIRED, {})]
    thumb(page, "Bad answer").click()
    expect(page.get_by_role("status")).to_have_text("Not saved.")
    assert pressed(page) == ["Good answer"]
    assert page.locator("feedback-buttons").get_attribute("state") == "failed"
    [*_, (name, detail)] = page.evaluate("seen")
    assert (name, detail["status"], detail["reason"], detail["message"]) == (
        "failed", 401, "unauthorized", "it has expired",
    )  # fmt: skip


def test_until_it_is_stored_it_says_so(show: Show, gateway: FakeGateway) -> None:
    page = show()
    page.evaluate(LISTEN)
    gateway.hold()
    thumb(page).click()
    expect(page.get_by_text("Sending…")).to_be_visible()
    expect(page.get_by_role("status")).to_be_empty()
    assert page.locator("feedback-buttons").evaluate("e => [e.vote, e.state]") == ["up", "pending"]
    gateway.release()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    expect(page.get_by_text("Sending…")).to_have_count(0)
    names, details = zip(*page.evaluate("seen"), strict=True)
    assert names == ("change", "stored")
    assert [detail["vote"] for detail in details] == ["up", "up"]
    assert content(details[1]["event"]) == {"rating": True}
    assert "token" not in json.dumps(details)


def test_who_clicks_fast_is_taken_at_the_last_word_in_order(show: Show, gateway: FakeGateway) -> None:
    page = show()
    gateway.hold()
    for name in ("Good answer", "Bad answer", "Bad answer", "Good answer"):
        thumb(page, name).click()
    gateway.release()
    said = [content(event) for event in gateway.wait(4)]
    assert said == [{"rating": True}, {"rating": False}, {"kind": "retract"}, {"rating": True}]
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    assert pressed(page) == ["Good answer"]


def test_an_answer_shown_twice_has_one_vote(show: Show) -> None:
    other = token("answer-2")
    page = show(body=f'<feedback-buttons token="{token()}"></feedback-buttons><feedback-buttons token="{other}">')
    thumb(page).first.click()
    expect(page.get_by_role("status").nth(1)).to_have_text("Saved, thank you.")
    assert pressed(page) == ["Good answer", "Good answer"]
    expect(page.get_by_role("status").nth(2)).to_be_empty()


def test_a_vote_is_there_after_a_reload_and_can_be_taken_back(show: Show, gateway: FakeGateway) -> None:
    page = show()
    thumb(page, "Bad answer").click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    page = show(token=token(exp=2_000_000_000))  # a new token for the same answer and person
    assert pressed(page) == ["Bad answer"]
    thumb(page, "Bad answer").click()
    assert content(gateway.wait(2)[-1]) == {"kind": "retract"}


def test_another_person_at_the_same_browser_sees_no_vote(show: Show) -> None:
    page = show()
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    assert pressed(show(token=token(user_id="bob"))) == []


@pytest.mark.parametrize(("value", "names"), [("up", ["Good answer"]), ("", [])])
def test_what_the_server_knows_goes_before_what_the_browser_remembers(show: Show, value: str, names: list[str]) -> None:
    page = show()
    thumb(page, "Bad answer").click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    page = show(value=value)
    assert pressed(page) == names
    thumb(page, "Bad answer").click()
    assert pressed(page) == ["Bad answer"]


def stored(page: Page) -> dict[str, str]:
    both: dict[str, str] = page.evaluate("({...localStorage, ...sessionStorage})")
    return both


def test_what_stays_in_the_browser_is_the_vote_and_nothing_that_was_said(show: Show) -> None:
    page = show(comment="")
    thumb(page, "Bad answer").click()
    page.get_by_label("Comment").fill("private")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    [(key, value)] = stored(page).items()
    assert key == "thumbstream:known"
    [(subject, entry)] = json.loads(value).items()
    assert json.loads(subject) == ["acme", "answer-1", "ann"]
    assert (entry["vote"], entry.keys()) == ("down", {"vote", "time"})


def test_storage_no_keeps_nothing(show: Show, gateway: FakeGateway) -> None:
    page = show(storage="no")
    gateway.hold()
    thumb(page).click()
    assert stored(page) == {}
    gateway.release()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    assert stored(page) == {}


def test_it_remembers_the_last_200_answers(show: Show) -> None:
    page = show()
    page.evaluate(
        """() => localStorage.setItem("thumbstream:known", JSON.stringify(Object.fromEntries(
            Array.from({length: 200}, (_, n) => [`["acme","old-${n}",null]`, {vote: "up", time: n}]))))"""
    )
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    known = json.loads(stored(page)["thumbstream:known"])
    assert (len(known), next(iter(known)), list(known)[-1]) == (
        200, '["acme","old-1",null]', '["acme","answer-1","ann"]',
    )  # fmt: skip


def test_a_clock_that_is_wrong_or_goes_back_changes_no_order(show: Show, gateway: FakeGateway, page: Page) -> None:
    issued = 1_900_000_000
    page.clock.install(time=issued - 3600)  # the browser is an hour behind the server
    show(token=token(iat=issued, exp=issued + 60))
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    page.clock.set_system_time(issued - 7200)
    show(token=token(iat=issued, exp=issued + 60))
    thumb(page, "Bad answer").click()
    gateway.wait(2)
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    page.clock.set_system_time(issued + 86_400)
    thumb(page).click()
    times = [event["event_time"] for event in gateway.wait(3)]
    assert times == [issued * 1000, issued * 1000 + 1, (issued + 60) * 1000]


def test_every_text_is_the_pages(show: Show, tmp_path: Path) -> None:
    texts = {
        "group": "הערכה", "up": "טוב", "down": "רע", "more": "פרטים", "reasons": "מה לא נכון?",
        "comment": "הערה", "send": "שליחה", "pending": "…", "stored": "נשמר", "undone": "בוטל",
    }  # fmt: skip
    page = show(
        head='<base dir="rtl">', dir="rtl", reasons="wrong=שגוי", comment="",
        **{f"label_{name}": text for name, text in texts.items()},
    )  # fmt: skip
    thumb(page, "רע").click()
    page.get_by_label("שגוי").check()
    expect(page.get_by_role("status")).to_have_text("נשמר")
    page.screenshot(path=tmp_path / "rtl.png")
    said = page.locator("feedback-buttons").evaluate("e => e.shadowRoot.textContent")
    assert not [letter for letter in said if letter.isascii() and letter.isalpha()]
