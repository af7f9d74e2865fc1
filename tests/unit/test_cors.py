"""What browsers are told: which pages may call, on which paths, and that a cache must not mix them up."""

from pathlib import Path

import httpx
import pytest

from producers import cors
from tests.fixtures.site import ELSEWHERE, PAGE, Site, refusal

VOTE, KEYED = "/v1/token-feedback", "/v1/request/r1/feedback"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def preflight(site: Site, path: str, origin: str = PAGE, asked: str = "authorization,content-type") -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    return site.send("OPTIONS", path, headers=headers)


def rate(site: Site, secret: str, origin: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {secret}", **({"Origin": origin} if origin else {})}
    return site.send("POST", KEYED, headers=headers, json={"rating": True})


def is_silent(reply: httpx.Response) -> bool:
    return not any(name.startswith("access-control") for name in reply.headers) and reply.headers["vary"] == "Origin"


def test_a_preflight_for_tokens_lets_any_page_ask(site: Site) -> None:
    reply = preflight(site, VOTE)
    assert (reply.status_code, reply.content) == (204, b"")
    assert {name: value for name, value in reply.headers.items() if name not in ("date", "server")} == {
        "vary": "Origin",
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "POST",
        "access-control-allow-headers": "authorization,content-type",
        "access-control-max-age": "7200",
    }
    assert site.metrics.value("requests", dialect="browser", status="204") == 1


def test_a_gateway_may_name_the_pages_that_may_use_tokens(tmp_path: Path) -> None:
    site = Site(tmp_path, page_origins=(PAGE,))
    assert preflight(site, VOTE).status_code == 204
    reply = preflight(site, VOTE, ELSEWHERE)
    assert refusal(reply) == (403, None, "forbidden")
    assert is_silent(reply)
    token = site.token()
    assert site.vote(token, origin=PAGE).status_code == 200
    for reply in (
        site.vote(token, origin=ELSEWHERE),
        site.vote("x", origin=ELSEWHERE),
        site.vote(None, {"token": token, "rating": True}, origin=ELSEWHERE),
    ):
        assert refusal(reply) == (403, None, "forbidden")
        assert is_silent(reply)
    assert len(site.events) == 1


def test_a_page_can_read_its_answers_and_its_refusals(site: Site) -> None:
    token = site.token(origins=[PAGE])
    for reply, status in (
        (site.vote(token), 200),
        (site.vote(token, {"rating": 1}), 400),
        (site.vote(token, {"rating": True, "request_id": "r2"}), 403),
        (site.vote(token + "x"), 401),
        (site.vote(token, "{"), 400),
        (site.vote(None, {}), 401),
    ):
        assert reply.status_code == status
        assert reply.headers["access-control-allow-origin"] == PAGE
        assert reply.headers["access-control-expose-headers"] == "Retry-After"
        assert reply.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in reply.headers
    site.publisher.down = "no broker"
    reply = site.vote(token)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (503, PAGE)


def test_who_is_no_page_is_told_nothing_about_pages(site: Site) -> None:
    assert is_silent(site.vote(site.token(), origin=None))
    assert is_silent(site.ask())


def test_a_key_with_origins_works_in_their_pages_and_in_programs_only(site: Site) -> None:
    reply = rate(site, site.in_page, PAGE)
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == PAGE
    assert rate(site, site.in_page, None).status_code == 200
    reply = rate(site, site.in_page, ELSEWHERE)
    assert (reply.status_code, reply.json()["data"]) == (403, None)  # in the form of that vendor
    assert is_silent(reply)
    assert len(site.events) == 2


def test_a_key_without_origins_gets_no_permission_for_any_page(site: Site) -> None:
    for origin in (PAGE, ELSEWHERE):
        assert is_silent(rate(site, site.server, origin))


def test_preflight_on_the_other_paths_knows_only_origins_that_some_key_has(site: Site) -> None:
    for path in (KEYED, "/v1/events", "/v1/events/"):
        reply = preflight(site, path, asked="x-portkey-api-key, content-type")
        assert reply.status_code == 204
        assert reply.headers["access-control-allow-headers"] == "x-portkey-api-key, content-type"
        reply = preflight(site, path, ELSEWHERE)
        assert reply.status_code == 403
        assert is_silent(reply)
    assert preflight(site, KEYED, ELSEWHERE).json() == {"data": None, "error": "pages of this origin may not do this"}


def test_a_page_that_forgot_its_key_is_told_so_where_some_key_has_its_origin(site: Site) -> None:
    reply = rate(site, "ts_x_y", PAGE)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (401, PAGE)
    assert is_silent(rate(site, "ts_x_y", ELSEWHERE))


def test_a_preflight_promises_only_what_there_is(site: Site) -> None:
    assert preflight(site, "/v1/nothing").status_code == 404
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "PUT"}
    assert site.send("OPTIONS", VOTE, headers=headers).status_code == 405
    assert site.send("OPTIONS", VOTE).status_code == 405


@pytest.mark.parametrize("asked", ["", "a, b\r\nx: y", "a;b", "x" * 1_025, ",", "a,,b"])
def test_header_names_that_are_none_are_not_repeated(asked: str) -> None:
    assert "Access-Control-Allow-Headers" not in cors.preflight_headers(PAGE, ["POST"], asked)
