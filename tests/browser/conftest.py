"""A page with the widget on one origin, and on another one a gateway that notes what it is sent."""

import asyncio
import base64
import html
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Locator, Page
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.fixtures.browser import serving
from tests.polling import wait_until
from thumbstream.widget import page as widget_page

DEADLINE = 10.0
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}
STRICT = (
    "default-src 'none'; script-src {gateway}; connect-src {gateway}; base-uri 'none'; form-action 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)


def token(request_id: str = "answer-1", user_id: str | None = "ann", **claims: Any) -> str:
    """What a browser can see of a feedback token."""
    now = int(time.time())
    content = {"tenant": "acme", "request": request_id, "user": user_id, "iat": now - 10, "exp": now + 3600}
    content |= {"kinds": ["vote", "retract", "context"], "values": {"rating": True}, "origins": []} | claims
    parts = ({"alg": "HS256", "typ": "feedback+jws"}, content)
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "x"]
    )


@dataclass
class FakeGateway:
    """Takes every vote, unless `answers` holds something else to say next: (status, body, headers)."""

    url: str = ""
    taken: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)  # while it is not set, answers wait

    async def vote(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.taken.append(body)
        await asyncio.to_thread(self.free.wait)
        if self.answers:
            status, document, headers = self.answers.pop(0)
            return JSONResponse(document, status, {**CORS, **headers})
        return JSONResponse({"accepted": 1, "rejected": 0, "event_ids": [body["event_id"]], "errors": []}, headers=CORS)

    def hold(self) -> None:
        """Answer nothing until `release`."""
        self.free.clear()

    def release(self) -> None:
        """Answer."""
        self.free.set()

    def wait(self, count: int) -> list[dict[str, Any]]:
        """All bodies, once there are `count`."""
        wait_until(lambda: len(self.taken) >= count, DEADLINE, f"{count} requests; there are {self.taken}")
        assert len(self.taken) == count
        return self.taken


@pytest.fixture(scope="module")
def _gateway() -> Iterator[FakeGateway]:
    fake = FakeGateway()
    app = Starlette(routes=[*widget_page.routes(), Route("/v1/token-feedback", fake.vote, methods=["POST"])])
    with serving(app) as fake.url:
        yield fake


@pytest.fixture
def gateway(_gateway: FakeGateway) -> Iterator[FakeGateway]:
    """As new; what the test before it left open has ended with its pages."""
    _gateway.taken, _gateway.answers = [], []
    _gateway.release()
    yield _gateway
    _gateway.release()


@dataclass
class Pages:
    """A customer's site. `html` is shown at every path."""

    url: str = ""
    html: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def show(self, _: Request) -> Response:
        return HTMLResponse(self.html, headers=self.headers)


@pytest.fixture(scope="module")
def site() -> Iterator[Pages]:
    made = Pages()
    with serving(Starlette(routes=[Route("/{path:path}", made.show)])) as made.url:
        yield made


def thumb(page: Page, name: str = "Good answer") -> Locator:
    """One of the two buttons."""
    return page.get_by_role("button", name=name)


def pressed(page: Page) -> list[str]:
    """Accessible names of the buttons that are pressed."""
    names: list[str] = page.get_by_role("button", pressed=True).evaluate_all("all => all.map(b => b.ariaLabel)")
    return names


def content(event: dict[str, Any]) -> dict[str, Any]:
    """What an event says, without who, when and by which right."""
    return {name: value for name, value in event.items() if name not in ("event_id", "event_time", "token")}


HEAD = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Chat</title>'
Show = Callable[..., Page]


@pytest.fixture
def show(site: Pages, gateway: FakeGateway, page: Page) -> Show:
    """Open a page with one widget: `show(comment="", label_up="Gut")`. `head` and `body` are more of the page.

    Its policy forbids everything but the gateway; with a `style` for the page there is none.
    """

    def opened(
        *, style: str = "", head: str = "", body: str = "", script: str = "defer", **attributes: str | None
    ) -> Page:
        given = {"token": token()} | {name.replace("_", "-"): value for name, value in attributes.items()}
        written = "".join(f' {name}="{html.escape(value)}"' for name, value in given.items() if value is not None)
        sheet = f"<style>{style}</style>" if style else ""
        site.headers = {} if style else {"Content-Security-Policy": STRICT.format(gateway=gateway.url)}
        load = f'<script src="{gateway.url}/widget.js" {script}></script>'
        main = f"<main><h1>Chat</h1><p>It rains.</p><feedback-buttons{written}></feedback-buttons>{body}</main>"
        site.html = f"{HEAD}{head}{sheet}{load}</head><body>{main}</body></html>"
        page.goto(site.url)
        return page

    return opened


@pytest.fixture(autouse=True)
def errors(page: Page) -> Iterator[list[str]]:
    """A page with the widget logs no error and breaks no rule of its Content-Security-Policy."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda message: found.append(message.text) if "Security Policy" in message.text else None)
    yield found
    assert found == []
