"""Rebuild the alert engine of one minutes partition from its log in Kafka, as it was just before a given offset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from processors.alerts import Engine
from processors.restart import rebuild
from schemas.codec import Codec, DecodeError
from schemas.events import MinuteCount, Progress

_TIMEOUT = 10.0
_BATCH = 5_000


def heard(codec: Codec, payload: bytes | None) -> MinuteCount | Progress | None:
    """What a record of the minutes topic says; None for a stranger's, which says nothing, now and in every replay."""
    try:
        record = codec.decode(payload or b"")
    except DecodeError:
        return None
    return record if isinstance(record, MinuteCount | Progress) else None


@dataclass(frozen=True, slots=True)
class Replay:
    """Where to replay from and what to feed. `horizon` is in ms: longest window, hold and a margin."""

    bootstrap: str
    options: Mapping[str, str]
    topic: str
    codec: Codec
    horizon: int
    minute: int
    new_engine: Callable[[], Engine]  # silent, holding the published alerts

    def until(self, partition: int, offset: int, append_time: int) -> Engine:
        """The engine after every record before `offset`, whose own append time is `append_time`. Blocks."""
        with closing(self._consumer()) as consumer:
            place = TopicPartition(self.topic, partition)
            lowest = consumer.get_watermark_offsets(place, timeout=_TIMEOUT)[0]

            def rerun(time: int) -> tuple[Engine, bool]:
                start = self._start(consumer, partition, time, lowest, offset)
                return self._feed(consumer, partition, start, offset), start <= lowest

            return rebuild(rerun, append_time, self.horizon, self.minute)

    def _consumer(self) -> Consumer:
        return Consumer(
            {
                **self.options,
                "bootstrap.servers": self.bootstrap,
                "group.id": "thumbstream-replay",  # never joined, never committed
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
            }
        )

    def _start(self, consumer: Consumer, partition: int, time: int, lowest: int, end: int) -> int:
        if lowest >= end:
            return end
        asked = TopicPartition(self.topic, partition, max(0, time))
        found: int = consumer.offsets_for_times([asked], timeout=_TIMEOUT)[0].offset
        return max(lowest, found) if 0 <= found <= end else end

    def _feed(self, consumer: Consumer, partition: int, start: int, end: int) -> Engine:
        engine = self.new_engine()
        for message in self._read(consumer, partition, start, end):
            if (record := heard(self.codec, message.value())) is not None:
                engine.feed(message.offset() or 0, message.timestamp()[1], record)
        engine.next_offset = end
        return engine

    def _read(self, consumer: Consumer, partition: int, start: int, end: int) -> Iterator[Message]:
        """Every record of [start, end). Behind the last one only the position tells that the end is reached."""
        if start >= end:
            return
        place = TopicPartition(self.topic, partition, start)
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
