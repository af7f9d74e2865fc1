"""Writes the parts of the documentation that follow from the code: `python docs/generate.py`.

`docs/cli.md` is written whole. In other pages, what stands between `<!-- generated: NAME -->` and `<!-- end -->` is
written by the function NAME of GENERATED. A test fails while a page is not what this program would write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, replace
from pathlib import Path

import click

from processors.minutes import rollup_name
from processors.monitor_fields import FIELDS
from processors.monitors import BUILT_IN, PRESETS, fewest_negatives
from producers.kafka import message
from schemas.codec import Codec
from schemas.constraints import MAX_ID_BYTES
from schemas.events import FeedbackEvent
from schemas.topics import Topic, Topics, partition_of
from thumbstream import telemetry
from thumbstream.cli import main as command_line
from thumbstream.console import filter_tree, request_query
from thumbstream.console.clickhouse_reader import ReadLimits
from thumbstream.console.query_slots import Limits
from thumbstream.console.request_columns import OPERATORS, SORTS, TABLES, Column
from thumbstream.settings import PREFIX, Settings

READ_LIMITS, SLOTS = ReadLimits(), Limits()
ROOT = Path(__file__).resolve().parents[1]
VOTES = (10, 15, 20, 30, 50, 100, 200, 500, 1_000, 5_000)
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
GOLDEN = FeedbackEvent(
    tenant_id="acme",
    request_id="chat|1",
    event_id="0190f3c2-7b7a-7000-8000-000000000001",
    kind="vote",
    event_time=1_790_000_000_000,
    rating=False,
    comment="größer",
    metadata={"model": '"atlas-2"'},
)
_WIDTH = 100


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell).replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def settings() -> str:
    """Every setting: environment name, default, sentence."""
    return _table(("Name", "Default", "Meaning"), (_setting(item.name, item) for item in fields(Settings)))


def _setting(name: str, item: object) -> tuple[str, str, str]:
    default, sentence = getattr(item, "default", MISSING), getattr(item, "metadata", {})["sentence"]
    if default is MISSING:
        return f"`[{name}]` in `thumbstream.toml`", "", sentence
    return f"`{PREFIX}{name.upper()}`", "" if default is None or not str(default) else f"`{default}`", sentence


def metrics() -> str:
    """Every metric: name as Prometheus shows it, kind, labels, sentence."""
    kinds: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]] = {
        "counter": telemetry._COUNTERS, "gauge": telemetry._GAUGES, "histogram": telemetry._HISTOGRAMS,
    }  # fmt: skip
    rows = (
        (f"`thumbstream_{name}{'_total' if kind == 'counter' else ''}`", kind, ", ".join(labels), sentence)
        for kind, listed in kinds.items()
        for name, (sentence, labels) in listed.items()
    )
    return _table(("Name", "Kind", "Labels", "Meaning"), rows)


def topics() -> str:
    """Every topic with its key, partitions and broker settings."""
    return _table(("Topic", "Key", "Partitions", "Broker settings"), map(_topic, Topics()))


def _topic(topic: Topic) -> tuple[object, ...]:
    config = ", ".join(f"`{name}={value}`" for name, value in topic.config.items())
    return f"`{topic.name}`", f"`{topic.key}`", topic.partitions, config


def monitors() -> str:
    """The monitors that watch when nothing else is said."""
    names = {z: name for name, z in PRESETS.items()}
    rows = (
        (f"`{one.name}`", rollup_name(one.rollup), f"{one.threshold:.0%}", names[one.z], one.severity)
        for one in BUILT_IN
    )
    return _table(("Monitor", "Group", "Threshold", "Preset", "Severity"), rows)


def monitor_fields() -> str:
    """Every field of a monitor in monitors.toml."""
    return _table(("Field", "Meaning"), ((f"`{name}`", field.sentence) for name, field in FIELDS.items()))


def fewest() -> str:
    """The smallest number of negatives that fires, by preset and number of votes."""
    rule = BUILT_IN[0]
    rows = (
        (name, *(f"{fewest_negatives(replace(rule, z=z), votes):,}" for votes in VOTES)) for name, z in PRESETS.items()
    )
    return _table(("Votes in the window", *(f"{votes:,}" for votes in VOTES)), rows)


def golden() -> str:
    """One event as key, partition and bytes, for those who publish in another language."""
    key, value = message(Codec(), GOLDEN)
    fields = {name: getattr(GOLDEN, name) for name in GOLDEN.__slots__}
    given = {name: item for name, item in fields.items() if item not in (None, "")}
    rows = (
        ("event", f"`{json.dumps(given, ensure_ascii=False)}`; all else null, `source` empty"),
        ("key", f"`{key.decode()}`"),
        ("partition of 4", partition_of(key, 4)),
        ("value, in hex", f"`{value.hex()}`"),
    )
    return _table(("Part", "Content"), rows)


def query_columns() -> str:
    """What filters can name, by table and kind."""
    return _table(("Table", *OPERATORS), ((f"`{table}`", *_by_kind(TABLES[table])) for table in TABLES))


def _by_kind(columns: Mapping[str, Column] | Column) -> Iterator[str]:
    named = {"": columns} if isinstance(columns, Column) else columns
    for kind in OPERATORS:
        yield ", ".join(_shown(name, column) for name, column in named.items() if column.kind == kind)


def _shown(name: str, column: Column) -> str:
    return ".".join(filter(None, [f"`{name}`" if name else "", "*any key*" if column.keyed else ""]))


def query_operators() -> str:
    """What each kind of column can be compared with."""
    return _table(("Kind", "Operators"), ((kind, _code(words)) for kind, words in OPERATORS.items()))


def query_limits() -> str:
    """What one query may ask."""
    ids = request_query
    return _table(
        ("What", "At most"),
        (
            ("levels of a filter", filter_tree.MAX_DEPTH),
            ("comparisons in a filter", filter_tree.MAX_CONDITIONS),
            ("characters of a value", filter_tree.MAX_TEXT),
            ("characters of a property's or score's name", filter_tree.MAX_KEY),
            ("`limit`", f"{ids.MAX_LIMIT:,} (0 gives no row; the default is {ids.DEFAULT_LIMIT})"),
            ("`offset`", f"{ids.MAX_OFFSET:,}"),
            ("`requestIds`", f"{ids.MAX_IDS:,} of {MAX_ID_BYTES} bytes"),
            ("seconds of one query", READ_LIMITS.seconds),
            ("memory of one query", f"{READ_LIMITS.memory_bytes // 10**6:,} MB"),
            ("bytes of one answer from the store", f"{READ_LIMITS.result_bytes // 10**6:,} MB"),
            ("queries at once, of all tenants and of one", f"{SLOTS.running} and {SLOTS.of_one_tenant}"),
        ),
    )


def query_orders() -> str:
    """What rows can be sorted by."""
    return ", ".join([*(_shown(name, column) for name, column in SORTS.items()), '`"random": true`']) + "\n"


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


GENERATED: Mapping[str, Callable[[], str]] = {
    "settings": settings, "metrics": metrics, "topics": topics, "monitors": monitors, "fewest": fewest,
    "golden": golden, "query-columns": query_columns, "query-operators": query_operators,
    "query-limits": query_limits, "query-orders": query_orders, "monitor-fields": monitor_fields,
}  # fmt: skip


def verbs(command: click.Command, path: tuple[str, ...] = ("thumbstream",)) -> Iterator[tuple[str, click.Command]]:
    """(`thumbstream load`, its command) for every command and group, in the order of the help page."""
    yield " ".join(path), command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from verbs(command.commands[name], (*path, name))


def help_of(name: str, command: click.Command) -> str:
    """The help page as a terminal shows it."""
    context = click.Context(
        command, info_name=name, max_content_width=_WIDTH, terminal_width=_WIDTH, **command_line.context_settings
    )
    return command.get_help(context) + "\n"


def cli() -> str:
    """docs/cli.md."""
    pages = (f"## `{name}`\n\n```text\n{help_of(name, command)}```\n" for name, command in verbs(command_line))
    return "\n".join((_CLI, *pages))


_CLI = """# Command line

Written by `docs/generate.py` from the commands themselves. Every verb answers `--help`.

| Exit code | Meaning |
| --- | --- |
| 0 | done |
| 1 | refused, not reachable, or something did not turn out as it must; a sentence says what |
| 2 | wrong use: unknown option, missing argument, no ready file; `audit`: the books could not be judged |
| 70 | `gateway`, `worker`, `sink`, `deliver`: crashed on purpose, to be started again |
| 78 | `gateway`, `worker`, `sink`, `deliver`: a person must look before it is started again |

Results go to standard output, complaints and progress to standard error.
"""


def render(text: str) -> str:
    """A page with its generated blocks written anew. KeyError for a name that GENERATED does not list."""
    return _BLOCK.sub(lambda found: found[1] + GENERATED[found[2]]() + found[3], text)


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that holds generated parts, and what it should be."""
    yield ROOT / "docs" / "cli.md", cli()
    for path in sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")]):
        if path.name != "cli.md" and "<!-- generated:" in (text := path.read_text("utf-8")):
            yield path, render(text)


if __name__ == "__main__":
    for page, wanted in pages():
        page.write_text(wanted, "utf-8")
