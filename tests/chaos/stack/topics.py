"""Reading topics to their ends, transactions included, and how far a group has come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from tests.chaos.log import Entry


def _consumer(bootstrap: str, group: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )


def _places(consumer: Consumer, topic: str) -> list[TopicPartition]:
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions or {}
    return [TopicPartition(topic, number, 0) for number in sorted(partitions)]


def read(bootstrap: str, topic: str) -> Iterator[Entry]:
    """Every committed record, in offset order within each partition, up to the ends at which the log rests.

    A partition ends where the broker says so: after a transaction its last offset is a marker that nobody ever reads.
    """
    with closing(_consumer(bootstrap, "stack-oracle")) as consumer:
        places = _places(consumer, topic)
        consumer.assign(places)
        left = {place.partition for place in places}
        while left:
            for message in consumer.consume(2_000, 0.2):
                if (error := message.error()) is not None:
                    if error.code() != KafkaError._PARTITION_EOF:
                        raise KafkaException(error)
                    left.discard(message.partition() or 0)
                    continue
                headers: Any = message.headers() or ()
                yield Entry(
                    message.partition() or 0,
                    message.offset() or 0,
                    message.timestamp()[1],
                    _bytes(message.key()) or b"",
                    _bytes(message.value()),
                    dict(headers),
                )


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def lag(bootstrap: str, group: str, topic: str) -> int:
    """How many offsets of `topic` the group has not committed."""
    with closing(_consumer(bootstrap, group)) as consumer:
        places = _places(consumer, topic)
        done = {place.partition: place.offset for place in consumer.committed(places, timeout=20)}
        ends = {place.partition: consumer.get_watermark_offsets(place, timeout=20) for place in places}
    return sum(high - max(done[number], low) for number, (low, high) in ends.items())
