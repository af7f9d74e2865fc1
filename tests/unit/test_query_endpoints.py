"""The query endpoints over a reader in memory: who may ask, the envelope of every answer, and what an outage does."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from producers.access import Protection
from producers.bodies import MAX_BODY
from producers.gateway import create_app
from producers.keys import Keys, create_key
from producers.limits import Rate
from producers.publisher import MemoryPublisher
from thumbstream.console import helicone_queries
from thumbstream.console.clickhouse_reader import ResultTooLargeError, UnreadableError
from thumbstream.console.helicone_queries import HeliconeQueries
from thumbstream.console.query_slots import Limits
from thumbstream.console.request_statements import Statement, Statements
from thumbstream.telemetry import Metrics

ROW = {
    "id": "r1", "vote": 1, "kind": "explicit", "words": "", "user": None, "model_name": "m", "prompt": None,
    "version": None, "entries": {}, "voted_ms": 0, "first_ms": 0, "updated_ms": 0,
}  # fmt: skip
POSTS = ("query", "query-clickhouse", "query-ids", "count/query")
ALL = {"filter": "all"}


class FakeReader:
    """Gives what it was told to, or raises it, and remembers the statements."""

    def __init__(self) -> None:
        self.asked: list[Statement] = []
        self.gives: list[dict[str, Any]] | Exception = [ROW]
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        self.asked.append(statement)
        self.begun.set()
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives


class Console:
    """A whole gateway with query endpoints, and keys with and without the right."""

    def __init__(self, directory: Path, *, reader: bool = True, **options: Any) -> None:
        file = directory / "keys.toml"
        self.secret = create_key(file, "acme", ["query"])
        self.writer = create_key(file, "acme", ["ingest"])
        self.page = create_key(file, "acme", ["query"], origins=["https://chat.example"])
        self.reader, self.metrics = FakeReader(), Metrics()
        keys = Keys(file)
        queries = HeliconeQueries(
            keys,
            self.metrics,
            Statements("analytics"),
            self.reader if reader else None,
            missing="queries are not set up here: no URL",
            **options,
        )
        self.app = create_app(MemoryPublisher(), keys, self.metrics, more=queries.routes())

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Authorization": f"Bearer {self.secret}", **{k.replace("_", "-"): v for k, v in headers.items()}}
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, content=content, headers=sent)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return asyncio.run(self.ask("POST", f"/v1/request/{path}", body, **headers))

    def get(self, request_id: str, **headers: str) -> httpx.Response:
        return asyncio.run(self.ask("GET", f"/v1/request/{request_id}", **headers))


@pytest.fixture
def console(tmp_path: Path) -> Console:
    return Console(tmp_path)


def body_for(path: str) -> dict[str, Any]:
    return {"requestIds": ["r1"]} if path == "query-ids" else ALL


def answer(reply: httpx.Response) -> Any:
    """The data of a reply that must be good."""
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "application/json"
    assert set(reply.json()) == {"data", "error"}
    assert reply.json()["error"] is None
    return reply.json()["data"]


def error(reply: httpx.Response) -> tuple[int, str]:
    """Status and message of a reply that must be a refusal in the vendor's envelope."""
    assert set(reply.json()) == {"data", "error"}
    assert reply.json()["data"] is None
    return reply.status_code, reply.json()["error"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_every_path_answers_in_the_envelope(console: Console, slash: str) -> None:
    for path in POSTS[:3]:
        (row,) = answer(console.post(path + slash, body_for(path)))
        assert (row["request_id"], row["feedback_rating"]) == ("r1", True)
    assert answer(console.get("r1" + slash))["request_id"] == "r1"
    console.reader.gives = [{"total": "7"}]
    assert answer(console.post("count/query" + slash, ALL)) == 7
    assert console.metrics.value("requests", dialect="helicone-query", status="200") == 5


def test_nobody_asks_without_a_key_that_has_the_right(console: Console) -> None:
    for path in POSTS:
        for headers in ({"Authorization": ""}, {"Authorization": "Bearer nobody"}, {"Authorization": console.secret}):
            reply = console.post(path, body_for(path), **headers)
            assert (reply.status_code, reply.json()["trace"]) == (401, "isAuthenticated.error")
        refused = error(console.post(path, body_for(path), Authorization=f"Bearer {console.writer}"))
        assert refused == (403, "this key does not have the right query")
    assert console.get("r1", Authorization="").status_code == 401
    assert console.reader.asked == []


def test_a_key_made_for_pages_answers_those_pages_only(console: Console) -> None:
    headers = {"Authorization": f"Bearer {console.page}"}
    answer(console.post("query", ALL, Origin="https://chat.example", **headers))
    assert error(console.post("query", ALL, Origin="https://evil.example", **headers))[0] == 403


def test_queries_have_a_rate_per_key_and_guessing_has_one_per_address(tmp_path: Path) -> None:
    rates = Protection(per_key=Rate(0.001, 2), per_address=Rate(0.001, 1), monotonic=lambda: 0.0)
    console = Console(tmp_path, protection=rates)
    assert [console.post("query", ALL).status_code for _ in range(3)] == [200, 200, 429]
    guesses = [console.post("query", ALL, Authorization="Bearer ts_a_b") for _ in range(2)]
    assert [reply.status_code for reply in guesses] == [401, 429]
    assert int(guesses[1].headers["retry-after"]) > 100


def test_guesses_are_counted_by_what_the_proxy_says_not_by_what_the_client_says(tmp_path: Path) -> None:
    console = Console(tmp_path, protection=Protection(per_address=Rate(0.001, 1), proxies=1))
    guess = [("Authorization", "Bearer nobody"), ("X-Forwarded-For", "203.0.113.7")]

    async def ask(invented: str) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(console.app), base_url="http://gateway") as client:
            headers = [("X-Forwarded-For", invented), *guess]
            return (await client.get("/v1/request/r1", headers=headers)).status_code

    assert [asyncio.run(ask(invented)) for invented in ("9.9.9.1", "9.9.9.2")] == [401, 429]


def test_the_scheme_of_the_header_has_no_case(console: Console) -> None:
    answer(console.post("query", ALL, Authorization=f"BEARER {console.secret}"))


def test_a_statement_is_of_the_tenant_of_the_key(console: Console) -> None:
    console.post("query", {"filter": {"request": {"id": {"equals": "other"}}}})
    console.get("r1")
    assert all("acme" in asked.parameters.values() for asked in console.reader.asked)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "the body is not JSON"),
        (b"{", 400, "the body is not JSON"),
        (b'{"filter": "all", "filter": {}}', 400, "the body is not JSON: an object has the same key twice"),
        (b'{"filter": NaN}', 400, "the body is not JSON"),
        (b'{"filter": {"request": {"id": {"equals": "\\ud800"}}}}', 400, "the body is not JSON"),
        (b"[" * 5_000, 400, "the body is not JSON"),
        ([ALL], 400, "the body must be an object"),
        (b"null", 400, "the body must be an object"),
        (b" " * (MAX_BODY + 1), 413, "a body must be at most"),
        ({"filter": {"votes": {}}}, 400, "filter.votes: there is no such table"),
        ({"filter": "all", "limit": 5_000}, 400, "limit: must be between 0 and 1000"),
    ],
)
def test_a_bad_body_is_told_what_is_wrong(console: Console, body: Any, status: int, message: str) -> None:
    got, said = error(console.post("query", body))
    assert got == status
    assert said.startswith(message)
    assert console.reader.asked == []


def test_a_compressed_body_is_refused(console: Console) -> None:
    assert error(console.post("query", b"x", Content_Encoding="gzip"))[0] == 415


def test_nothing_asked_is_nothing_answered(console: Console) -> None:
    assert answer(console.post("query", {**ALL, "limit": 0})) == []
    assert answer(console.post("query-ids", {"requestIds": []})) == []
    assert console.reader.asked == []


@pytest.mark.parametrize("path", ["r1", "a%2Fb", "%20", "r%00", "a" * 257, "%F0%9F%91%8D"])
def test_a_request_that_is_not_there_is_404(console: Console, path: str) -> None:
    console.reader.gives = []
    assert error(console.get(path)) == (404, "Request not found")


def test_an_id_with_a_slash_is_one_id(console: Console) -> None:
    answer(console.get("a%2Fb"))
    assert ("a/b",) in console.reader.asked[0].parameters.values()


def test_an_outage_is_503_for_queries_and_nothing_else(console: Console) -> None:
    console.reader.gives = UnreadableError("the store of votes does not answer")
    for path in POSTS:
        reply = console.post(path, body_for(path))
        assert error(reply) == (503, "the store of votes does not answer: ask again later")
        assert int(reply.headers["retry-after"]) > 0
    ready = asyncio.run(console.ask("GET", "/readyz"))
    vote = {"Authorization": f"Bearer {console.writer}"}
    voted = asyncio.run(console.ask("POST", "/v1/request/r1/feedback", {"rating": True}, **vote))
    assert (ready.status_code, voted.status_code) == (200, 200)


def test_a_gateway_without_clickhouse_says_so(tmp_path: Path) -> None:
    reply = Console(tmp_path, reader=False).post("query", ALL)
    assert error(reply) == (503, "queries are not set up here: no URL")
    assert "retry-after" in reply.headers


def test_too_large_an_answer_names_the_limit(console: Console) -> None:
    console.reader.gives = ResultTooLargeError()
    status, said = error(console.post("query", ALL))
    assert (status, said.partition(":")[0]) == (400, "limit")


def test_a_fault_of_ours_has_the_form_of_an_answer_and_is_logged(console: Console) -> None:
    console.reader.gives = [{"not": "a row"}]
    with capture_logs() as logs:
        assert error(console.post("query", ALL)) == (500, "something went wrong here")
    assert [entry["event"] for entry in logs] == ["query_crashed"]


def test_a_number_that_json_has_no_room_for_is_rounded_and_other_rows_are_unharmed(console: Console) -> None:
    entries = {"cost": "99999999999999999999", "status": "-99999999999999999999", "score.s": "18446744073709551616"}
    console.reader.gives = [{**ROW, "entries": entries}, ROW]
    large, usual = answer(console.post("query", ALL))
    assert (large["cost"], large["response_status"], large["scores"]["s"]) == (1e20, -1e20, 2.0**64)
    assert usual["request_id"] == "r1"


def test_rows_that_cannot_be_written_are_a_fault_in_the_form_of_an_answer(console: Console) -> None:
    console.reader.gives = [{**ROW, "model_name": "\ud800"}]
    assert error(console.post("query", ALL))[0] == 500


def test_a_crowd_is_turned_away_and_the_gateway_goes_on(tmp_path: Path) -> None:
    console = Console(tmp_path, limits=Limits(running=2, of_one_tenant=1, waiting=8, wait_seconds=0.05))

    async def scenario() -> None:
        console.reader.gate = asyncio.Event()
        first = asyncio.create_task(console.ask("POST", "/v1/request/query", ALL))
        async with asyncio.timeout(20):
            await console.reader.begun.wait()
        second = await console.ask("POST", "/v1/request/query", ALL)
        assert error(second) == (429, "too many queries at once: ask again later")
        assert second.headers["retry-after"] == "1"
        assert (await console.ask("GET", "/readyz")).status_code == 200
        console.reader.gate.set()
        assert len(answer(await first)) == 1

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "r1"), ("GET", "r1/feedback"), ("GET", ""), ("PUT", "query"), ("GET", "count/query"), ("POST", "r1")],
)
def test_paths_beside_the_queries_stay_the_gateways(console: Console, method: str, path: str) -> None:
    reply = asyncio.run(console.ask(method, f"/v1/request/{path}"))
    assert reply.status_code in (404, 405)
    assert console.reader.asked == []


@pytest.mark.parametrize(("method", "path", "allowed"), [
    ("DELETE", "r1", "GET, HEAD"), ("TRACE", "r1/", "GET, HEAD"), ("PUT", "query", "POST"),
    ("PATCH", "count/query/", "POST"),
])  # fmt: skip
def test_another_method_is_refused_in_the_envelope(console: Console, method: str, path: str, allowed: str) -> None:
    reply = asyncio.run(console.ask(method, f"/v1/request/{path}"))
    assert error(reply) == (405, f"this path takes {allowed}")
    assert reply.headers["allow"] == allowed


def test_a_body_that_does_not_come_in_time_is_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helicone_queries, "_BODY_SECONDS", 0.1)
    console = Console(tmp_path)
    assert asyncio.run(_endless(console, console.secret)) == 408


def test_the_slow_bodies_of_one_tenant_leave_room_for_anothers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helicone_queries, "_BODY_SECONDS", 1.0)
    other = create_key(tmp_path / "keys.toml", "other", ["query"])
    console = Console(tmp_path)

    async def scenario() -> None:
        slow = [asyncio.create_task(_endless(console, console.secret)) for _ in range(200)]
        await asyncio.sleep(0)
        reply = await console.ask("POST", "/v1/request/query", ALL, Authorization=f"Bearer {other}")
        assert reply.status_code == 200
        assert set(await asyncio.gather(*slow)) == {408, 503}

    asyncio.run(scenario())


async def _endless(console: Console, secret: str) -> int:
    """The status of a query whose body never ends."""
    said: list[Any] = []
    inbox = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive() -> dict[str, Any]:
        message = next(inbox, None)
        return await asyncio.Future() if message is None else message

    async def send(message: Any) -> None:
        said.append(message)

    path = "/v1/request/query"
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"authorization", f"Bearer {secret}".encode())], "client": ("192.0.2.1", 1), "root_path": "",
        "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    await console.app(scope, receive, send)
    status: int = said[0]["status"]
    return status


def test_votes_still_go_where_they_went(console: Console) -> None:
    headers = {"Authorization": f"Bearer {console.writer}"}
    for path in ("query/feedback", "r1/feedback/", "a%2Fb/feedback"):
        reply = asyncio.run(console.ask("POST", f"/v1/request/{path}", {"rating": True}, **headers))
        assert answer(reply) is None
