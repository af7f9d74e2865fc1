"""docs/openapi.yaml says what the gateway does: it has every route, and a tool that reads it finds nothing wrong."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from producers.dialects.routing import ROUTES
from tests.fixtures.memory_gateway import MemoryGateway
from tests.fixtures.vendor_clients import python_client

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
        assert "requestBody" in operation or place[0] == "DELETE" or place[1] == "/check-api-key", place


@pytest.mark.integration
def test_schemathesis_finds_nothing_wrong(tmp_path: Path) -> None:
    python = python_client("schemathesis", ["schemathesis==4.32.5"])
    gateway = MemoryGateway(tmp_path, rights=["ingest", "admin"])
    with gateway.served() as url:
        command = [
            str(python.with_name("schemathesis")),
            "--config-file",
            str(Path(__file__).with_name("schemathesis.toml")),
        ]
        key = ["--header", f"Authorization: Bearer {gateway.key}"]
        run = ["run", str(DOCUMENT), "--url", url, *key, "--max-examples", "3", "--seed", "1", "--no-color"]
        done = subprocess.run([*command, *run], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-8_000:]
    assert re.search(r"[1-9]\d* generated, [1-9]\d* passed", done.stdout), done.stdout[-2_000:]
    assert gateway.events
