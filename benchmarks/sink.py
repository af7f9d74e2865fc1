"""Rows per second through the whole sink, against a bare insert loop of the same rows, in one run.

    python -m benchmarks.sink [--events 100000]

Starts an embedded broker and an embedded ClickHouse in a temporary directory. The bare loop is what ClickHouse and the
client can do at best: rows made beforehand, batches of 10,000, no Kafka, no decoding, no checks.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from schemas.codec import Codec
from schemas.events import FeedbackEvent
from schemas.topics import Topics, partition_of, request_key
from sinks.clickhouse import Address, ClickHouseWriter, connect
from sinks.consumer import run
from sinks.migrate import migrate
from sinks.rows import EVENTS, Position, Row, event_row
from sinks.startup import Options
from thumbstream.local import kafka
from thumbstream.local.clickhouse import process
from thumbstream.telemetry import Metrics

_BATCH = 10_000
_NOON = 1_780_000_000_000


def main() -> None:
    """Run both and print rows per second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000)
    count: int = parser.parse_args().events
    events = [_event(number) for number in range(count)]
    with _servers() as (bootstrap, server):
        bare = _bare(_address(server, "bare"), [event_row(e, Position(0, n, _NOON)) for n, e in enumerate(events)])
        print(f"bare insert loop: {bare:,.0f} rows/s")
        through = _through(bootstrap, _address(server, "whole"), events)
        print(f"through the sink: {through:,.0f} rows/s, {through / bare:.0%} of that")


@contextmanager
def _servers() -> Iterator[tuple[str, process.Server]]:
    with tempfile.TemporaryDirectory() as folder:
        cluster = kafka.start(Path(folder) / "kafka", ports="auto", say=lambda _: None)
        server = process.start(Path(folder) / "clickhouse")
        try:
            yield cluster.bootstrap, server
        finally:
            server.stop()
            cluster.stop()


def _address(server: process.Server, database: str) -> Address:
    address = Address(server.url, *server.admin, database)
    client = connect(address)
    migrate(client, database, f"{database}_views")
    client.close()
    return address


def _event(number: int) -> FeedbackEvent:
    return FeedbackEvent(
        tenant_id="acme",
        request_id=f"request-{number}",
        event_id=f"event-{number}",
        kind="vote",
        event_time=_NOON + number,
        rating=number % 4 != 0,
        comment="wrong year, and the source does not say so" if number % 5 == 0 else None,
        user_id=f"user-{number % 1000}",
        metadata={"model": f'"model-{number % 8}"', "app": '"web"', "latency": str(number % 3000)},
        source="native",
        original=b'{"request_id": "request", "rating": true, "metadata": {"model": "model", "app": "web"}}',
    )


def _bare(address: Address, rows: Sequence[Row]) -> float:
    writer = ClickHouseWriter(address)
    writer.insert(EVENTS, rows[:1])  # connects, and loads what the client loads at its first insert
    began = time.perf_counter()
    for start in range(0, len(rows), _BATCH):
        writer.insert(EVENTS, rows[start : start + _BATCH])
    return len(rows) / (time.perf_counter() - began)


def _through(bootstrap: str, address: Address, events: Sequence[FeedbackEvent]) -> float:
    """Publish everything first, then start the sink: it is all backlog. Counts from its first row to its last."""
    topics = Topics("benchmark.")
    _publish(bootstrap, topics, events)
    metrics, stop = Metrics(), threading.Event()
    options = Options(bootstrap, topics, address)
    thread = threading.Thread(target=run, args=(options, metrics, lambda _: None, stop))
    thread.start()
    try:
        first, began = _wait_for(metrics, 1)
        last, ended = _wait_for(metrics, len(events))
    finally:
        stop.set()
        thread.join()
    return (last - first) / (ended - began)


def _wait_for(metrics: Metrics, rows: int) -> tuple[float, float]:
    while (count := metrics.value("rows_written", table=EVENTS.name)) < rows:
        time.sleep(0.005)
    return count, time.perf_counter()


def _publish(bootstrap: str, topics: Topics, events: Sequence[FeedbackEvent]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(
        [NewTopic(t.name, t.partitions, 1, config=dict(t.config)) for t in topics]
    ).values():
        future.result(30)
    producer, codec = (
        Producer({"bootstrap.servers": bootstrap, "linger.ms": 20}),
        Codec(),
    )
    for event in events:
        key = request_key(event.tenant_id, event.request_id)
        producer.produce(topics.events.name, codec.encode(event), key, partition_of(key, topics.events.partitions))
        if len(producer) > 50_000:
            producer.flush()
    producer.flush()


if __name__ == "__main__":
    main()
