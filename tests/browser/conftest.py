"""A page with the widget on one origin, and on another one a gateway that notes what it is sent."""

import base64
import html
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Page
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
    open: threading.Event = field(default_factory=threading.Event)  # while it is not set, answers wait

    async def vote(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.taken.append(body)
        while not self.open.is_set():
            await request.is_disconnected()
        if self.answers:
            status, document, headers = self.answers.pop(0)
            return JSONResponse(document, status, {**CORS, **headers})
        return JSONResponse({"accepted": 1, "rejected": 0, "event_ids": [body["event_id"]], "errors": []}, headers=CORS)

    def wait(self, count: int) -> list[dict[str, Any]]:
        """All bodies, once there are `count`."""
        wait_until(lambda: len(self.taken) >= count, DEADLINE, f"{count} requests; there are {self.taken}")
        assert len(self.taken) == count
        return self.taken


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    fake = FakeGateway()
    fake.open.set()
    app = Starlette(routes=[*widget_page.routes(), Route("/v1/token-feedback", fake.vote, methods=["POST"])])
    with serving(app) as fake.url:
        yield fake
        fake.open.set()


@dataclass
class Site:
    """Pages of a customer. `html` is shown at every path."""

    url: str = ""
    html: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def show(self, _: Request) -> Response:
        return HTMLResponse(self.html, headers=self.headers)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    with serving(Starlette(routes=[Route("/{path:path}", made.show)])) as made.url:
        yield made


HEAD = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Chat</title>'
Show = Callable[..., Page]


@pytest.fixture
def show(site: Site, gateway: FakeGateway, page: Page) -> Show:
    """Open a page with one widget: `show(comment="", reasons="slow")`; a `style` goes into the head."""

    def opened(*, style: str = "", head: str = "", policy: bool = True, **attributes: str) -> Page:
        given = {"token": token()} | {name.replace("_", "-"): value for name, value in attributes.items()}
        written = "".join(f' {name}="{html.escape(value)}"' for name, value in given.items())
        sheet = f"<style>{style}</style>" if style else ""
        site.headers = {"Content-Security-Policy": STRICT.format(gateway=gateway.url)} if policy and not style else {}
        script = f'<script src="{gateway.url}/widget.js" defer></script>'
        body = f"<main><h1>Chat</h1><p>It rains.</p><feedback-buttons{written}></feedback-buttons></main>"
        site.html = f"{HEAD}{head}{sheet}{script}</head><body>{body}</body></html>"
        page.goto(site.url)
        return page

    return opened


@pytest.fixture(autouse=True)
def no_errors(page: Page) -> Iterator[None]:
    """A page with the widget logs no error and breaks no rule of its Content-Security-Policy."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Security Policy" in message.text else None)
    yield
    assert errors == []
