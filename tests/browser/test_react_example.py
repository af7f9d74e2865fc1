"""The React example as it is published: it type-checks, runs in StrictMode, and its votes are for the answer shown."""

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import ConsoleMessage, Page, Route, expect

from tests.browser.conftest import HEAD, FakeGateway, Pages, content, pressed, thumb, token
from tests.fixtures.memory_gateway import MemoryGateway
from tests.fixtures.vendor_clients import node_client, run_node

pytestmark = pytest.mark.browser

EXAMPLE = Path(__file__).parents[2] / "examples" / "react"
TOOLS = ["esbuild@0.28.2", "typescript@7.0.2"]
# With everything that they need, so that nothing is resolved.
REACT = {
    "18": [
        "react@18.3.1", "react-dom@18.3.1", "scheduler@0.23.2", "loose-envify@1.4.0", "js-tokens@4.0.0",
        "@types/react@18.3.31", "@types/react-dom@18.3.7", "@types/prop-types@15.7.15", "csstype@3.2.4",
    ],
    "19": [
        "react@19.3.1", "react-dom@19.3.1", "scheduler@0.28.0",
        "@types/react@19.3.0", "@types/react-dom@19.3.0", "csstype@3.2.4",
    ],
}  # fmt: skip
STRICT = ["--noEmit", "--strict", "--skipLibCheck", "--jsx", "react-jsx", "--target", "es2022"]
MODULES = ["--module", "esnext", "--moduleResolution", "bundler"]
BUNDLE = ["--bundle", "--jsx=automatic", "--format=esm", "--log-level=warning"]
TOOL_SECONDS = 60
POLICY = "default-src 'none'; script-src 'self' {gateway}; connect-src 'self' {gateway}"
PLACEHOLDER = "https://feedback.example"  # what a reader of the example replaces by the own gateway
CHAT = """
import { type ReactNode, StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Answer } from "./Answer";
import { FeedbackButtons, type FeedbackButtonsProps, type FeedbackDetail } from "./FeedbackButtons";

const root = createRoot(document.querySelector("main")!);
const render = (shown: ReactNode) => root.render(<StrictMode>{shown}</StrictMode>);
const seen: [string, FeedbackDetail][] = [];
const note = (name: string) => (detail: FeedbackDetail) => void seen.push([name, detail]);
const answer = (id: string) => render(<Answer id={id} text={`This is ${id}.`} />);
const buttons = (props: FeedbackButtonsProps) =>
  render(
    <FeedbackButtons
      {...props}
      onChange={note("change")}
      onWaiting={note("waiting")}
      onStored={note("stored")}
      onFailed={note("failed")}
    />,
  );
Object.assign(window, { answer, buttons, seen });
"""
ASK = """
import { pathToFileURL } from "node:url";
const [bundle, gateway, key] = process.argv.slice(-3);
Object.assign(process.env, { FEEDBACK_GATEWAY: gateway, THUMBSTREAM_API_KEY: key });
globalThis.userOf = async (request) =>
  request.headers.has("Cookie") ? { id: "ann", maySee: async (answer) => answer === "answer-1" } : null;
const { POST } = await import(pathToFileURL(bundle));
const ask = async (answer, headers) => {
  const url = "https://chat.example/api/feedback-token?answer=" + answer;
  const reply = await POST(new Request(url, { method: "POST", headers }));
  return [reply.status, await reply.json()];
};
const cookie = { Cookie: "ann" };
console.log(JSON.stringify([await ask("answer-1", cookie), await ask("answer-2", cookie), await ask("answer-1", {})]));
"""


def packages(wanted: Sequence[str]) -> Path:
    """The packages, installed."""
    return node_client(wanted) / "node_modules"


def run_tool(name: str, arguments: Sequence[str | Path], directory: Path) -> None:
    """Run `tsc` or `esbuild`; what it complains about fails the test."""
    command = [packages(TOOLS) / ".bin" / name, *arguments]
    alone = {**os.environ, "GOMAXPROCS": "1"}  # both would take all cores from the tests beside them
    done = subprocess.run(
        command, cwd=directory, env=alone, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-4_000:]}\n{done.stderr[-4_000:]}"


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The example with a page around it, that React beside it, and all of it bundled."""

    @cache
    def made(version: str) -> Path:
        directory = tmp_path_factory.mktemp("react") / version
        shutil.copytree(EXAMPLE, directory)
        (directory / "chat.tsx").write_text(CHAT)
        (directory / "node_modules").symlink_to(packages(REACT[version]))
        run_tool("esbuild", [*BUNDLE, "--outfile=chat.js", "chat.tsx"], directory)
        return directory

    return made


@pytest.fixture(params=REACT)
def project(request: pytest.FixtureRequest, projects: Callable[[str], Path]) -> Path:
    return projects(request.param)


class Chat:
    """The customer's site in the browser. It gives a token for every answer, unless it shall `hold` them back."""

    def __init__(self, page: Page, gateway: FakeGateway) -> None:
        self.page = page
        self.hold = False
        self._gateway = gateway
        self._held: list[Route] = []
        self._answers: dict[str, str] = {}

    def show(self, function: str, given: Any) -> None:
        """Render, again if something is there already."""
        self.page.evaluate(f"given => {function}(given)", given)

    def ask(self, route: Route) -> None:
        """`/api/feedback-token`."""
        assert route.request.method == "POST"
        if self.hold:
            self._held.append(route)
        else:
            answer = route.request.url.partition("?answer=")[2]
            made = token(answer, number=len(self._answers))
            self._answers[made] = answer
            route.fulfill(json={"token": made})

    def release(self) -> None:
        self.hold = False
        while self._held:
            self.ask(self._held.pop())

    def votes(self, count: int) -> list[tuple[str, Any]]:
        """For which answer and what, once there are `count`."""
        return [(self._answers[event["token"]], content(event)) for event in self._gateway.wait(count)]


@pytest.fixture
def chat(project: Path, site: Pages, gateway: FakeGateway, page: Page, errors: list[str]) -> Chat:
    def complain(message: ConsoleMessage) -> None:
        refused = message.text.startswith("Failed to load resource")
        if message.type in ("error", "warning") and not refused:
            errors.append(message.text)

    bundle = (project / "chat.js").read_text()
    assert PLACEHOLDER in bundle
    made = Chat(page, gateway)
    page.route("**/api/feedback-token?*", made.ask)
    script = bundle.replace(PLACEHOLDER, gateway.url)
    page.route("**/chat.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page.on("console", complain)
    site.headers = {"Content-Security-Policy": POLICY.format(gateway=gateway.url)}
    site.html = f'{HEAD}<script type="module" src="/chat.js"></script></head><body><main></main></body></html>'
    page.goto(site.url)
    return made


def test_it_type_checks(project: Path) -> None:
    files = sorted(path.name for path in project.glob("*.ts*"))
    assert {"Answer.tsx", "FeedbackButtons.tsx", "chat.tsx", "feedback-token.ts"} <= set(files)
    run_tool("tsc", [*STRICT, *MODULES, *files], project)


def test_a_thumb_down_is_one_vote_for_the_answer(chat: Chat) -> None:
    chat.show("answer", "answer-1")
    thumb(chat.page, "Bad answer").click()
    expect(chat.page.get_by_role("status")).to_have_text("Saved, thank you.")
    assert chat.votes(1) == [("answer-1", {"rating": False})]
    chat.page.get_by_label("Not correct").check()
    chat.page.get_by_label("Comment").fill("It rains.")
    chat.page.get_by_role("button", name="Send").click()
    assert chat.votes(2)[1] == ("answer-1", {"reasons": ["incorrect"], "comment": "It rains."})


def test_the_next_answer_waits_for_its_own_token_and_gets_its_own_vote(chat: Chat) -> None:
    chat.show("answer", "answer-1")
    thumb(chat.page, "Bad answer").click()
    expect(chat.page.get_by_role("status")).to_have_text("Saved, thank you.")
    chat.hold = True
    chat.show("answer", "answer-2")
    expect(chat.page.get_by_text("This is answer-2.")).to_be_visible()
    expect(thumb(chat.page, "Bad answer")).to_be_disabled()
    chat.release()
    expect(thumb(chat.page, "Bad answer")).to_be_enabled()
    assert pressed(chat.page) == []
    thumb(chat.page, "Bad answer").click()
    expect(chat.page.get_by_role("status")).to_have_text("Saved, thank you.")
    assert chat.votes(2) == [("answer-1", {"rating": False}), ("answer-2", {"rating": False})]


def test_an_expired_token_is_replaced(chat: Chat, gateway: FakeGateway) -> None:
    chat.show("answer", "answer-1")
    gateway.answers = [(401, {"errors": [{"reason": "unauthorized"}]}, {})]
    thumb(chat.page).click()
    expect(chat.page.get_by_role("status")).to_have_text("Not saved.")
    (refused,) = gateway.wait(1)
    buttons = chat.page.locator("feedback-buttons")
    expect(buttons).not_to_have_attribute("token", refused["token"])
    thumb(chat.page).click()
    expect(chat.page.get_by_role("status")).to_have_text("Saved, thank you.")
    assert chat.votes(2) == [("answer-1", {"rating": True})] * 2


def test_every_property_reaches_the_widget_and_every_event_its_listener(chat: Chat, gateway: FakeGateway) -> None:
    given = {"gateway": gateway.url, "labels": {"up": "Gut", "down": "Schlecht"}, "value": "down", "storage": "session"}
    chat.show("buttons", given | {"token": None})
    expect(thumb(chat.page, "Gut")).to_be_disabled()
    chat.show("buttons", given | {"token": token()})
    expect(thumb(chat.page, "Schlecht")).to_have_attribute("aria-pressed", "true")
    gateway.answers = [(503, {}, {"Retry-After": "0.01"})]
    thumb(chat.page, "Gut").click()
    expect(chat.page.get_by_role("status")).to_have_text("Saved, thank you.")
    gateway.answers = [(400, {}, {})]
    thumb(chat.page, "Gut").click()
    expect(chat.page.get_by_role("status")).to_have_text("Not saved.")
    seen = chat.page.evaluate("seen.map(([name, { vote, status }]) => [name, vote, status])")
    assert seen[:3] == [["change", "up", None], ["waiting", "up", 503], ["stored", "up", 200]]
    assert seen[3:] == [["change", None, None], ["failed", None, 400]]
    assert chat.page.evaluate("[localStorage.length, Object.keys(sessionStorage)]") == [0, ["thumbstream:known"]]


def test_the_server_s_half_asks_for_a_token_that_the_gateway_takes(tmp_path: Path) -> None:
    gateway = MemoryGateway(tmp_path, rights=["tokens"])
    bundle = tmp_path / "feedback-token.mjs"
    run_tool("esbuild", [*BUNDLE, f"--outfile={bundle}", EXAMPLE / "feedback-token.ts"], tmp_path)
    with gateway.served() as url:
        (status, given), hidden, stranger = run_node(tmp_path, ASK, str(bundle), url, gateway.key)
        vote = {"rating": False, "token": given["token"]}
        reply = httpx.post(f"{url}/v1/token-feedback", json=vote, headers={"Origin": "https://chat.example"})
    assert hidden == stranger == [403, {"error": "not yours"}]
    assert (status, reply.status_code) == (200, 200)
    assert [(e.request_id, e.user_id, e.rating) for e in gateway.events] == [("answer-1", "ann", False)]
