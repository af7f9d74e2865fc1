"""Tokens, origins and limits over real HTTP: what the server around the application must not spoil."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from producers.limits import Rate
from producers.server import configuration
from tests.fixtures.site import ELSEWHERE, PAGE, Site
from tests.polling import wait_until


@contextlib.contextmanager
def serving(site: Site) -> Iterator[httpx.Client]:
    """A client that keeps its connection to the site, served as the gateway serves it."""
    server = uvicorn.Server(configuration(site.app, "127.0.0.1", 0))
    thread = threading.Thread(target=server.run)  # signals stay with the main thread
    thread.start()
    try:
        wait_until(lambda: server.started, 20, "the server listens")
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path, per_address=Rate(1, 2))


def test_a_page_asks_votes_changes_its_mind_and_another_page_may_not(site: Site) -> None:
    with serving(site) as client:
        asked = {"request_id": "r1", "origins": [PAGE]}
        token = client.post("/v1/feedback-tokens", headers=bearer(site.server), json=asked).json()["token"]
        may = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        }
        reply = client.options("/v1/token-feedback", headers=may)
        assert (reply.status_code, reply.content) == (204, b"")
        for rating in (True, False):
            reply = client.post(
                "/v1/token-feedback", headers={**bearer(token), "Origin": PAGE}, json={"rating": rating}
            )
            assert reply.status_code == 200
            assert reply.headers.get_list("access-control-allow-origin") == [PAGE]
        reply = client.post("/v1/token-feedback", headers={**bearer(token), "Origin": ELSEWHERE}, json={"rating": True})
        assert reply.status_code == 403
    assert [(event.request_id, event.rating) for event in site.events] == [("r1", True), ("r1", False)]


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_connection_goes_on_after_a_refusal_that_did_not_read_the_body(site: Site) -> None:
    with serving(site) as client:
        large = b"x" * 500_000
        statuses = [client.post("/v1/events", headers=bearer("ts_x_y"), content=large).status_code for _ in range(3)]
        assert statuses == [401, 401, 429]
        vote = {"request_id": "r", "rating": True}
        assert client.post("/v1/events", headers=bearer(site.reader), json=vote).status_code == 200


def test_nobody_on_the_same_machine_can_claim_another_address(site: Site) -> None:
    with serving(site) as client:
        statuses = [
            client.post("/v1/events", headers={"X-Forwarded-For": f"198.51.100.{number}"}, json={}).status_code
            for number in range(3)
        ]
        assert statuses == [401, 401, 429]


def test_a_key_beyond_its_rate_is_refused_again_and_again_and_each_time_counts(tmp_path: Path) -> None:
    site = Site(tmp_path, per_key=Rate(1, 2))
    vote = {"request_id": "r", "rating": True}
    with serving(site) as client:

        def send(secret: str, **more: str) -> tuple[int, str | None]:
            reply = client.post("/v1/events", headers={**bearer(secret), **more}, json=vote)
            return reply.status_code, reply.headers.get("retry-after")

        assert [send(site.server) for _ in range(6)] == [(200, None)] * 2 + [(429, "1")] * 4
        assert send(site.reader) == (200, None), "another key on the same connection"
        assert send(site.server, Origin=PAGE) == (429, "1")
        assert client.post("/v1/events", headers=bearer(site.server), json=[vote] * 30).status_code == 429
        site.now += 1
        assert [send(site.server) for _ in range(2)] == [(200, None), (429, "1")]
        assert client.post("/v1/events", headers=bearer(site.reader), json=[vote] * 30).status_code == 200
        assert [send(site.reader)[1] for _ in range(2)] == ["29", "29"]
        site.now += 5
        assert [send(site.reader)[1] for _ in range(2)] == ["24", "24"]
    assert len(site.events) == 34
    assert site.metrics.value("events_refused", dialect="native", reason="rate_limited") == 11
    assert site.metrics.value("requests", dialect="native", status="429") == 11


def test_a_page_is_told_that_it_sends_too_much_so_that_it_can_read_it_each_time(tmp_path: Path) -> None:
    site = Site(tmp_path, per_token=Rate(1, 1))
    token = site.token()
    with serving(site) as client:
        for status in (200, 429, 429, 429):
            headers = {**bearer(token), "Origin": PAGE}
            reply = client.post("/v1/token-feedback", headers=headers, json={"rating": True})
            assert reply.status_code == status
            assert reply.headers.get_list("access-control-allow-origin") == [PAGE]
