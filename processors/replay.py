"""Rebuild the alert engine of one minutes partition from its log in Kafka, as it was just before a given offset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import Consumer, TopicPartition

from processors.alerts import Engine, Heard
from processors.minutes import rollup_of
from processors.reading import TIMEOUT, read, reader
from processors.restart import rebuild
from schemas.codec import Codec, DecodeError
from schemas.events import MinuteCount, MonitorSet, Progress

NewEngine = Callable[[int], Engine]  # keep -> a silent engine that holds the published alerts


def heard(codec: Codec, payload: bytes | None) -> Heard | None:
    """What a record of the minutes topic says; None for a stranger's, which says nothing, now and in every replay."""
    try:
        record = codec.decode(payload or b"")
    except DecodeError:
        return None
    if isinstance(record, MinuteCount) and len(record.group) != len(rollup_of(record.rollup)):
        return None
    return record if isinstance(record, MinuteCount | Progress | MonitorSet) else None


@dataclass(frozen=True, slots=True)
class Replay:
    """What to read. `minute` is in ms."""

    bootstrap: str
    options: Mapping[str, str]
    topic: str
    codec: Codec
    minute: int

    def until(self, partition: int, offset: int, append_time: int, reach: int, new_engine: NewEngine) -> Engine:
        """The engine after every record before `offset`, whose own append time is `append_time`. Blocks.

        `reach` is a guess how many minutes back its state depends on.
        """
        with closing(reader(self.bootstrap, self.options)) as consumer:
            place = TopicPartition(self.topic, partition)
            lowest = consumer.get_watermark_offsets(place, timeout=TIMEOUT)[0]

            def rerun(time: int, keep: int) -> tuple[Engine, bool]:
                start = self._start(consumer, partition, time, lowest, offset)
                return self._feed(new_engine(keep), consumer, partition, start, offset), start <= lowest

            return rebuild(rerun, append_time, reach, self.minute)

    def _start(self, consumer: Consumer, partition: int, time: int, lowest: int, end: int) -> int:
        if lowest >= end:
            return end
        asked = TopicPartition(self.topic, partition, max(0, time))
        found: int = consumer.offsets_for_times([asked], timeout=TIMEOUT)[0].offset
        return max(lowest, found) if 0 <= found <= end else end

    def _feed(self, engine: Engine, consumer: Consumer, partition: int, start: int, end: int) -> Engine:
        for message in read(consumer, self.topic, partition, start, end):
            if (record := heard(self.codec, message.value())) is not None:
                engine.feed(message.offset() or 0, message.timestamp()[1], record)
        engine.next_offset = end
        return engine
