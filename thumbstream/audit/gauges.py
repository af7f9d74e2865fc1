"""The audit's answer as gauges in Prometheus' text format, for node_exporter's textfile collector and its like."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from thumbstream.audit.scope import Findings


def registry(findings: Findings, now: float) -> CollectorRegistry:
    """Everything that can be alerted on; `now` in epoch seconds says how old the judgement is."""
    gauges, ledger = CollectorRegistry(), findings.ledger

    def gauge(name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(f"thumbstream_audit_{name}", meaning, labels, registry=gauges)

    gauge("time_seconds", "When the books were last judged").set(now)
    gauge("balanced", "1 when nothing differs").set(ledger.balanced)
    events = gauge("events", "Events by tenant and entry; accepted is the sum of the others", "tenant", "entry")
    for account in ledger.accounts():
        for entry, count in account.items():
            if entry not in ("tenant", "hour"):
                events.labels(account["tenant"], entry).inc(count)
    differences = gauge("differences", "Kinds of difference by place", "hop")
    for difference in ledger.differences:
        differences.labels(difference.hop).inc()
    gaps = gauge("offsets_without_a_record", "Gaps in the events topic", "partition")
    for partition, count in findings.gaps.items():
        gaps.labels(str(partition)).set(count)
    lag = gauge("lag", "Records that a stage has yet to process", "stage")
    for stage, count in findings.lag.items():
        lag.labels(stage).set(count)
    for name, age in (("mark", findings.mark_age), ("stored_event", findings.stored_age)):
        if age is not None:
            gauge(f"newest_{name}_age_seconds", f"Age of the newest {name.replace('_', ' ')}").set(age)
    return gauges


def write(path: Path, findings: Findings, now: float) -> None:
    """Put the file in place whole: a scraper never sees a part of it. OSError when it cannot be written."""
    write_to_textfile(str(path), registry(findings, now))
