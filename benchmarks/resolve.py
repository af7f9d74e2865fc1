"""Events per second through the resolve worker, against a bare consumer loop around the same fold, in one run.

    python -m benchmarks.resolve [--events 150000]

Starts an embedded broker in a temporary directory. The bare loop is what the fold, the codec and the client can do at
best: no Faust, no recovery, no marks, no checks. Both begin to count after their first batch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Consumer, Message, Producer

from processors.deduplicate import Arrival
from processors.minutes import DayCells, published
from processors.monitors import rollups
from processors.outputs import Outputs
from processors.pipeline import Lookup, Partition, days_needed, fold
from schemas.codec import Codec
from schemas.events import FeedbackEvent, ResolvedFeedback
from schemas.topics import Topics, minute_key, request_key, source_partition_of, version_of
from thumbstream import topic_admin
from thumbstream.local import kafka
from thumbstream.local.ports import free_ports

_BATCH = 8_000  # as many as eight lists of the worker
_MINUTES = 120
_WORKER = """
from thumbstream.commands.worker import run
from thumbstream.settings import load
from thumbstream.telemetry import configure_logging
configure_logging("resolve", level="WARNING")
run(load(), "resolve")
"""


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured between the first batch and the last."""

    events: int
    seconds: float
    cpu_seconds: float

    def __str__(self) -> str:
        cpu = self.cpu_seconds / self.events * 1e6
        return f"{self.events / self.seconds:,.0f} events/s, {cpu:.0f} us of CPU an event"


def main() -> None:
    """Run both and print events per second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--bare", help=argparse.SUPPRESS)  # the bare loop runs as a process of its own
    given = parser.parse_args()
    if given.bare:
        print(json.dumps(asyncio.run(_bare(given.bare, given.events))))
        return
    with tempfile.TemporaryDirectory() as folder:
        cluster = kafka.start(Path(folder) / "kafka", ports="auto", say=lambda _: None)
        try:
            bare = _measure_bare(cluster.bootstrap, given.events)
            print(f"bare loop: {bare}", flush=True)
            worker = _measure_worker(cluster.bootstrap, given.events, Path(folder))
            print(f"worker:    {worker}")
        finally:
            cluster.stop()
    print(f"ratio: {bare.events / bare.seconds / (worker.events / worker.seconds):.2f}")


def _event(number: int, began: int) -> FeedbackEvent:
    """Time-ordered votes; every fifth changes the mind of somebody who voted shortly before."""
    request = number - 37 if number % 5 == 0 else number
    return FeedbackEvent(
        tenant_id="acme",
        request_id=f"request-{request:09d}",
        event_id=f"event-{number:09d}",
        kind="vote",
        event_time=began + number,
        rating=number % 7 != 0,
        user_id=f"user-{number % 5_000}",
        metadata={"model": f'"model-{number % 8}"', "environment": '"production"'},
        source="benchmark",
    )


def _fill(bootstrap: str, topics: Topics, count: int) -> None:
    topic_admin.create(topic_admin.client(bootstrap), topics, 1)
    codec, began = Codec(), int(time.time() * 1000) - _MINUTES * 60_000
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 20})
    for number in range(count):
        event = _event(number, began)
        producer.produce(topics.events.name, codec.encode(event), request_key(event.tenant_id, event.request_id))
        if number % 1_000 == 0:
            producer.flush()
    producer.flush()


# the bare loop


@dataclass(slots=True)
class _Memory:
    """One partition's rows and cells."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    days: dict[int, DayCells] = field(default_factory=lambda: defaultdict(dict))


def _measure_bare(bootstrap: str, count: int) -> Speed:
    _fill(bootstrap, Topics("bare."), count)
    command = [sys.executable, "-m", "benchmarks.resolve", "--events", str(count), "--bare", bootstrap]
    return Speed(*json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


async def _bare(bootstrap: str, count: int) -> tuple[int, float, float]:
    topics, codec, outputs = Topics("bare."), Codec(), Outputs(bootstrap)
    settings = {"bootstrap.servers": bootstrap, "group.id": "bare", "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "enable.auto.commit": False})
    consumer.subscribe([topics.events.name])
    memory: dict[int, _Memory] = defaultdict(_Memory)
    done = first = 0
    began = cpu = 0.0
    while done < count:
        messages = consumer.consume(_BATCH, 0.2)
        if messages:
            await _batch(messages, memory, topics, codec, outputs)
            consumer.commit(asynchronous=True)
            done += len(messages)
            if not first:
                first, began, cpu = done, time.monotonic(), time.process_time()
    result = done - first, time.monotonic() - began, time.process_time() - cpu
    consumer.close()
    return result


async def _batch(
    messages: list[Message], memory: dict[int, _Memory], topics: Topics, codec: Codec, outputs: Outputs
) -> None:
    by_partition: dict[int, list[Message]] = defaultdict(list)
    for message in messages:
        by_partition[message.partition() or 0].append(message)
    steps = [_fold(number, found, memory[number], topics, codec) for number, found in by_partition.items()]
    for _number, cells, _rows, _folded in steps:
        outputs.send(topics.minutes.name, cells)
    await outputs.barrier()
    for number, _cells, rows, _folded in steps:
        outputs.send(topics.latest.name, rows, number)
    await outputs.barrier()
    for number, _cells, rows, folded in steps:
        memory[number].rows.update(rows)
        for place, cell in folded.cells.items():
            memory[number].days[place[1] // 86_400_000][place] = cell


def _fold(number: int, messages: list[Message], memory: _Memory, topics: Topics, codec: Codec) -> tuple[Any, ...]:
    @cache
    def stored(key: bytes) -> ResolvedFeedback | None:
        value = memory.rows.get(key)
        return None if value is None else codec.decode_as(ResolvedFeedback, value)

    arrivals = [_arrival(message, codec) for message in messages]
    lookup = Lookup(stored, lambda _: ())  # this traffic amends nothing
    days = {day: memory.days[day] for day in days_needed(arrivals, lookup)}
    folded = fold(Partition(number, topics.event_partitions, rollups()), arrivals, lookup, days)
    version, source = version_of(1, arrivals[-1].offset), source_partition_of(1, number)
    counts = [published(place, cell, source, version) for place, cell in folded.cells.items()]
    cells = [(minute_key(count.tenant_id, count.rollup, count.group), codec.encode(count)) for count in counts]
    return number, cells, [(key, codec.encode(row)) for key, row in folded.rows.items()], folded


def _arrival(message: Any, codec: Codec) -> Arrival:
    event = codec.decode_as(FeedbackEvent, message.value())
    return Arrival(message.offset(), message.timestamp()[1], message.key(), event)


# the worker


def _measure_worker(bootstrap: str, count: int, folder: Path) -> Speed:
    _fill(bootstrap, Topics("worker."), count)
    (port,) = free_ports(1)
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "TOPIC_PREFIX": "worker.",
        "DATA_DIR": str(folder),
        "HEALTH_PORT": str(port),
    }
    environment = {**os.environ, **{f"THUMBSTREAM_{name}": text for name, text in settings.items()}}
    process = subprocess.Popen([sys.executable, "-c", _WORKER], env=environment, stdout=subprocess.DEVNULL)
    try:
        return _watch(process, port, count)
    finally:
        process.terminate()
        process.wait(30)


def _watch(process: subprocess.Popen[bytes], port: int, count: int) -> Speed:
    first, began, cpu = 0, 0.0, 0.0
    while (done := _resolved(port)) < count:
        if process.poll() is not None:
            raise RuntimeError(f"the worker ended with {process.returncode}")
        if done and not first:
            first, began, cpu = done, time.monotonic(), _cpu(process.pid)
        time.sleep(0.02)
    if not first:
        raise RuntimeError("too few events: all were folded in one batch")
    return Speed(count - first, time.monotonic() - began, _cpu(process.pid) - cpu)


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _resolved(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            text = reply.read().decode()
    except OSError:
        return 0
    return int(sum(map(float, re.findall(r"^thumbstream_events_resolved_total{.*} (\S+)$", text, re.MULTILINE))))


if __name__ == "__main__":
    main()
