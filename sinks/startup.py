"""What a sink checks before its first record: topics as the settings say, and a log that still holds the state."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog
from confluent_kafka import Consumer, TopicPartition

from schemas.topics import Topics
from sinks.clickhouse import Address
from sinks.continuity import complaint
from sinks.lane import Backoff
from sinks.writer import UnavailableError, Writer

_BROKER_SECONDS = 15.0
_log = structlog.get_logger("sink")


@dataclass(frozen=True, slots=True)
class Options:
    """What a sink needs to know. `kafka` is passed to the Kafka clients; `group` defaults to one per topic prefix."""

    bootstrap_servers: str
    topics: Topics
    clickhouse: Address
    epoch: int = 1
    group: str = ""
    kafka: Mapping[str, str] = field(default_factory=dict)

    @property
    def group_id(self) -> str:
        """The consumer group."""
        return self.group or f"thumbstream-sink.{self.topics.prefix}".rstrip(".")


class StopError(Exception):
    """The sink must not go on, and starting it again would not help: a person must look."""


class TopicMissingError(Exception):
    """A topic is not there yet; a later start may find it."""


def consumer_config(options: Options) -> dict[str, str | int | bool]:
    """The consumer's settings: what safety needs cannot be overridden."""
    return {
        "partition.assignment.strategy": "cooperative-sticky",
        "max.poll.interval.ms": 30 * 60_000,
        "session.timeout.ms": 10_000,  # how long a killed sink's partitions stay unread; heartbeats have their thread
        "queued.max.messages.kbytes": 32_768,
        "fetch.message.max.bytes": 4 << 20,
        **options.kafka,
        "bootstrap.servers": options.bootstrap_servers,
        "group.id": options.group_id,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
    }


def verify(consumer: Consumer, writer: Writer, options: Options, backoff: Backoff, stop: threading.Event) -> None:
    """Check topics and state before the first record, waiting for ClickHouse.

    Raises StopError, TopicMissingError or KafkaException.
    """
    known = consumer.list_topics(timeout=_BROKER_SECONDS).topics
    for topic in options.topics:
        if topic.name not in known:
            raise TopicMissingError(f"no topic {topic.name}: `thumbstream topics create` makes it")
        if (found := len(known[topic.name].partitions)) != topic.partitions:
            raise StopError(f"topic {topic.name} has {found} partitions, the settings say {topic.partitions}")
    newest = _newest(writer, backoff, stop)
    if trouble := complaint(newest, _ends(consumer, options.topics), options.epoch):
        raise StopError(trouble)


def _newest(writer: Writer, backoff: Backoff, stop: threading.Event) -> Mapping[int, int]:
    failures = 0
    while not stop.is_set():
        try:
            return writer.newest_versions()
        except UnavailableError as error:
            failures += 1
            _log.warning("clickhouse unavailable at start", code=error.code, failures=failures, error=str(error)[:500])
            stop.wait(backoff.seconds(failures))
    return {}


def _ends(consumer: Consumer, topics: Topics) -> dict[int, int]:
    ends = {}
    for partition in range(topics.events.partitions):
        _, end = consumer.get_watermark_offsets(TopicPartition(topics.events.name, partition), timeout=_BROKER_SECONDS)
        ends[partition] = end
    return ends
