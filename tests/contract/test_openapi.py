"""docs/openapi.yaml says what the gateway does: it has every route, and a tool that reads it finds nothing wrong."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from producers.dialects.routing import ROUTES
from producers.keys import create_key
from schemas.events import ResolvedFeedback, Vote
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.memory_gateway import MemoryGateway
from tests.fixtures.query_console import endpoints, query_store
from tests.fixtures.vendor_clients import python_client
from thumbstream.console.request_columns import OPERATORS, SORTS, TABLES, Column
from thumbstream.console.request_query import MAX_LIMIT, MAX_OFFSET

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "openapi.yaml"
METHODS = ("get", "post", "put", "patch", "delete")


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Every operation of the document by method and path."""
    paths = yaml.safe_load(DOCUMENT.read_text("utf-8"))["paths"]
    return {
        (method.upper(), path): item[method] for path, item in paths.items() for method in METHODS if method in item
    }


def test_the_document_has_every_route_of_the_dialects() -> None:
    listed = {(method, re.sub(r"{\w+}", "{}", path)) for method, path in operations()}
    assert {(route.method, re.sub(r"{\w+}", "{}", route.template)) for route in ROUTES} <= listed


def test_every_operation_says_what_it_takes_and_what_a_refusal_is() -> None:
    for place, operation in operations().items():
        assert operation["summary"], place
        assert "default" in operation["responses"], place
        assert "requestBody" in operation or place[0] in ("DELETE", "GET") or place[1] == "/check-api-key", place


def test_a_query_can_name_what_the_document_names_and_gets_the_rows_it_describes() -> None:
    schemas = yaml.safe_load(DOCUMENT.read_text("utf-8"))["components"]["schemas"]
    kinds = {"text": "CompareText", "number": "CompareNumber", "boolean": "CompareBoolean", "time": "CompareTime"}

    def schema(column: Column | Mapping[str, Column]) -> dict[str, Any]:
        if isinstance(column, Column):
            return {"$ref": f"#/components/schemas/{'Keyed' * column.keyed}{kinds[column.kind]}"}
        named = {name: schema(each) for name, each in column.items()}
        return {"type": "object", "additionalProperties": False, "properties": named}

    assert schemas["QueryLeaf"]["properties"] == {name: schema(columns) for name, columns in TABLES.items()}
    for kind, operators in OPERATORS.items():
        assert tuple(schemas[kinds[kind]]["properties"]) == operators
    query = schemas["Query"]["properties"]
    assert set(query["sort"]["properties"]) == {*SORTS, "random"}
    assert (query["limit"]["maximum"], query["offset"]["maximum"]) == (MAX_LIMIT, MAX_OFFSET)
    assert set(schemas["Request"]["required"]) == set(schemas["Request"]["properties"])


@pytest.mark.integration
@pytest.mark.parametrize(
    "mode", ["positive", pytest.param("all", marks=pytest.mark.soak)]
)  # what no document allows is also sent by the fuzz of the routes, and faster
def test_schemathesis_finds_nothing_wrong(tmp_path: Path, with_queries: dict[str, Any], mode: str) -> None:
    program = python_client("schemathesis", ["schemathesis==4.32.5"]).with_name("schemathesis")
    gateway = MemoryGateway(tmp_path, rights=["ingest", "query", "admin", "tokens"], **with_queries)
    authorization = f"Authorization: Bearer {gateway.key}"
    environment = {**os.environ, "FEEDBACK_TOKEN": gateway.token("r"), "FEEDBACK_ID": feedback_id(gateway)}
    command = [str(program), "--config-file", str(Path(__file__).with_name("schemathesis.toml")), "run", str(DOCUMENT)]
    options = ["--header", authorization, "--mode", mode, "--max-examples", "3", "--seed", "1", "--no-color"]
    with gateway.served() as url:
        done = subprocess.run(
            [*command, "--url", url, *options],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8_000:]
    assert re.search(r"[1-9]\d* generated, [1-9]\d* passed", done.stdout), done.stdout[-2_000:]
    for complaint in ("Authentication failed", "Missing test data"):  # where it only ever met 401 or 404
        assert complaint not in done.stdout, done.stdout[-2_000:]
    assert len(gateway.events) > 100


@pytest.fixture
def with_queries(clickhouse: ClickHouse, unique: Callable[[str], str], tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What makes a gateway answer queries, too, about one request `r` in a real ClickHouse."""
    create_key(tmp_path / "keys.toml", "acme", ["query"])
    told = {"plan": '"pro"', "score.speed": "4", "status": "200", "prompt": '"hi"'}
    row = ResolvedFeedback(1, False, 1_000, "acme", "r", Vote(-1), first_seen=1, updated_at=1, metadata=told)
    with query_store(clickhouse, unique("openapi")) as kept:
        kept.store([row])
        queries, reader = endpoints(clickhouse, kept.views, tmp_path / "keys.toml")
        yield {"more": queries.routes(), "closing": [reader.close]}


def feedback_id(gateway: MemoryGateway) -> str:
    """The id of a feedback that is there, for Portkey's PUT."""
    headers = {"x-portkey-api-key": gateway.key}
    made = gateway.send("POST", "/v1/feedback", headers, '{"trace_id": "r", "value": 1}').json()
    return str(made["feedback_ids"][0])
