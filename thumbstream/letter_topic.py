"""The dead-letters topic as an operator's command uses it: read whole, without a group, and written durably."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from producers.kafka import producer_settings
from schemas.codec import Codec
from schemas.events import DeadLetter
from schemas.topics import LARGEST_MESSAGE
from thumbstream.settings import Settings
from thumbstream.whole_topic import records

_DELIVERY_SECONDS = 30.0
_ROOM_SECONDS = 0.1

Outgoing = tuple[str, bytes, bytes, Mapping[str, bytes], int]  # topic, key, value, headers, partition or BY_KEY


def read(settings: Settings, codec: Codec) -> Iterator[DeadLetter]:
    """Every letter on the topic at this moment. ClickException when there is no such topic, else KafkaException."""
    return records(settings, codec, settings.topics.dead_letters.name, DeadLetter)


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
