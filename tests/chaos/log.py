"""Reading topics from end to end, and how far a group has come."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition


@dataclass(frozen=True, slots=True)
class Entry:
    """One record and its place. Times are epoch ms."""

    partition: int
    offset: int
    append_time: int
    key: bytes
    value: bytes | None
    headers: dict[str, bytes]


def _consumer(bootstrap: str, group: str = "oracle") -> Consumer:
    settings = {"group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest", "log_level": 0}
    return Consumer({"bootstrap.servers": bootstrap, **settings})


def _places(consumer: Consumer, topic: str) -> list[TopicPartition]:
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions or {}
    return [TopicPartition(topic, number) for number in sorted(partitions)]


def _ends(consumer: Consumer, places: list[TopicPartition]) -> dict[int, tuple[int, int]]:
    return {place.partition: consumer.get_watermark_offsets(place, timeout=10) for place in places}


def read(bootstrap: str, topic: str) -> Iterator[Entry]:
    """Every committed record that `topic` holds now, in offset order within each partition."""
    with closing(_consumer(bootstrap)) as consumer:
        places = _places(consumer, topic)
        bounds = _ends(consumer, places)
        consumer.assign([TopicPartition(topic, number, low) for number, (low, _high) in bounds.items()])
        left = {number for number, (low, high) in bounds.items() if low < high}
        while left:
            for message in consumer.consume(5_000, 0.3):
                if message.error() is not None:
                    raise KafkaException(message.error())
                yield _entry(message)
            positions = consumer.position(places)
            left = {place.partition for place in positions if place.offset < bounds[place.partition][1]} & left


def _entry(message: Message) -> Entry:
    return Entry(
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.key() or b"",
        message.value(),
        dict(message.headers() or ()),  # type: ignore[arg-type]
    )


def committed(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """Partition -> what `group` has committed; negative where it has committed nothing."""
    with closing(_consumer(bootstrap, group)) as consumer:
        places = _places(consumer, topic)
        return {place.partition: place.offset for place in consumer.committed(places, timeout=10)}


def lag(bootstrap: str, group: str, topic: str) -> int:
    """How many offsets of `topic` the group has not committed."""
    done = committed(bootstrap, group, topic)
    with closing(_consumer(bootstrap)) as consumer:
        bounds = _ends(consumer, _places(consumer, topic))
    return sum(high - max(done[number], low) for number, (low, high) in bounds.items())
