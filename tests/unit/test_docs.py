"""The documentation says what the code does: generated parts are up to date, tables of words are complete."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from processors.deduplicate import MAX_CLAMPED, MAX_REGISTERS, MAX_ROW_CHARACTERS
from processors.tripwire import LIMIT, WINDOW
from producers.dialects.exchange import PROBLEMS
from schemas.constraints import REASONS
from sinks.delivery.parking import GAVE_UP, PRIVATE, REFUSED, STAGE
from sinks.lane import UNSTORABLE
from thumbstream.settings import PREFIX, Settings
from thumbstream.telemetry import EXIT_CRASH, EXIT_STOP

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
SEMANTICS = (ROOT / "docs" / "semantics.md").read_text("utf-8")


def generator() -> ModuleType:
    """docs/generate.py, which is a program and lies in no package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = generator()


@pytest.mark.parametrize("page", list(GENERATE.pages()), ids=lambda page: page[0].name)
def test_generated_parts_are_up_to_date(page: tuple[Path, str]) -> None:
    path, wanted = page
    assert path.read_text("utf-8") == wanted, "run `make docs`"


def test_every_generated_part_is_on_a_page() -> None:
    on_pages = {
        name for path in PAGES for name in re.findall(r"<!-- generated: ([a-z-]+) -->", path.read_text("utf-8"))
    }
    assert on_pages == set(GENERATE.GENERATED)


def refusals(table: str) -> list[tuple[str, str]]:
    """The first two columns of the table behind `<!-- refusals: NAME -->`."""
    text = SEMANTICS.partition(f"<!-- refusals: {table} -->\n\n")[2].partition("\n\n")[0]
    rows = [[cell.strip().strip("`") for cell in line.split("|")[1:3]] for line in text.splitlines()[2:]]
    return [(word, second) for word, second in rows]


def test_the_table_of_refused_events_has_every_reason_word_with_its_status() -> None:
    assert refusals("events") == [(reason, "403" if reason == "forbidden" else "400") for reason in REASONS]


def test_the_table_of_refused_bodies_has_every_problem_with_its_status() -> None:
    assert refusals("bodies") == [(word, str(status)) for word, status in PROBLEMS.items()]


def refused_with(stage: str, *calls: str) -> Iterator[str]:
    """First arguments of `calls` in all modules of a stage, where they are plain words."""
    for path in (ROOT / stage).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in calls:
                first = node.args[0] if node.args else None
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield first.value


def test_the_table_of_dead_letters_has_every_word_of_resolve_and_of_the_sink() -> None:
    by_resolve = {(word, "resolve") for word in refused_with("processors", "Refusal")}
    skipped = set(refused_with("sinks", "SkippedError"))
    # The sink skips in silence what resolve reports, but for events that only a full row has no room for. Of the other
    # topics' records only reading can fail.
    assert skipped == {word for word, _ in by_resolve} - {"too_large"}
    by_deliver = {(word, STAGE) for word in (REFUSED, PRIVATE, GAVE_UP)}
    assert set(refusals("letters")) == by_resolve | by_deliver | {("undecodable", "sink"), (UNSTORABLE, "sink")}


def test_the_limits_of_a_row_are_the_codes() -> None:
    for sentence in (
        f"{MAX_REGISTERS:,} registers",
        f"{MAX_ROW_CHARACTERS:,} characters",
        f"**at most the {MAX_CLAMPED} latest",
    ):
        assert sentence in " ".join(SEMANTICS.split())


def test_the_numbers_of_the_tripwire_and_of_exits_are_the_codes() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text("utf-8")
    for page in (SEMANTICS, operations):
        assert f"more than {LIMIT} of the last {WINDOW:,} records" in " ".join(page.split())
    assert re.findall(r"^\| (\d+) \|", operations, re.MULTILINE)[-2:] == [str(EXIT_CRASH), str(EXIT_STOP)]


def _is_source(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc"


def test_every_setting_that_is_named_anywhere_exists() -> None:
    settings = {PREFIX + item.name.upper() for item in fields(Settings)}
    known = {*settings, "THUMBSTREAM_CONFIG", "THUMBSTREAM_API_KEY"}
    sources = [*PAGES, *(ROOT / "thumbstream").rglob("*.py"), *filter(_is_source, (ROOT / "examples").rglob("*"))]
    named = {name for path in sources for name in re.findall(r"THUMBSTREAM_[A-Z_]*[A-Z]", path.read_text("utf-8"))}
    assert settings - {"THUMBSTREAM_KAFKA", "THUMBSTREAM_CLICKHOUSE", "THUMBSTREAM_TENANT"} <= named
    assert named <= known


def test_the_glossary_is_sorted_and_has_no_term_twice() -> None:
    rows = SEMANTICS.partition("## Glossary")[2].splitlines()[4:]
    terms = [row.split("|")[1].strip() for row in rows if row]
    assert len(terms) > 40
    assert terms == sorted(set(terms))


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if link.startswith("http"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), link
