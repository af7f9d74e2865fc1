"""Structured logs, the closed list of metrics, and how a process ends when it must.

A metric that is not in METRICS cannot be written: a typo fails in tests instead of vanishing in a dashboard.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import NoReturn

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

EXIT_CRASH = 70  # the supervisor starts the process again
EXIT_STOP = 78  # it does not: starting again would repeat the damage, a person must look

_CHATTY = ("faust", "mode", "aiokafka", "httpx", "httpcore", "urllib3", "kafka")

_COUNTERS = {
    "events_accepted": ("Events acknowledged by the broker and answered with 2xx", ("dialect",)),
    "events_refused": ("Events refused at the gateway", ("dialect", "reason")),
    "requests": ("HTTP requests answered", ("dialect", "status")),
    "events_resolved": ("Events folded into rows by resolve", ("partition",)),
    "amendments_unanswered": ("Changes of a vote by feedback id to which no vote answers any more", ("partition",)),
    "dead_letters": ("Records refused after a topic held them", ("stage", "reason")),
    "offset_gaps": ("Gaps in the topic that a worker reads, confirmed by a second read", ("partition",)),
    "keys_healed": ("Keys whose newest row was written again after an older one", ("table",)),
    "alert_transitions": ("Alert transitions published", ("monitor", "status")),
    "monitor_reloads": ("Files of monitors read again: taken or refused", ("result",)),
    "rows_written": ("Rows stored in ClickHouse", ("table",)),
    "write_retries": ("Inserts into ClickHouse tried again", ("table", "code")),
    "records_skipped": ("Records of which the sink stores no row", ("topic", "reason")),
    "deliveries": ("Requests to receivers, by what came of them", ("receiver", "outcome")),
}
_GAUGES = {
    "publish_backlog": ("Events handed to the producer and not yet acknowledged", ()),
    "broker_up": ("1 while the broker answered the last question", ()),
    "rows_held": ("Rows in the memory of this worker", ("partition",)),
    "stream_time_seconds": ("Stream time of watch, epoch seconds", ("partition",)),
    "watermark_seconds": ("Last published watermark of a source partition, epoch seconds", ("partition",)),
    "alerts_firing": ("Alerts in state firing", ("partition",)),
    "monitors_given": (
        "Hash of the monitors this worker was given (12 hex digits as a number); one value for all workers",
        (),
    ),
    "monitors_in_force": ("Hash of the monitors that hold on a partition, in the same form", ("partition",)),
    "sink_position": ("Next offset of the sink", ("topic", "partition")),
    "delivery_behind": ("Records that a receiver has still before it", ("receiver",)),
    "delivery_failing_seconds": ("How long a receiver has been failing; 0: it is not", ("receiver",)),
    "evaluation_stale": ("1 while alerts are not evaluated, by what holds it up", ("cause",)),
    "evaluation_lag_seconds": ("How far recent progress marks are behind the clock", ()),
}
_HISTOGRAMS = {
    "acknowledge_seconds": ("From handing an event to the producer until the broker acknowledged it", ()),
    "batch_seconds": ("Time for one batch from fold to commit", ("stage",)),
    "query_seconds": ("Time for one answer of the query endpoints", ()),
    "insert_seconds": ("Time for one insert into ClickHouse", ("table",)),
    "delivery_seconds": ("Time for one request to a receiver", ("receiver",)),
}
METRICS = {**_COUNTERS, **_GAUGES, **_HISTOGRAMS}


class Metrics:
    """The metrics of one process. Each instance has its own registry, so tests do not share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters = {n: Counter(_full(n), d, w, registry=self.registry) for n, (d, w) in _COUNTERS.items()}
        self._gauges = {n: Gauge(_full(n), d, w, registry=self.registry) for n, (d, w) in _GAUGES.items()}
        self._counted: dict[tuple[object, ...], Counter] = {}  # the library takes longer to find one than to add to it
        self._histograms = {n: Histogram(_full(n), d, w, registry=self.registry) for n, (d, w) in _HISTOGRAMS.items()}

    def count(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Add to a counter. KeyError for a name that METRICS does not list."""
        place = (name, *labels.items())
        counter = self._counted.get(place)
        if counter is None:
            metric = self._counters[name]
            counter = self._counted[place] = metric.labels(**labels) if labels else metric
        counter.inc(amount)

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        metric = self._gauges[name]
        (metric.labels(**labels) if labels else metric).set(value)

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Record one duration, in seconds."""
        metric = self._histograms[name]
        (metric.labels(**labels) if labels else metric).observe(value)

    def value(self, name: str, /, **labels: str) -> float:
        """The present value of a counter or gauge; 0 when it was never touched."""
        suffix = "_total" if name in _COUNTERS else ""
        return self.registry.get_sample_value(_full(name) + suffix, labels) or 0.0

    def render(self) -> bytes:
        """The text that Prometheus scrapes."""
        return generate_latest(self.registry)


def _full(name: str) -> str:
    return f"thumbstream_{name}"


def configure_logging(role: str, *, level: str = "INFO") -> None:
    """One JSON object a line on standard error, or readable lines on a terminal. Libraries' logs go the same way."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if sys.stderr.isatty():
        last = structlog.dev.ConsoleRenderer()
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(structlog.stdlib.ProcessorFormatter(processor=last, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[stream], level=level, force=True)
    for library in _CHATTY:
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)


def announce(settings: list[tuple[str, str]]) -> None:
    """Log every setting at start; secrets come masked."""
    structlog.get_logger("settings").info("settings", **dict(settings))


def die(reason: str, *, code: int = EXIT_CRASH) -> NoReturn:
    """End this process now, without commits or clean-up: what is not yet durable is read again by the next one."""
    structlog.get_logger("process").critical("fatal", reason=reason, exit_code=code)
    logging.shutdown()
    os._exit(code)
