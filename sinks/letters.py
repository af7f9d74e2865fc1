"""Dead letters of the sink: rows ClickHouse refuses and records nobody can read, published before offsets move on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.codec import Codec
from schemas.events import DeadLetter
from schemas.letters import fitting
from schemas.topics import LARGEST_MESSAGE
from sinks.batch import Source

STAGE = "sink"
_FLUSH_SECONDS = 30.0


class Letters(Protocol):
    """Where dead letters go."""

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Publish all durably, or raise."""


def letter(source: Source, reason: str, message: str) -> DeadLetter:
    """The letter about one record. Its id is the record's place, so a replay writes the same letter again."""
    made = DeadLetter(
        letter_id=f"{source.topic}-{source.partition}-{source.offset}",
        stage=STAGE,
        reason=reason,
        message=message[:2_000],
        tenant_id=None,
        topic=source.topic,
        partition=source.partition,
        offset=source.offset,
        failed_at=source.append_time,
        key=source.key,
        original=source.value,
    )
    return fitting(made)


class KafkaLetters:
    """Publishes to the dead-letters topic. `send` returns once the broker has them all."""

    def __init__(self, bootstrap_servers: str, topic: str, kafka: Mapping[str, str], codec: Codec) -> None:
        self._topic, self._codec = topic, codec
        self._failed: list[KafkaError] = []
        self._producer = Producer(
            {
                **kafka,
                "bootstrap.servers": bootstrap_servers,
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "message.max.bytes": LARGEST_MESSAGE,
            }
        )

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Publish all durably. Raises KafkaException when one was not delivered in time."""
        self._failed.clear()
        for item in letters:
            self._producer.produce(
                self._topic, self._codec.encode(item), item.letter_id.encode(), on_delivery=self._delivered
            )
            self._producer.poll(0)
        waiting = self._producer.flush(_FLUSH_SECONDS)
        if self._failed or waiting:
            raise KafkaException(self._failed[0] if self._failed else KafkaError(KafkaError._MSG_TIMED_OUT))

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed.append(error)
