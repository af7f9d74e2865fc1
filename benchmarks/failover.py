"""How long nobody works on a partition when one of two resolve workers ends: the gap between its progress marks.

    python -m benchmarks.failover [--times 5]

Starts an embedded broker and two workers in a temporary directory, then ends one of them again and again, with SIGTERM
and with kill -9 by turns. A stop in order hands its partitions over; a kill is noticed when the session has run out.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from schemas.codec import Codec
from schemas.events import Progress
from schemas.topics import Topics
from thumbstream import topic_admin
from thumbstream.local import kafka
from thumbstream.local.ports import free_ports

_PATIENCE_SECONDS = 120
_WORKER = """
from thumbstream.commands.worker import run
from thumbstream.settings import load
from thumbstream.telemetry import configure_logging
configure_logging("resolve", level="WARNING")
run(load(), "resolve")
"""


class Worker:
    """One resolve worker of the two."""

    def __init__(self, environment: dict[str, str]) -> None:
        (self._port,) = free_ports(1)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            env={**os.environ, **environment, "THUMBSTREAM_HEALTH_PORT": str(self._port)},
            stdout=subprocess.DEVNULL,
        )

    def is_ready(self) -> bool:
        """Whether it has partitions and its rows."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2):
                return True
        except OSError:
            return False


class Marks:
    """Append times (epoch ms) of the newest marks, by source partition."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._codec = Codec()
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "failover"})
        self._consumer.assign([TopicPartition(topics.minutes.name, 0)])  # every partition gets all marks
        self.newest: dict[int, int] = {}
        self.longest: dict[int, int] = {}

    def read(self) -> None:
        """Take what has come."""
        for message in self._consumer.consume(1_000, 0.2):
            record = self._codec.decode(message.value() or b"")
            if isinstance(record, Progress):
                time_, source = message.timestamp()[1], record.source_partition
                gap = time_ - self.newest.get(source, time_)
                self.longest[source] = max(gap, self.longest.get(source, 0))
                self.newest[source] = time_


def main() -> None:
    """Print the longest gap of any partition: median and worst over all tries, by kind of end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        cluster = kafka.start(Path(folder) / "kafka", ports="auto", say=lambda _: None)
        try:
            _measure(cluster.bootstrap, Path(folder), times)
        finally:
            cluster.stop()


def _measure(bootstrap: str, folder: Path, times: int) -> None:
    topics = Topics("failover.", 4, 4)
    topic_admin.create(topic_admin.client(bootstrap), topics, 1)
    environment = {
        "THUMBSTREAM_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "THUMBSTREAM_TOPIC_PREFIX": topics.prefix,
        "THUMBSTREAM_DATA_DIR": str(folder),
    }
    workers, marks = [Worker(environment), Worker(environment)], Marks(bootstrap, topics)
    gaps: dict[str, list[int]] = {"SIGTERM": [], "SIGKILL": []}
    try:
        for number in range(2 * times):
            _settle(workers, marks)
            name = ("SIGTERM", "SIGKILL")[number % 2]
            gaps[name].append(_end_one(workers[0], signal.Signals[name], marks))
            workers = [workers[1], Worker(environment)]
        for name, found in gaps.items():
            worst, middle = max(found) / 1000, statistics.median(found) / 1000
            print(f"{name}: longest gap {middle:.1f} s (median of {times}), {worst:.1f} s at worst")
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()


def _settle(workers: list[Worker], marks: Marks) -> None:
    """Both ready, and every partition marked again and again."""

    def marked() -> bool:
        marks.read()
        now = time.time() * 1000
        return len(marks.newest) == 4 and all(now - newest < 3_000 for newest in marks.newest.values())

    _await(lambda: all(worker.is_ready() for worker in workers) and marked())
    until = time.monotonic() + 5  # a joining worker moves partitions, which is a gap of its own
    while time.monotonic() < until:
        marks.read()
    _await(marked)


def _end_one(worker: Worker, how: signal.Signals, marks: Marks) -> int:
    """End a worker; the longest gap of any partition until all are marked again, ms."""
    marks.longest.clear()
    ended = time.time() * 1000
    worker.process.send_signal(how)
    worker.process.wait()

    def taken_over() -> bool:
        marks.read()
        return all(newest > ended + 1_500 for newest in marks.newest.values())

    _await(taken_over)
    return max(marks.longest.values())


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"nothing after {_PATIENCE_SECONDS} s")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
