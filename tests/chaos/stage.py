"""Topics of one test, records put into them, and processes that work on them: for tests of a single behaviour."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Producer

from schemas.codec import Codec
from schemas.events import FeedbackEvent, Record
from schemas.feedback_ids import event_key, event_partition
from schemas.topics import Topic, Topics
from tests.chaos.log import committed, read
from tests.polling import wait_until
from thumbstream import topic_admin
from thumbstream.local.ports import free_ports

_R = TypeVar("_R")
_START_SECONDS = 60  # the machine may be busy
_PROGRAM = """
import sys
from thumbstream.commands.worker import run
from thumbstream.settings import load
from thumbstream.telemetry import configure_logging
configure_logging(sys.argv[1])
run(load(), sys.argv[1])
"""


@dataclass(slots=True)
class Child:
    """A process, what it wrote, and its port for health questions."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0

    @property
    def said(self) -> str:
        """Everything written so far."""
        return self.log.read_text("utf-8", "replace")

    def lines(self) -> list[dict[str, Any]]:
        """The JSON objects among the lines written so far."""
        found = (line[line.find("{") :] for line in self.said.splitlines() if line.endswith("}"))
        return [json.loads(line) for line in found]  # Faust's spinner writes escape codes in front

    def exit_code(self, deadline_seconds: float = _START_SECONDS) -> int:
        """Wait for the end."""
        wait_until(lambda: self.process.poll() is not None, deadline_seconds, f"the end of the process: {self.said}")
        return self.process.returncode

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.exit_code(30)

    def counted(self, metric: str) -> float:
        """The sum of a counter over its labels; 0 while nobody answers."""
        return sum(self.shown(f"{metric}_total"))

    def shown(self, metric: str) -> list[float]:
        """The values of a metric, one for each combination of labels; none while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=2) as reply:
                text = reply.read().decode()
        except OSError:
            return []
        return list(map(float, re.findall(rf"^thumbstream_{metric}(?:{{.*}})? (\S+)$", text, re.MULTILINE)))

    def is_ready(self) -> bool:
        """True when the worker says so. Fails when the process has ended."""
        assert self.process.poll() is None, self.said
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2):
                return True
        except OSError:
            return False


@dataclass(slots=True)
class Stage:
    """One test's own topics on the shared broker."""

    bootstrap: str
    topics: Topics
    directory: Path
    codec: Codec = field(default_factory=Codec)
    _children: list[Child] = field(default_factory=list)

    @property
    def group(self) -> str:
        """Prefix of the consumer groups."""
        return self.topics.prefix.rstrip(".")

    def create(self) -> None:
        """Make all topics."""
        admin = topic_admin.client(self.bootstrap)
        topic_admin.create(admin, self.topics, 1)
        wait_until(lambda: not topic_admin.problems(admin, self.topics), 30, "the topics are there")

    def put(self, topic: Topic, *records: tuple[bytes, bytes | None], partition: int = -1) -> None:
        """Produce (key, value) pairs and wait until they are durable."""
        producer = Producer({"bootstrap.servers": self.bootstrap, "partitioner": "murmur2_random"})
        for key, value in records:
            producer.produce(topic.name, value, key, partition)
        assert producer.flush(30) == 0

    def put_events(self, *events: FeedbackEvent) -> None:
        """Produce events where they belong."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for event in events:
            key, value = self.keyed(event)
            producer.produce(self.topics.events.name, value, key, event_partition(event, self.topics.event_partitions))
        assert producer.flush(30) == 0

    def keyed(self, event: FeedbackEvent) -> tuple[bytes, bytes]:
        """Key and value of an event."""
        return event_key(event), self.codec.encode(event)

    def found(self, topic: Topic, cls: type[_R]) -> list[_R]:
        """All records of one kind in `topic`, in order."""
        decoded = (self.codec.decode(entry.value or b"") for entry in read(self.bootstrap, topic.name))
        return [record for record in decoded if isinstance(record, cls)]

    def records(self, topic: Topic) -> list[Record]:
        """All records in `topic`."""
        return [self.codec.decode(entry.value or b"") for entry in read(self.bootstrap, topic.name)]

    def committed(self, role: str, topic: Topic) -> dict[int, int]:
        """Partition -> committed offset of the role's group; negative where there is none."""
        return committed(self.bootstrap, f"{self.group}-{role}", topic.name)

    def worker(self, role: str, *, group: str | None = None, **more: object) -> Child:
        """Start the product's worker as `thumbstream worker` does, with more settings (`monitors_file=...`)."""
        settings = {
            "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "TOPIC_PREFIX": self.topics.prefix,
            "GROUP": group or self.group,
            "EVENT_PARTITIONS": str(self.topics.event_partitions),
            "MINUTE_PARTITIONS": str(self.topics.minute_partitions),
            "DATA_DIR": str(self.directory),
            **{name.upper(): str(value) for name, value in more.items()},
        }
        return self._spawn(["-c", _PROGRAM, role], settings)

    def ready_worker(self, role: str, *, group: str | None = None, **more: object) -> Child:
        """Start a worker and wait until it is ready."""
        child = self.worker(role, group=group, **more)
        wait_until(child.is_ready, _START_SECONDS, f"{role} is ready")
        return child

    def probe(self, **given: Any) -> Child:
        """Start `tests.chaos.probe` on the events topic."""
        about = {"bootstrap": self.bootstrap, "topic": self.topics.events.name, "group": f"{self.group}-probe"}
        return self._spawn(["-m", "tests.chaos.probe", json.dumps({**about, "data": str(self.directory), **given})], {})

    def _spawn(self, arguments: list[str], settings: dict[str, str]) -> Child:
        log, (port,) = self.directory / f"{len(self._children)}.log", free_ports(1)
        environment = {**os.environ, **{f"THUMBSTREAM_{name}": text for name, text in settings.items()}}
        environment |= {"THUMBSTREAM_HEALTH_PORT": str(port), "PYTHONUNBUFFERED": "1"}
        with log.open("wb") as file:
            process = subprocess.Popen([sys.executable, *arguments], stdout=file, stderr=file, env=environment)
        self._children.append(Child(process, log, port))
        return self._children[-1]

    def close(self) -> None:
        """Kill what still runs."""
        for child in self._children:
            child.process.kill()
            child.process.wait()


@contextmanager
def stage(bootstrap: str, name: str, directory: Path, partitions: int = 2) -> Iterator[Stage]:
    """A stage with topics of its own, which `create` makes; its processes end with it."""
    made = Stage(bootstrap, Topics(f"{name}.", partitions, 2), directory)
    try:
        yield made
    finally:
        made.close()
