"""Every route refuses in its dialect's own form, whatever the reason, and says when to come back where that helps."""

from pathlib import Path

import pytest

from producers.access import Protection
from producers.dialects.routing import ROUTES, Route, Router
from producers.limits import Rate
from tests.fixtures.memory_gateway import MemoryGateway
from tests.fixtures.refusal_forms import form, seen

LARGE = b'{"helicone-id": "h", "good_response": true, "x": "' + b"x" * (1 << 20) + b'"}'


def names(route: Route) -> str:
    return f"{route.method} {route.template}, {route.dialect.name}"


def headers(route: Route, key: str) -> dict[str, str]:
    """The key where clients of the route put it."""
    if route.sign == "x-portkey-api-key":
        return {"x-portkey-api-key": key}
    return {"helicone-auth" if route.sign == "helicone-auth" else "authorization": f"Bearer {key}"}


def path(route: Route) -> str:
    return route.template.replace("{", "").replace("}", "")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> MemoryGateway:
    return MemoryGateway(tmp_path_factory.mktemp("forms"), rights=("ingest", "tokens", "admin"))


@pytest.mark.parametrize("route", ROUTES, ids=names)
@pytest.mark.parametrize(
    ("status", "more", "body"),
    [(413, {}, LARGE), (415, {"content-encoding": "gzip"}, b"{}"), (400, {}, b"{"), (401, {}, b"{}")],
    ids=["413", "415", "400", "401"],
)
def test_a_request_that_is_refused_as_a_whole(
    gateway: MemoryGateway, route: Route, status: int, more: dict[str, str], body: bytes
) -> None:
    before = len(gateway.publisher.messages)
    key = gateway.token("r") if route.dialect.token else gateway.key
    reply = gateway.send(route.method, path(route), {**headers(route, "x" if status == 401 else key), **more}, body)
    if not route.dialect.reads_body and status == 400:
        assert reply.status_code == 200
        return
    assert reply.status_code == status, reply.text
    assert seen(reply.headers, reply.content) == _expected(route, status)
    assert len(gateway.publisher.messages) == before


def _expected(route: Route, status: int) -> object:
    """Before the body is read, a client that gives no sign is answered by the most general dialect of its path."""
    same = [other for other in ROUTES if (other.method, other.template) == (route.method, route.template)]
    return form((route if route.sign else same[-1]).dialect, status)


@pytest.mark.parametrize("route", ROUTES, ids=names)
def test_too_many_requests(tmp_path: Path, route: Route) -> None:
    slow = Rate(0.001, 1)
    limits = Protection(per_key=slow, per_token=slow, per_address=slow)
    gateway = MemoryGateway(tmp_path, protection=limits)
    for _ in range(2):
        reply = gateway.send(route.method, path(route), headers(route, gateway.key), b"{}")
    assert reply.status_code == 429
    assert seen(reply.headers, reply.content) == _expected(route, 429)
    assert int(reply.headers["retry-after"]) > 0
    assert gateway.metrics.value("events_refused", dialect=route.dialect.name, reason="rate_limited") == 1


@pytest.mark.parametrize("route", ROUTES, ids=names)
def test_too_many_connections(gateway: MemoryGateway, route: Route) -> None:
    sent = [(name.encode(), value.encode()) for name, value in headers(route, gateway.key).items()]
    scope = {"type": "http", "method": route.method, "raw_path": path(route).encode(), "headers": sent}
    answer = gateway.app.turn_away(scope)
    named = {name.decode().lower(): value.decode() for name, value in answer.headers}
    assert (answer.status, int(named["retry-after"]) > 0) == (503, True)
    assert seen(named, answer.body) == _expected(route, 503)


@pytest.mark.parametrize("route", ROUTES, ids=names)
def test_a_method_that_the_path_does_not_take(gateway: MemoryGateway, route: Route) -> None:
    reply = gateway.send("PATCH", path(route), headers(route, gateway.key), b"{}")
    assert (reply.status_code, route.method in reply.headers["allow"]) == (405, True)
    general = Router().at(path(route))[-1][0]
    assert seen(reply.headers, reply.content) == form((route if route.sign else general).dialect, 405)
