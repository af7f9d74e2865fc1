"""Progress marks: once a second every worker says, to every partition of minutes, how far its sources are counted.

"Caught up" means that everything the last fetch could see is durable; then the watermark is a little before the time of
that fetch's answer, never the present: with the broker gone, the present would be a lie. Otherwise it is the append
time of the last durable event.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from faust.types import TP

from processors.resolve import Resolver
from schemas.events import Progress
from schemas.topics import PROGRESS_KEY, source_partition_of

_log = structlog.get_logger(__name__)
LOOK_SECONDS = 0.1
_SHOWN_MS = 500  # a broker stamps a record before it shows it: 10 ms later on a busy machine
_PAUSE_SECONDS = 0.4  # shorter pauses between two looks make no answer older than its mark admits
_TOLD_SECONDS = 1.0  # shorter pauses are everyday on a busy machine
_FETCH_SECONDS = 1.0  # an answer this long after a pause was asked for after it: a fetch waits 0.5 s at the broker


class Marks:
    """Publishes marks through the resolver's producer, so that they follow the cells they speak of."""

    def __init__(self, resolver: Resolver, clock: Callable[[], float] = time.time) -> None:
        self._resolver, self._clock = resolver, clock
        self._looked: float | None = None
        self._pause = 0.0  # seconds, of the last pause
        self._doubtful_until = 0.0  # epoch seconds

    def publish(self) -> None:
        """Send the marks of all partitions that this worker owns."""
        self.look()
        resolver = self._resolver
        topic, partitions = resolver.topics.minutes.name, range(resolver.topics.minute_partitions)
        for mark in self._marks():
            value = resolver.codec.encode(mark)
            for partition in partitions:
                resolver.outputs.send(topic, [(PROGRESS_KEY, value)], partition)
            resolver.metrics.set("watermark_seconds", mark.watermark / 1000, partition=str(mark.source_partition))

    def look(self) -> None:
        """Notice pauses of this process: an answer that waited in its socket meanwhile is older than it looks.

        To be called every LOOK_SECONDS.
        """
        now = time.monotonic()
        pause = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        if pause > _PAUSE_SECONDS:
            doubtful = self._clock() < self._doubtful_until
            self._pause = max(pause, self._pause) if doubtful else pause
            self._doubtful_until = self._clock() + _FETCH_SECONDS
            if pause > _TOLD_SECONDS:
                _log.warning("stall", seconds=round(pause, 1))

    def _marks(self) -> Iterator[Progress]:
        resolver, app = self._resolver, self._resolver.app
        if app.rebalancing:
            return
        for tp in app.consumer.started_at:
            position = resolver.sequence.next.get(tp.partition, app.consumer.started_at[tp])
            watermark = self._watermark(app.consumer, tp, position)
            if watermark is not None:
                source = source_partition_of(resolver.epoch, tp.partition)
                yield Progress(source, resolver.topics.event_partitions, position, watermark)

    def _watermark(self, consumer: Any, tp: TP, position: int) -> int | None:
        counted = self._resolver.counted_until.get(tp.partition)
        fetched = consumer.fetch_state(tp)
        if fetched is not None:
            end, answered = fetched
            if consumer.caught_up(tp, position, end):
                pause = self._pause if answered / 1000 <= self._doubtful_until else 0.0
                return max(int(answered - pause * 1000) - _SHOWN_MS, counted or 0)
        return counted
