"""Helicone's queries against the running product: a vote is found, tenants are apart, an outage stays where it is."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from tests.fixtures.vendor_samples import Player, Sample
from tests.polling import wait_until
from tests.system.conftest import Running

pytestmark = [pytest.mark.system, pytest.mark.integration]


@dataclass(frozen=True)
class Query:
    sample: str
    body: dict[str, Any]
    reply: dict[str, Any]


_FILE = Path(__file__).with_name("query_samples.yaml")
SAMPLES = [Query(**each) for each in yaml.safe_load(_FILE.read_text("utf-8"))["samples"]]
BAD = {"feedback": {"rating": {"equals": False}}}
LOG = {
    "providerRequest": {"url": "", "json": {"model": "gpt-4-turbo", "messages": [{"role": "user", "content": "Hi?"}]}},
    "providerResponse": {"status": 200, "json": {"choices": [{"message": {"role": "assistant", "content": "Hi!"}}]}},
}


class Client:
    """One tenant's client of the gateway; its key is known when this is made."""

    def __init__(self, up: Running, tenant: str) -> None:
        headers = {"Authorization": f"Bearer {up.key(tenant)}"}
        self.http = httpx.Client(base_url=up.ready["gateway_url"], headers=headers, timeout=30)
        wait_until(lambda: self.post("count/query", {"filter": "all"}).status_code != 401, 30, "the key is known")

    def post(self, path: str, body: Any) -> httpx.Response:
        return self.http.post(f"/v1/request/{path}", json=body)

    def vote(self, request: str, rating: bool) -> None:
        reply = self.post(f"{request}/feedback", {"rating": rating})
        assert (reply.status_code, reply.json()) == (200, {"data": None, "error": None})

    def log(self, request: str, *, user: str, environment: str) -> None:
        headers = {
            "Helicone-Request-Id": request,
            "Helicone-User-Id": user,
            "Helicone-Property-Environment": environment,
        }
        assert self.http.post("/custom/v1/log", json=LOG, headers=headers).status_code == 200

    def rows(self, body: Any, path: str = "query") -> list[dict[str, Any]]:
        reply = self.post(path, body)
        assert reply.status_code == 200, reply.text
        rows: list[dict[str, Any]] = reply.json()["data"]
        return rows

    def rating(self, request: str) -> bool | None:
        """The rating that a query finds; None also when the request is not there."""
        rows = self.rows({"filter": {"request": {"id": {"equals": request}}}})
        return rows[0]["feedback_rating"] if rows else None

    def ratings(self, *requests: str) -> dict[str, bool | None]:
        """The same of those requests that are there."""
        return {row["request_id"]: row["feedback_rating"] for row in self.rows({"requestIds": requests}, "query-ids")}


@pytest.fixture
def tenants(up: Running, unique: Callable[[str], str]) -> Iterator[Callable[[], Client]]:
    """Makes clients, each of a tenant of its own."""
    made: list[Client] = []

    def make() -> Client:
        made.append(Client(up, unique("asking")))
        return made[-1]

    yield make
    for client in made:
        client.http.close()


@pytest.fixture
def client(tenants: Callable[[], Client]) -> Client:
    return tenants()


def test_a_vote_is_found_soon_and_the_latest_one_counts(
    client: Client, record_property: Callable[[str, object], None]
) -> None:
    for number, rating in enumerate([True, False, True, False]):
        client.vote("req", rating)
        answered = time.monotonic()
        wait_until(lambda wanted=rating: client.rating("req") is wanted, 30, "the query shows the vote")  # type: ignore[misc]  # bound at once
        seconds = round(time.monotonic() - answered, 2)
        record_property(f"vote {number} visible after", seconds)
        print(f"vote {number} visible {seconds} s after its 200")
    (row,) = client.rows({"filter": BAD})
    assert row["scores"] == {"helicone-score-feedback": 0}
    assert row["feedback_created_at"] >= row["request_created_at"]
    assert client.http.get("/v1/request/req").json() == {"data": row, "error": None}
    assert client.rows({"requestIds": ["req", "nobody"]}, "query-ids") == [row]
    assert client.post("count/query", {"filter": BAD}).json() == {"data": 1, "error": None}


def test_the_vendors_samples_get_their_replies(client: Client) -> None:
    client.log("good", user="anna", environment="staging")
    client.vote("good", True)
    client.vote("bad", False)
    client.log("none", user="abc@email.com", environment="production")
    ratings = {"good": True, "bad": False, "none": None}
    wait_until(lambda: client.ratings(*ratings) == ratings, 30, "all three requests are there")
    player = Player(Sample("queries", (), ()), "")
    for sample, path in product(SAMPLES, ("query", "query-clickhouse")):
        reply = client.post(path, sample.body)
        player.compare(f"{sample.sample}: {path}", sample.reply, {"status": reply.status_code, "body": reply.json()})
    times = {name: datetime.fromisoformat(text) for name, text in player.known.items() if text}
    assert times["good_logged"] < times["good_rated"] < times["bad_rated"] < times["none_logged"]


def test_tenants_see_their_own_and_strangers_see_nothing(client: Client, tenants: Callable[[], Client]) -> None:
    client.vote("mine", False)
    wait_until(lambda: client.rating("mine") is False, 30, "the query shows the vote")
    other = tenants()
    assert other.rows({"filter": "all"}) == []
    assert other.rows({"requestIds": ["mine"]}, "query-ids") == []
    assert other.post("count/query", {"filter": "all"}).json()["data"] == 0
    assert other.http.get("/v1/request/mine").status_code == 404
    assert other.http.get("/v1/request/mine", headers={"Authorization": "Bearer nobody"}).status_code == 401


def test_the_gateway_holds_no_login_that_may_write(up: Running) -> None:
    given = psutil.Process(up.ready["pids"]["gateway"]).environ().values()
    assert up.ready["clickhouse_analyst"]["password"] in given
    assert up.ready["clickhouse_admin"]["password"] not in given


def test_while_clickhouse_is_out_only_queries_fail(client: Client, up: Running) -> None:
    client.vote("before", True)
    wait_until(lambda: client.rating("before"), 30, "the query shows the vote")
    old = up.kill("clickhouse")
    reply = client.post("query", {"filter": "all"})
    assert (reply.status_code, reply.json()["data"]) == (503, None)
    assert reply.headers["retry-after"]
    client.vote("meanwhile", False)
    wait_until(lambda: up.is_back("clickhouse", old), 60, "ClickHouse is back")
    found = {"filter": {"request": {"id": {"equals": "meanwhile"}}}}
    wait_until(lambda: client.post("query", found).json()["data"], 60, "the vote of the outage is found")
