"""Who uses a keyboard, a screen reader, dark mode or a strict policy gets the same widget."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import FakeGateway, Show, content, pressed, thumb, token

pytestmark = pytest.mark.browser

REASONS = "incorrect=Not correct; unsafe=Harmful"
BOTH = ":root { color-scheme: light dark } body { background: Canvas; color: CanvasText; font: 16px sans-serif }"
FOCUS = "document.activeElement.shadowRoot?.activeElement?.getAttribute('part')"


def fill(page: Page, part: str) -> str:
    """The computed colour inside one thumb."""
    script = "(e, part) => getComputedStyle(e.shadowRoot.querySelector(`[part=${part}] svg`)).fill"
    colour: str = page.locator("feedback-buttons").evaluate(script, part)
    return colour


def luminance(colour: str) -> float:
    """WCAG's relative luminance of `rgb(...)`."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_all_of_it_goes_by_keyboard(show: Show, gateway: FakeGateway) -> None:
    page = show(reasons=REASONS, comment="")
    keys = page.keyboard
    keys.press("Tab")
    assert page.evaluate(FOCUS) == "up"
    keys.press("Space")
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    keys.press("Tab")
    keys.press("Enter")
    assert (page.evaluate(FOCUS), pressed(page)) == ("down", ["Bad answer"])
    keys.press("Tab")
    assert page.evaluate(FOCUS) == "more"
    keys.press("Tab")
    keys.press("Space")
    keys.press("Tab")
    keys.press("Tab")
    assert page.evaluate(FOCUS) == "comment"
    keys.type("no")
    keys.press("Tab")
    keys.press("Enter")
    assert page.evaluate(FOCUS) == "more"
    assert content(gateway.wait(3)[-1]) == {"reasons": ["incorrect"], "comment": "no"}
    keys.press("Shift+Tab")
    keys.press("Space")
    assert content(gateway.wait(4)[-1]) == {"kind": "retract"}


def test_escape_closes_the_details_and_gives_the_focus_back(show: Show) -> None:
    page = show(reasons=REASONS, comment="")
    thumb(page, "Bad answer").click()
    assert page.evaluate(FOCUS) == "down"  # opening does not take the focus from where people are
    details = page.get_by_role("button", name="Details")
    assert details.get_attribute("aria-expanded") == "true"
    page.get_by_label("Comment").fill("kept")
    page.keyboard.press("Escape")
    expect(page.get_by_label("Comment")).to_be_hidden()
    assert (page.evaluate(FOCUS), details.get_attribute("aria-expanded")) == ("more", "false")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.shadowRoot.activeElement.value") == "incorrect"
    expect(page.get_by_label("Comment")).to_have_value("kept")


def tree(page: Page) -> list[tuple[str, str, dict[str, object]]]:
    """(role, name, states) of everything in the browser's own accessibility tree."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [
        (
            node["role"]["value"],
            node.get("name", {}).get("value", ""),
            {item["name"]: item["value"].get("value") for item in node.get("properties", [])},
        )
        for node in nodes
        if not node["ignored"]
    ]


def test_the_browser_gives_every_control_a_role_a_name_and_a_state(show: Show) -> None:
    page = show(reasons=REASONS, comment="")
    thumb(page, "Bad answer").click()
    page.get_by_label("Harmful").check()
    found = {(role, name): states for role, name, states in tree(page)}
    assert found["group", "Rate this answer"] is not None
    assert found["button", "Good answer"]["pressed"] == "false"
    assert found["button", "Bad answer"]["pressed"] == "true"
    assert found["button", "Details"]["expanded"] is True
    assert found["group", "What was wrong?"] is not None
    assert found["checkbox", "Not correct"]["checked"] == "false"
    assert found["checkbox", "Harmful"]["checked"] == "true"
    assert found["textbox", "Comment"]["focusable"] is True
    assert ("button", "Send") in found
    assert found["status", ""]["live"] == "polite"
    assert "image" not in {role for role, _ in found}


def test_what_happens_is_said_once_and_only_what_came_of_it(show: Show, gateway: FakeGateway) -> None:
    page = show()
    page.locator("feedback-buttons").evaluate(
        """e => { window.said = []; const region = e.shadowRoot.querySelector("[role=status]");
            new MutationObserver(() => said.push(region.textContent)).observe(region, {childList: true}) }"""
    )
    gateway.answers = [(503, {}, {"Retry-After": "1"}), (503, {}, {})]
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Your vote was taken back.")
    assert page.evaluate("said.filter(Boolean)") == [
        "Not sent yet. Trying again…", "Saved, thank you.", "Your vote was taken back.",
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_colours_can_be_told_apart(show: Show, page: Page, tmp_path: Path, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its literals
    show(reasons=REASONS, comment="", style=BOTH)
    thumb(page, "Bad answer").click()
    page.get_by_label("Not correct").check()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    page.screenshot(path=tmp_path / f"{scheme}.png")
    report = Axe().run(page)
    assert report.violations_count == 0, report.generate_report()
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (luminance(back) < 0.1) is (scheme == "dark")
    assert contrast(fill(page, "down"), back) >= 3
    assert fill(page, "up") == "none"
    thumb(page).click()
    assert contrast(fill(page, "up"), back) >= 3


def test_a_page_that_is_always_light_gets_light_colours_in_dark_mode_too(show: Show, page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    show(style="body { background: white; color: black }")
    thumb(page).click()
    assert contrast(fill(page, "up"), "rgb(255, 255, 255)") >= 3
    thumb(page, "Bad answer").click()
    assert contrast(fill(page, "down"), "rgb(255, 255, 255)") >= 3


def test_in_forced_colours_it_can_be_seen(show: Show, page: Page, tmp_path: Path) -> None:
    page.emulate_media(forced_colors="active", color_scheme="dark")
    show(comment="", style=BOTH)
    thumb(page, "Bad answer").click()
    page.screenshot(path=tmp_path / "forced.png")
    back = page.evaluate("getComputedStyle(document.body).backgroundColor")
    stroke = page.locator("feedback-buttons").evaluate(
        "e => getComputedStyle(e.shadowRoot.querySelector('[part=down] svg')).stroke"
    )
    assert contrast(stroke, back) >= 4.5


def test_a_page_can_set_colours_sizes_and_parts(show: Show, tmp_path: Path) -> None:
    page = show(
        comment="",
        style="feedback-buttons { --feedback-up: rgb(1, 2, 3); --feedback-size: 60px }"
        "feedback-buttons::part(more) { background-color: rgb(4, 5, 6) }",
    )
    thumb(page).click()
    assert fill(page, "up") == "rgb(1, 2, 3)"
    box = thumb(page).bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (60, 60)
    thumb(page, "Bad answer").click()
    details = page.get_by_role("button", name="Details")
    assert details.evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(4, 5, 6)"


def test_a_narrow_page_is_not_made_wider_and_targets_are_large_enough(show: Show, page: Page, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 240, "height": 500})
    show(reasons=REASONS, comment="", style="body { margin: 8px }")
    thumb(page, "Bad answer").click()
    page.screenshot(path=tmp_path / "narrow.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= 240
    for control in page.get_by_role("button").all():
        box = control.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 24


def test_the_policy_under_which_all_of_this_runs_is_strict(show: Show, errors: list[str]) -> None:
    page = show()
    with pytest.raises(Error, match=r"Security Policy|TrustedScript|unsafe"):
        page.add_script_tag(content="window.inline = 1")
    page.evaluate("document.body.setAttribute('style', 'color: red')")
    assert page.evaluate("[typeof inline, getComputedStyle(document.body).color]") == ["undefined", "rgb(0, 0, 0)"]
    assert errors
    errors.clear()


def test_it_loads_as_a_module_too(show: Show, gateway: FakeGateway) -> None:
    page = show(script='type="module" crossorigin', endpoint=f"{gateway.url}/", token=token())
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")


@pytest.mark.parametrize("named", ['<img name="currentScript" src="/own.png">', '<form name="currentScript"></form>'])
def test_nothing_that_people_put_into_the_page_can_name_another_address(
    show: Show, gateway: FakeGateway, named: str
) -> None:
    """In the page, `document.currentScript` is what has this name; the policy that lets images in is none."""
    page = show(body=named, style="p { margin: 0 }")
    assert page.evaluate("document.currentScript instanceof HTMLElement")
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Saved, thank you.")
    gateway.wait(1)


def test_a_module_without_an_endpoint_asks_the_page_s_server_whatever_its_base_says(
    show: Show, gateway: FakeGateway
) -> None:
    page = show(head=f'<base href="{gateway.url}">', script='type="module" crossorigin', style="p { margin: 0 }")
    thumb(page).click()
    expect(page.get_by_role("status")).to_have_text("Not saved.")
    assert gateway.taken == []
