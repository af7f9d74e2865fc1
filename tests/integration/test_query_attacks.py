"""Texts that try to leave the place of a value find nothing but themselves, and never another tenant's rows."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import yaml

from schemas.events import ResolvedFeedback, Vote
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.query_console import QueryConsole, query_console

pytestmark = pytest.mark.integration
OTHER = "otherco"
SECRET = "TOPSECRET"
ATTACKS = [
    text.replace("$OTHER", OTHER)
    for text in yaml.safe_load(Path(__file__).with_name("query_attacks.yaml").read_text("utf-8"))
]


def row(tenant: str, number: int, request: str, **fields: Any) -> ResolvedFeedback:
    return ResolvedFeedback(number, False, 1_000, tenant, request, Vote(-1), first_seen=1, updated_at=1, **fields)


@pytest.fixture(scope="module")
def console(
    clickhouse: ClickHouse, unique: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QueryConsole]:
    with query_console(clickhouse, unique("attacks"), tmp_path_factory.mktemp("attacks")) as console:
        rows = [
            row("acme", number, f"r{number}", user_id=text, metadata={text: json.dumps(text)})
            for number, text in enumerate(ATTACKS)
        ]
        console.store([*rows, row(OTHER, 900, SECRET, user_id=SECRET, comment=SECRET), row(OTHER, 901, "r0")])
        yield console


@pytest.fixture(scope="module")
def ask(console: QueryConsole) -> Callable[..., httpx.Response]:
    return console.client("acme")


def found(reply: httpx.Response) -> list[str]:
    """Ids of the rows of a good answer, after a look for anybody else's."""
    assert reply.status_code == 200, reply.text
    assert SECRET not in reply.text
    return [row["request_id"] for row in reply.json()["data"]]


def equals(text: str) -> dict[str, Any]:
    """A filter with the text in every place where a value or a key stands; only the text's own row has all of them."""
    right = {"request": {"user_id": {"equals": text, "contains": text}}, "properties": {text: {"equals": text}}}
    return {"left": "all", "operator": "and", "right": right}


@pytest.mark.parametrize("number", range(len(ATTACKS)), ids=lambda number: repr(ATTACKS[number])[:40])
def test_a_text_is_only_ever_a_value(ask: Callable[..., httpx.Response], number: int) -> None:
    text = ATTACKS[number]
    by_value = {"filter": equals(text), "limit": 100, "sort": {"properties": {text: "asc"}}}
    assert found(ask("POST", "/query", by_value)) == [f"r{number}"]
    assert ask("GET", f"/{quote(text, safe='')}").status_code == 404
    for body in (
        {"filter": {text: {"id": {"equals": "x"}}}},
        {"filter": {"request": {text: {"equals": "x"}}}},
        {"filter": {"request": {"id": {text: "x"}}}},
        {"filter": "all", "sort": {text: "asc"}},
        {"filter": "all", "sort": {"created_at": text}},
        {"filter": "all", "limit": text},
        {"filter": text},
    ):
        reply = ask("POST", "/query", body)
        assert reply.status_code == 400, (body, reply.text)
        assert SECRET not in reply.text


def test_all_of_them_at_once_find_nothing_either(ask: Callable[..., httpx.Response]) -> None:
    assert found(ask("POST", "/query-ids", {"requestIds": [*ATTACKS, "r1", SECRET]})) == ["r1"]
    ids: Any = {"request_response_rmt": {"scores": {text: {"gte": 0} for text in ATTACKS}}}
    for text in ATTACKS[:25]:
        ids = {"left": {"request": {"id": {"equals": text}}}, "operator": "or", "right": ids}
    assert found(ask("POST", "/query-clickhouse", {"filter": ids})) == []


def test_another_tenants_rows_are_not_there(console: QueryConsole, ask: Callable[..., httpx.Response]) -> None:
    assert len(found(ask("POST", "/query", {"filter": "all", "limit": 1000}))) == len(ATTACKS)
    assert ask("POST", "/count/query", {"filter": "all"}).json()["data"] == len(ATTACKS)
    assert ask("GET", f"/{SECRET}").status_code == 404
    other = console.client(OTHER)
    assert {row["request_id"] for row in other("POST", "/query", {"filter": "all"}).json()["data"]} == {SECRET, "r0"}
    assert other("GET", "/r0").json()["data"]["request_user_id"] is None
    assert console.kept.count_rows() == len(ATTACKS) + 2
