"""The closed list of metrics."""

import ast
from pathlib import Path

import pytest

from thumbstream.telemetry import METRICS, Metrics

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("producers", "processors", "sinks", "thumbstream")


def test_counters_gauges_and_durations_are_rendered_with_their_sentences() -> None:
    metrics = Metrics()
    metrics.count("events_accepted", 3, dialect="native")
    metrics.set("broker_up", 1)
    metrics.observe("insert_seconds", 0.2, table="votes")
    text = metrics.render().decode()
    assert 'thumbstream_events_accepted_total{dialect="native"} 3.0' in text
    assert "# HELP thumbstream_broker_up 1 while the broker answered" in text
    assert 'thumbstream_insert_seconds_count{table="votes"} 1.0' in text


def test_values_read_back_and_untouched_ones_are_zero() -> None:
    metrics = Metrics()
    metrics.count("events_accepted", dialect="native")
    metrics.set("rows_held", 5, partition="2")
    assert metrics.value("events_accepted", dialect="native") == 1
    assert metrics.value("rows_held", partition="2") == 5
    assert metrics.value("events_accepted", dialect="cohere") == 0


def test_a_metric_or_label_that_is_not_listed_cannot_be_written() -> None:
    metrics = Metrics()
    for write in (metrics.count, metrics.set, metrics.observe):
        with pytest.raises(KeyError):
            write("events_acepted", 1)
    with pytest.raises(ValueError, match="label"):
        metrics.count("events_accepted", 1, tenant="acme")


def test_instances_do_not_share_counts() -> None:
    one, other = Metrics(), Metrics()
    one.set("broker_up", 1)
    assert other.value("broker_up") == 0


def test_every_metric_has_a_sentence() -> None:
    assert all(sentence for sentence, _labels in METRICS.values())


def test_every_name_that_the_code_writes_is_listed() -> None:
    written = {name for stage in STAGES for file in (ROOT / stage).rglob("*.py") for name in _names(file)}
    assert "events_resolved" in written  # else the search finds nothing
    assert written <= METRICS.keys()


def _names(file: Path) -> list[str]:
    """First arguments of metrics.count(...), metrics.set(...), metrics.observe(...)."""
    return [
        str(node.args[0].value)
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("count", "set", "observe")
        and "metrics" in ast.unparse(node.func.value)
        and node.args
        and isinstance(node.args[0], ast.Constant)
    ]
