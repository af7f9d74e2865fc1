"""A topic as an operator's command reads it: whole, up to this moment, without joining a group."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TypeVar

import click
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.codec import Codec, DecodeError
from thumbstream.settings import Settings

_BROKER_SECONDS = 15.0
_R = TypeVar("_R")


def records(settings: Settings, codec: Codec, topic: str, cls: type[_R]) -> Iterator[_R]:
    """Every `cls` on the topic at this moment, each partition in order; what is none is counted on standard error.

    ClickException when there is no such topic, else KafkaException.
    """
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
        places = _places(consumer, topic)
        consumer.assign(places)
        unreadable = 0
        for message in _to_the_end(consumer, {place.partition for place in places}):
            try:
                yield codec.decode_as(cls, _value(message))
            except DecodeError:
                unreadable += 1
    finally:
        consumer.close()
    if unreadable:
        click.echo(f"{unreadable} records on {topic} are no {cls.__name__}", err=True)


def _places(consumer: Consumer, topic: str) -> list[TopicPartition]:
    known = consumer.list_topics(timeout=_BROKER_SECONDS).topics
    if topic not in known:
        raise click.ClickException(f"no topic {topic}: `thumbstream topics create` makes it")
    if not known[topic].partitions:
        raise KafkaException(known[topic].error or KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    return [TopicPartition(topic, number, OFFSET_BEGINNING) for number in known[topic].partitions]


def _to_the_end(consumer: Consumer, partitions: Collection[int]) -> Iterator[Message]:
    """Messages until every partition has told its end once. KafkaException when the broker falls silent."""
    left = set(partitions)
    while left:
        message = consumer.poll(_BROKER_SECONDS)
        if message is None:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        error = message.error()
        if error is None:
            if message.value() is not None:
                yield message
        elif error.code() == KafkaError._PARTITION_EOF:
            left.discard(message.partition() or 0)  # one that grows tells its end again
        else:
            raise KafkaException(error)


def _value(message: Message) -> bytes:
    value = message.value()
    return value.encode() if isinstance(value, str) else value or b""
