"""Read a range of one partition, outside any consumer group: for replays and for the tails of changelogs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

TIMEOUT = 10.0  # seconds for a question to the broker
_BATCH = 5_000


def reader(bootstrap: str, options: Mapping[str, str]) -> Consumer:
    """A consumer that joins no group and commits nothing. The caller closes it."""
    return Consumer(
        {
            **options,
            "bootstrap.servers": bootstrap,
            "group.id": "thumbstream-reader",  # never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
        }
    )


def read(consumer: Consumer, topic: str, partition: int, start: int, end: int) -> Iterator[Message]:
    """Every record of [start, end). Behind the last one only the position tells that the end is reached.

    Raises KafkaException for an error of the partition.
    """
    if start >= end:
        return
    place = TopicPartition(topic, partition, start)
    consumer.assign([place])
    position = start
    while position < end:
        messages = consumer.consume(min(_BATCH, end - position), 1.0)
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            position = (message.offset() or 0) + 1
            if position <= end:
                yield message
        if not messages:
            position = max(position, consumer.position([place])[0].offset)
