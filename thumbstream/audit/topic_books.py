"""Reads the public topics as anyone could: committed records only, in order, without joining a group."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

_SECONDS = 15.0
_STALLED_SECONDS = 30.0
_FETCH = 2_000
_STEP = 8

Bounds = dict[int, tuple[int, int]]  # partition -> first offset that is held, offset after the last


class TopicBooks:
    """A consumer that is told what to read. Its methods raise KafkaException."""

    def __init__(self, bootstrap: str, kafka: Mapping[str, str], group: str) -> None:
        self._settings: dict[str, Any] = {
            **kafka,
            "bootstrap.servers": bootstrap,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "log_level": 2,
        }
        self._group = group
        self._groups: dict[str, Consumer] = {}  # by role; never subscribed, only asked what their group has committed
        self._partitions: dict[str, list[int]] = {}
        self._consumer = Consumer({**self._settings, "group.id": f"{group}-audit"})

    def __enter__(self) -> TopicBooks:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for consumer in (self._consumer, *self._groups.values()):
            consumer.close()

    def bounds(self, topic: str) -> Bounds:
        """What each partition holds at this moment."""
        return {place.partition: self.bounds_of(topic, place.partition) for place in self._places(topic)}

    def bounds_of(self, topic: str, partition: int) -> tuple[int, int]:
        """What one partition holds at this moment."""
        return self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_SECONDS)

    def ends(self, topic: str) -> dict[int, int]:
        """Partition -> the offset after the last."""
        return {partition: high for partition, (_, high) in self.bounds(topic).items()}

    def record_ends(self, topic: str) -> dict[int, int]:
        """Partition -> the offset after its last record: marks of transactions at the end do not count."""
        return {number: self._record_end(topic, number, *bounds) for number, bounds in self.bounds(topic).items()}

    def _record_end(self, topic: str, partition: int, low: int, high: int) -> int:
        step = 1
        while low < high:
            start, last = max(low, high - step), -1
            for message in self.read(topic, partition, start, high):
                last = message.offset() or 0
            if last >= 0:
                return last + 1
            if start == low:
                break
            step *= _STEP
        return low

    def offsets_at(self, topic: str, since: int) -> dict[int, int]:
        """Partition -> the first offset appended at or after `since` (epoch ms), or the end."""
        asked = [TopicPartition(topic, place.partition, since) for place in self._places(topic)]
        ends = self.bounds(topic)
        found = self._consumer.offsets_for_times(asked, timeout=_SECONDS)
        return {
            place.partition: ends[place.partition][1] if place.offset in (OFFSET_END, -1) else place.offset
            for place in found
        }

    def committed(self, role: str, topic: str) -> dict[int, int]:
        """Partition -> what the group of `role` has committed; 0 where nothing was."""
        if role not in self._groups:
            self._groups[role] = Consumer({**self._settings, "group.id": f"{self._group}-{role}"})
        found = self._groups[role].committed(self._places(topic), timeout=_SECONDS)
        return {place.partition: max(place.offset, 0) for place in found}

    def read(self, topic: str, partition: int, start: int, end: int) -> Iterator[Message]:
        """The records of [start, end), in order."""
        if start >= end:
            return
        self._consumer.assign([TopicPartition(topic, partition, start)])
        at, heard = start, time.monotonic()
        while at < end:
            messages = self._consumer.consume(min(_FETCH, end - at), 0.1)
            if messages:
                heard = time.monotonic()
            elif time.monotonic() - heard > _STALLED_SECONDS:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{topic} {partition} gives nothing"))
            for message in messages:
                if (error := message.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        return
                    raise KafkaException(error)
                at = (message.offset() or 0) + 1
                if at > end:
                    return
                yield message

    def _places(self, topic: str) -> list[TopicPartition]:
        if topic not in self._partitions:
            described = self._consumer.list_topics(topic, timeout=_SECONDS).topics[topic]
            if described.error is not None:
                raise KafkaException(described.error)
            self._partitions[topic] = sorted(described.partitions or {})
        return [TopicPartition(topic, number) for number in self._partitions[topic]]
