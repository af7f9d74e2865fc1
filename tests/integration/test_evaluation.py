"""Stale evaluation as Kafka shows it: marks that are missing, and a watch that does not get on."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas.codec import Codec
from schemas.events import MinuteCount, Progress
from schemas.topics import PROGRESS_KEY, Topics
from sinks.delivery.evaluation import Evaluation
from sinks.delivery.messages import Notice
from sinks.delivery.reader import Options
from tests.polling import wait_until
from thumbstream import topic_admin
from thumbstream.telemetry import Metrics

pytestmark = pytest.mark.integration
_CODEC = Codec()
LIMIT = 60.0


@dataclass
class Place:
    """A minutes topic of two partitions, fed by two sources."""

    bootstrap: str
    topics: Topics
    producer: Producer

    @property
    def options(self) -> Options:
        prefix = self.topics.prefix
        return Options(self.bootstrap, self.topics, f"{prefix}deliver", f"{prefix}watch")

    def evaluation(self, seconds: float, metrics: Metrics | None = None) -> Evaluation:
        return Evaluation(self.options, seconds, metrics or Metrics(), _CODEC)

    def mark(self, *sources: int) -> None:
        """Progress marks of now, on every partition."""
        for source in sources:
            for partition in range(2):
                value = _CODEC.encode(Progress(1000 + source, 2, 0, now()))
                self.producer.produce(self.topics.minutes.name, value, PROGRESS_KEY, partition)
        assert self.producer.flush(20) == 0

    def watched(self) -> None:
        """Watch has dealt with everything."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": self.options.watch_group})
        places = []
        for number in range(2):
            place = TopicPartition(self.topics.minutes.name, number)
            place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
            places.append(place)
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()


def now() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def place(kafka_bootstrap: str, unique: Callable[[str], str]) -> Iterator[Place]:
    topics = Topics(f"{unique('evaluation')}.", 2, 2)
    admin = topic_admin.client(kafka_bootstrap)
    topic_admin.create(admin, topics, 1)
    yield Place(kafka_bootstrap, topics, Producer({"bootstrap.servers": kafka_bootstrap, "acks": "all"}))
    for future in admin.delete_topics([topic.name for topic in topics]).values():
        future.result(20)


def test_missing_marks_are_noticed_and_so_is_their_return(place: Place) -> None:
    metrics = Metrics()
    evaluation = place.evaluation(LIMIT, metrics)
    assert evaluation.check(now()) is None, "nothing was ever counted"
    cell = _CODEC.encode(MinuteCount("acme", "tenant", (), 0, 1000, 1, 1, 0, 0))
    place.producer.produce(place.topics.minutes.name, cell, b"acme|tenant|", 0)
    place.mark(0)
    half = evaluation.check(now())
    assert half is not None, "one source partition has no mark"
    assert (half.status, half.details) == ("firing", {"cause": "marks"})
    assert metrics.value("evaluation_stale", cause="marks") == 1
    place.mark(1)
    place.watched()
    whole = evaluation.check(now())
    assert whole is not None
    assert whole.status == "resolved"
    assert metrics.value("evaluation_stale", cause="marks") == 0
    much_later = evaluation.check(now() + 600_000)
    assert much_later is not None
    assert much_later.details == {"cause": "marks"}


def test_a_watch_that_stands_still_is_noticed_while_marks_go_on(place: Place) -> None:
    evaluation = place.evaluation(3.0)
    place.mark(0, 1)

    def stale() -> Notice | None:
        place.mark(0, 1)
        return evaluation.check(now())

    began = wait_until(stale, 30, "the oldest record that watch has before it is older than the limit")
    assert began is not None
    assert (began.status, began.details) == ("firing", {"cause": "watch"})
    place.mark(0, 1)
    place.watched()
    ended = evaluation.check(now())
    assert ended is not None
    assert (ended.status, ended.since) == ("resolved", began.since)
