"""Looks again and again whether alerts are still evaluated, from what lies in Kafka: marks, and watch's position."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.codec import Codec, DecodeError
from schemas.events import Progress
from schemas.topics import PROGRESS_KEY
from sinks.delivery.messages import Notice
from sinks.delivery.reader import Options, consumer_config
from sinks.delivery.staleness import CAUSES, Marks, Watchman, cause
from thumbstream.telemetry import Metrics

_CHECK_SECONDS = 15.0
_LOOK_BACK = 20_000  # ms; every live source marks its progress once a second
_BROKER_SECONDS = 10.0
_log = structlog.get_logger("deliver")


class Evaluation:
    """One look at Kafka per check. Reads with `watch`'s group name to see its position, and never joins it."""

    def __init__(self, options: Options, stale_after: float, metrics: Metrics, codec: Codec) -> None:
        self._consumer = Consumer(consumer_config(options, options.watch_group))
        self._topic, self._codec = options.topics.minutes, codec
        self._limit, self._metrics = int(stale_after * 1000), metrics
        self._watchman = Watchman()

    def run(self, tell: Callable[[Notice], None], stop: threading.Event) -> None:
        """Check until `stop`, and tell of every change."""
        while not stop.is_set():
            try:
                if (notice := self.check(time.time_ns() // 1_000_000)) is not None:
                    tell(notice)
            except KafkaException as error:  # without a broker nobody knows, and the couriers say that it is away
                _log.warning("evaluation unknown", error=str(error))
            stop.wait(_CHECK_SECONDS)
        self._consumer.close()

    def check(self, now: int) -> Notice | None:
        """What is to be said at `now` (epoch ms). Raises KafkaException."""
        ends = {number: self._span(number) for number in range(self._topic.partitions)}
        if not any(end for _, end in ends.values()):
            return None  # nothing was ever counted: there is nothing to evaluate yet
        stream_time = self._stream_time(now, ends[0][1])
        why = cause(stream_time, self._waiting(ends), now, self._limit)
        for each in CAUSES:
            self._metrics.set("evaluation_stale", each == why, cause=each)
        if stream_time is not None:
            self._metrics.set("evaluation_lag_seconds", (now - stream_time) / 1000)
        notice = self._watchman.judged(why, now)
        if notice is not None:
            _log.warning("evaluation", status=notice.status, cause=why)
        return notice

    def _span(self, partition: int) -> tuple[int, int]:
        place = TopicPartition(self._topic.name, partition)
        low, end = self._consumer.get_watermark_offsets(place, timeout=_BROKER_SECONDS)
        return low, end

    def _stream_time(self, now: int, end: int) -> int | None:
        """What marks say: those of the last seconds, or, when these do not tell, of the whole limit."""
        recent = self._marks(now, min(_LOOK_BACK, self._limit), end).stream_time()
        return self._marks(now, self._limit, end).stream_time() if recent is None else recent

    def _marks(self, now: int, back: int, end: int) -> Marks:
        """Marks since `now - back`, which lie on every partition alike; only as many as it takes to know enough."""
        marks = Marks()
        asked = TopicPartition(self._topic.name, 0, now - back)
        (found,) = self._consumer.offsets_for_times([asked], timeout=_BROKER_SECONDS)
        if found.error is not None:
            raise KafkaException(found.error)
        if found.offset < 0:
            return marks
        for message in self._read(0, found.offset, end):
            self._note(marks, message)
            stream_time = marks.stream_time()
            if stream_time is not None and now - stream_time <= back:
                break
        return marks

    def _note(self, marks: Marks, message: Message) -> None:
        value = message.value()
        if message.key() == PROGRESS_KEY and isinstance(value, bytes):
            try:
                marks.take(self._codec.decode_as(Progress, value), message.timestamp()[1])
            except DecodeError as error:
                _log.warning("undecodable", topic=self._topic.name, offset=message.offset(), error=str(error))

    def _waiting(self, ends: dict[int, tuple[int, int]]) -> dict[int, int]:
        """Minutes partition -> append time of the first record that `watch` has not committed."""
        places = [TopicPartition(self._topic.name, number) for number in ends]
        waiting = {}
        for place in self._consumer.committed(places, timeout=_BROKER_SECONDS):
            low, end = ends[place.partition]
            first = next(self._read(place.partition, max(place.offset, low), end), None)
            if first is not None:
                waiting[place.partition] = first.timestamp()[1]
        return waiting

    def _read(self, partition: int, start: int, end: int) -> Iterator[Message]:
        """The records from `start` up to `end`. KafkaException when the broker falls silent, which says nothing."""
        if start >= end:
            return
        self._consumer.assign([TopicPartition(self._topic.name, partition, start)])
        while (message := self._consumer.poll(_BROKER_SECONDS)) is not None:
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # the last offsets hold no record for us
                    return
                raise KafkaException(error)
            yield message
            if (message.offset() or 0) + 1 >= end:
                return
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no answer for {_BROKER_SECONDS:.0f} s"))
