"""Compaction on a real broker: the stub of an erased request takes the row before it off the topic."""

import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from processors.merge import merge
from producers.kafka import producer_settings
from schemas.codec import Codec
from schemas.events import FeedbackEvent
from schemas.topics import Topics, request_key
from tests.polling import wait_until
from thumbstream import topic_admin

pytestmark = pytest.mark.integration
CODEC = Codec()
NOON = 1_767_268_800_000
MARKER = b"planted-text-of-an-erased-request"
HASTE = {"segment.ms": "100", "min.compaction.lag.ms": "0", "max.compaction.lag.ms": "100"}


def values(bootstrap: str, topic: str) -> list[bytes]:
    """All values on the topic's one partition, from the beginning to the end it has now."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.partition.eof": True})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[bytes] = []
        while (message := consumer.poll(10)) is not None and message.error() is None:
            found.append(bytes(message.value() or b""))
        return found
    finally:
        consumer.close()


def test_an_erased_row_leaves_the_latest_topic_though_most_of_it_is_up_to_date(
    kafka_bootstrap: str, unique: Callable[[str], str]
) -> None:
    """With the settings of `latest`, its times shortened: without a greatest lag nothing would be compacted here."""
    latest = Topics(unique("erase") + ".").latest
    admin = topic_admin.client(kafka_bootstrap)
    admin.create_topics([NewTopic(latest.name, 1, 1, config={**latest.config, **HASTE})])[latest.name].result(20)
    producer = Producer(producer_settings(kafka_bootstrap, {}, {}))

    def put(event: FeedbackEvent, version: int) -> None:
        row = merge(None, event, version, NOON)
        assert row is not None
        producer.produce(latest.name, CODEC.encode(row), request_key("acme", event.request_id))
        assert producer.flush(20) == 0

    for index in range(20):
        put(FeedbackEvent("acme", f"kept-{index}", "e", "vote", rating=True, comment="x" * 500), index + 1)
    put(FeedbackEvent("acme", "r", "e", "vote", rating=True, comment=MARKER.decode()), 30)
    put(FeedbackEvent("acme", "r", "e2", "erase"), 31)
    assert any(MARKER in value for value in values(kafka_bootstrap, latest.name))

    def is_gone() -> bool:
        put(
            FeedbackEvent("acme", f"tick-{time.monotonic()}", "e", "vote", rating=True), 40
        )  # a write rolls the segment
        return not any(MARKER in value for value in values(kafka_bootstrap, latest.name))

    wait_until(is_gone, 60, "the row is compacted away")
    rows = [CODEC.decode(value) for value in values(kafka_bootstrap, latest.name)]
    assert {getattr(row, "request_id", "") for row in rows} >= {"r", *(f"kept-{index}" for index in range(20))}
    admin.delete_topics([latest.name])[latest.name].result(20)
