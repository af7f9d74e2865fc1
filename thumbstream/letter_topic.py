"""The dead-letters topic as an operator's command uses it: read whole, without a group, and written durably."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import click
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from producers.kafka import producer_settings
from schemas.codec import Codec, DecodeError
from schemas.events import DeadLetter
from schemas.topics import LARGEST_MESSAGE
from thumbstream.settings import Settings

_BROKER_SECONDS = 15.0
_DELIVERY_SECONDS = 30.0
_ROOM_SECONDS = 0.1

Outgoing = tuple[str, bytes, bytes, Mapping[str, bytes], int]  # topic, key, value, headers, partition or BY_KEY


def read(settings: Settings, codec: Codec) -> Iterator[DeadLetter]:
    """Every letter on the topic at this moment. ClickException when there is no such topic, else KafkaException."""
    consumer = Consumer(
        {
            **settings.kafka,
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "group.id": f"{settings.group}-dead-letters",  # the client wants one; nothing is joined or committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,  # nobody waits for more: the end is told after one empty answer
            "isolation.level": "read_committed",
        }
    )
    try:
        places = _places(consumer, settings.topics.dead_letters.name)
        consumer.assign(places)
        unreadable = 0
        for message in _to_the_end(consumer, len(places)):
            try:
                yield codec.decode_as(DeadLetter, _value(message))
            except DecodeError:
                unreadable += 1
    finally:
        consumer.close()
    if unreadable:
        click.echo(f"{unreadable} records on {settings.topics.dead_letters.name} are no dead letters", err=True)


def _places(consumer: Consumer, topic: str) -> list[TopicPartition]:
    known = consumer.list_topics(timeout=_BROKER_SECONDS).topics
    if topic not in known:
        raise click.ClickException(f"no topic {topic}: `thumbstream topics create` makes it")
    return [TopicPartition(topic, number, OFFSET_BEGINNING) for number in known[topic].partitions]


def _to_the_end(consumer: Consumer, partitions: int) -> Iterator[Message]:
    """Messages until every partition has told its end. KafkaException when the broker falls silent."""
    while partitions:
        message = consumer.poll(_BROKER_SECONDS)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        error = message.error()
        if error is None:
            if message.value() is not None:
                yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            partitions -= 1
        else:
            raise KafkaException(error)


def _value(message: Message) -> bytes:
    value = message.value()
    return value.encode() if isinstance(value, str) else value or b""


def publish(settings: Settings, outgoing: Sequence[Outgoing]) -> list[str | None]:
    """Publish all, each to its partition; per message None once it is durable, or why nobody knows."""
    own = {"delivery.timeout.ms": int(_DELIVERY_SECONDS * 1000), "message.max.bytes": LARGEST_MESSAGE}
    producer = Producer(producer_settings(settings.kafka_bootstrap_servers, settings.kafka, own))
    outcomes: list[str | None] = ["not acknowledged in time"] * len(outgoing)

    def delivered(index: int, error: KafkaError | None, _: Message) -> None:
        outcomes[index] = None if error is None else error.str()

    for index, (topic, key, value, headers, partition) in enumerate(outgoing):
        message = {"topic": topic, "key": key, "value": value, "headers": dict(headers), "partition": partition}
        try:
            while not _produced(producer, message, partial(delivered, index)):
                producer.poll(_ROOM_SECONDS)
        except KafkaException as error:  # larger than the client takes
            outcomes[index] = str(error)
        producer.poll(0)
    producer.flush(_DELIVERY_SECONDS)
    return outcomes


def _produced(
    producer: Producer, message: dict[str, Any], delivered: Callable[[KafkaError | None, Message], None]
) -> bool:
    """False while the client's queue is full."""
    try:
        producer.produce(**message, on_delivery=delivered)
    except BufferError:
        return False
    return True
