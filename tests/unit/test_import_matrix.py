"""Who may import whom, read from the syntax trees: meaning knows no clock and no vendor, stages meet in topics only."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("producers", "processors", "sinks")
SHELLS = {
    "credentials", "resolve", "watch", "marks", "replay", "reading", "tail", "outputs", "transport", "tables", "agents",
    "app", "announce", "sequence",
}  # fmt: skip
PURE_ELSEWHERE = {
    "schemas.events", "schemas.topics", "schemas.constraints", "schemas.feedback_ids", "schemas.letters",
    *(f"sinks.delivery.{name}" for name in (
        "receivers", "subscription", "messages", "wording", "slack", "alertmanager", "requests", "replies", "signing",
        "addresses", "queue", "intake", "votes", "parking", "staleness",
    )),
    "producers.validation", "producers.grants", "producers.limits", "producers.addresses", "producers.cors",
    "sinks.rows", "sinks.batch", "sinks.continuity",
    "thumbstream.console.request_columns", "thumbstream.console.filter_tree", "thumbstream.console.filter_sql",
    "thumbstream.console.request_query", "thumbstream.console.request_statements", "thumbstream.console.request_rows",
}  # fmt: skip
SHARED = ("schemas.events", "schemas.topics", "schemas.constraints", "schemas.feedback_ids", "schemas.letters")
WORLDLY = {"asyncio", "os", "random", "secrets", "socket", "subprocess", "tempfile", "threading", "time", "uuid"}
CLOCKS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}  # the other ones need a worldly import
VENDORS = {"fastavro": {"schemas.codec"}, "avro": {"schemas.compatibility"}, "jwt": {"producers.tokens"}}

TREES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(file.read_text("utf-8"))
    for package in ("schemas", *STAGES, "thumbstream")
    for file in sorted((ROOT / package).rglob("*.py"))
}


def is_pure(module: str) -> bool:
    stage, _, name = module.partition(".")
    return (
        module in PURE_ELSEWHERE
        or module.startswith("producers.dialects.")
        or (stage == "processors" and name != "" and name not in SHELLS)
    )


def imported(tree: ast.Module) -> Iterator[str]:
    """Every module a file imports, wherever in the file; `from a import b` may mean the module a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (module if module in TREES else str(node.module) for module in modules)


def may_import(module: str, other: str) -> bool:
    stage, package = module.split(".")[0], other.split(".")[0]
    if package == "tests" or module not in VENDORS.get(package, {module}):
        return False
    if is_pure(module):
        own = stage == package and is_pure(other)
        return own or other in SHARED or (package in sys.stdlib_module_names and package not in WORLDLY)
    if stage in STAGES:
        return package not in {*STAGES, "thumbstream"} - {stage} or other == "thumbstream.telemetry"
    return stage == "thumbstream" or package not in {*STAGES, "thumbstream"}


@pytest.mark.parametrize("module", TREES)
def test_a_module_imports_only_what_its_place_allows(module: str) -> None:
    assert [other for other in imported(TREES[module]) if not may_import(module, other)] == []


@pytest.mark.parametrize("module", [module for module in TREES if is_pure(module)])
def test_meaning_asks_no_clock_no_dice_and_no_environment(module: str) -> None:
    asked = {ast.unparse(node) for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)}
    assert [name for name in asked if name.endswith(tuple(CLOCKS))] == []


def test_telemetry_knows_no_stage() -> None:
    packages = {other.split(".")[0] for other in imported(TREES["thumbstream.telemetry"])}
    assert packages & {"schemas", *STAGES} == set()


def test_the_rules_bite() -> None:
    assert not may_import("processors.merge", "processors.tables")
    assert not may_import("processors.merge", "faust")
    assert not may_import("processors.merge", "time")
    assert not may_import("processors.tables", "sinks.rows")
    assert not may_import("sinks.consumer", "thumbstream.settings")
    assert not may_import("schemas.topics", "producers.keys")
    assert not may_import("thumbstream.cli", "tests.polling")
    assert not may_import("sinks.rows", "fastavro")
    assert may_import("processors.tables", "faust")
    assert may_import("sinks.consumer", "thumbstream.telemetry")
    assert sum(map(is_pure, TREES)) > 15
