"""Rate limits: what a bucket lets through, what it forgets, and what the gateway answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from producers.addresses import address
from producers.limits import Limiter, Rate, parse_rate, seconds
from tests.fixtures.site import PAGE, Site, refusal


def test_a_bucket_lets_its_burst_through_and_then_its_rate() -> None:
    limiter = Limiter(Rate(2, 3))
    assert [limiter.take("a", 10.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert limiter.take("a", 10.4) == pytest.approx(0.1)
    assert limiter.take("a", 10.5) == 0
    assert limiter.take("a", 10.5) == 0.5
    assert [limiter.take("a", 99.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_names_do_not_share() -> None:
    limiter = Limiter(Rate(1, 1))
    assert (limiter.take("a", 0), limiter.take("b", 0), limiter.take("a", 0)) == (0, 0, 1)


def test_what_was_let_through_may_be_dearer_and_is_paid_off_before_more_comes() -> None:
    limiter = Limiter(Rate(10, 20))
    assert limiter.take("a", 0) == 0
    limiter.charge("a", 0, 99)
    assert limiter.wait("a", 0) == pytest.approx(8.1)  # 100 taken of 20: 80 and the next one are missing
    assert limiter.take("a", 8.2) == 0


def test_what_is_given_back_was_not_taken() -> None:
    limiter = Limiter(Rate(1, 1))
    assert limiter.take("a", 0) == 0
    limiter.give_back("a", 0)
    assert limiter.take("a", 0) == 0
    limiter.give_back("b", 0)
    assert len(limiter) == 1


def test_full_buckets_take_no_memory_and_all_others_a_bounded_one() -> None:
    limiter = Limiter(Rate(1, 1), names=10)
    for number in range(100):
        limiter.take(f"n{number}", 0)
    assert len(limiter) == 10
    assert limiter.take("n99", 0) == 1
    assert limiter.take("n0", 0) == 0, "who was forgotten starts anew"
    for number in range(20):
        limiter.take("a", 5.0 + number)
    assert len(limiter) == 1


def test_without_a_rate_nothing_is_limited_or_kept() -> None:
    limiter = Limiter(None)
    assert [limiter.take("a", 0) for _ in range(9)] == [0] * 9
    limiter.charge("a", 0, 9)
    limiter.give_back("a", 0)
    assert len(limiter) == 0


@pytest.mark.parametrize("text", ["20/100", "0.5/1", "1000000/1", "0.000001/5"])
def test_a_rate_is_written_as_it_is_read(text: str) -> None:
    assert str(parse_rate(text)) == text
    assert parse_rate(" ") is None


@pytest.mark.parametrize("text", ["20", "20/", "/20", "0/5", "5/0", "-1/5", "1/5.5", "1e3/5", "nan/1", "a/b"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="PER_SECOND/AT_ONCE"):
        parse_rate(text)


def test_a_wait_is_told_in_whole_seconds() -> None:
    assert [seconds(wait) for wait in (0.001, 1, 1.2, 60)] == [1, 1, 2, 60]


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "found"),
    [
        ("192.0.2.1", "203.0.113.9", 0, "192.0.2.1"),
        ("192.0.2.1", "203.0.113.9", 1, "203.0.113.9"),
        ("192.0.2.1", "6.6.6.6, 203.0.113.9", 1, "203.0.113.9"),
        ("192.0.2.1", "6.6.6.6, 203.0.113.9, 192.0.2.7", 2, "203.0.113.9"),
        ("192.0.2.1", "203.0.113.9", 2, "192.0.2.1"),
        ("192.0.2.1", "", 1, "192.0.2.1"),
        ("192.0.2.1", "unknown", 1, "unknown"),
        ("2001:db8:1:2:3:4:5:6", "", 0, "2001:db8:1:2::"),
        ("fe80::1%eth0", "", 0, "fe80::"),
        ("::ffff:192.0.2.1", "", 0, "192.0.2.1"),
        ("", "", 0, ""),
    ],
)
def test_an_address_is_the_one_that_the_outermost_trusted_proxy_saw(
    peer: str, forwarded: str, proxies: int, found: str
) -> None:
    assert address(peer, forwarded, proxies) == found


def limited(reply: httpx.Response, wait: int) -> bool:
    return (reply.status_code, reply.headers.get("retry-after")) == (429, str(wait))


def statuses(send: Callable[[], httpx.Response], times: int) -> list[int]:
    return [send().status_code for _ in range(times)]


def test_a_key_that_sends_too_much_waits_and_others_do_not(tmp_path: Path) -> None:
    site = Site(tmp_path, per_key=Rate(1, 2))

    def send(secret: str, events: int = 1) -> httpx.Response:
        headers = {"Authorization": f"Bearer {secret}"}
        return site.send("POST", "/v1/events", headers=headers, json=[{"request_id": "r", "rating": True}] * events)

    assert statuses(lambda: send(site.server), 3) == [200, 200, 429]
    reply = send(site.server)
    assert limited(reply, 1)
    assert refusal(reply) == (429, None, "rate_limited")
    assert send(site.reader).status_code == 200
    site.now += 1
    assert send(site.server).status_code == 200
    assert send(site.reader, 50).status_code == 200
    assert limited(send(site.reader), 49)
    assert site.metrics.value("events_refused", dialect="native", reason="rate_limited") == 3
    assert len(site.events) == 54


def test_every_dialect_says_429_in_its_own_form(tmp_path: Path) -> None:
    site = Site(tmp_path, per_key=Rate(1, 1))
    headers = {"Authorization": f"Bearer {site.server}"}
    replies = [site.send("POST", "/v1/request/r/feedback", headers=headers, json={"rating": True}) for _ in range(2)]
    assert limited(replies[1], 1)
    assert replies[1].json() == {"data": None, "error": "too many requests: wait as long as Retry-After says"}


def test_a_token_has_a_limit_of_its_own_which_a_second_token_for_that_answer_shares(tmp_path: Path) -> None:
    site = Site(tmp_path, per_token=Rate(1, 3), per_key=Rate(1, 5))
    first, second, other = site.token(), site.token(), site.token(request_id="r2")
    assert statuses(lambda: site.vote(first), 2) == [200, 200]
    assert statuses(lambda: site.vote(None, {"token": second, "rating": True}), 2) == [200, 429]
    reply = site.vote(first)
    assert limited(reply, 1)
    assert reply.headers["access-control-allow-origin"] == PAGE
    assert site.vote(other).status_code == 200
    assert site.ask().status_code == 200, "what pages do is not charged to the server's key"


def test_addresses_without_a_valid_key_wait_and_those_with_one_do_not(tmp_path: Path) -> None:
    site = Site(tmp_path, per_address=Rate(1, 2))
    wrong: dict[str, Any] = {"headers": {"Authorization": "Bearer ts_x_y"}, "json": {}}
    assert statuses(lambda: site.send("POST", "/v1/events", **wrong), 3) == [401, 401, 429]
    assert statuses(lambda: site.vote("x"), 1) == [429]
    assert site.send("POST", "/v1/events", address="192.0.2.2", **wrong).status_code == 401
    assert site.vote(site.token()).status_code == 200


def test_tokens_in_bodies_cost_an_address_nothing_if_they_are_good(tmp_path: Path) -> None:
    site = Site(tmp_path, per_address=Rate(1, 2))
    token = site.token()
    assert statuses(lambda: site.vote(None, {"token": token, "rating": True}), 5) == [200] * 5
    assert statuses(lambda: site.vote(None, {"token": "x", "rating": True}), 3) == [401, 401, 429]
    assert limited(site.vote(None, {"token": token, "rating": True}), 1)
    assert site.vote(token).status_code == 200, "in the header it is known before anything is read"


def test_bodies_that_never_say_who_sends_them_cost_an_address_what_it_has(tmp_path: Path) -> None:
    site = Site(tmp_path, per_address=Rate(1, 2))
    assert statuses(lambda: site.vote(None, b"{"), 3) == [400, 400, 429]


def test_behind_a_proxy_clients_are_told_apart_by_what_it_says(tmp_path: Path) -> None:
    site = Site(tmp_path, per_address=Rate(1, 1), proxies=1)

    def send(*forwarded: str) -> int:
        headers = [("X-Forwarded-For", line) for line in forwarded]
        return site.send("POST", "/v1/events", headers=headers, json={}).status_code

    assert [send("198.51.100.1"), send("198.51.100.2"), send("6.6.6.6, 198.51.100.1")] == [401, 401, 429]
    assert [send("6.6.6.6", "198.51.100.2"), send("198.51.100.1, 6.6.6.6", "198.51.100.3")] == [429, 401]
