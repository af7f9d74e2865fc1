"""The sink: reads all five topics, stores their rows in ClickHouse, and only then moves its offsets on.

One thread, one consumer. A crash anywhere means that records are read and stored again, which changes nothing.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from schemas.codec import Codec
from sinks.batch import Source
from sinks.clickhouse import ClickHouseWriter
from sinks.erasure import Purge
from sinks.lane import Backoff, Lane
from sinks.letters import KafkaLetters
from sinks.records import Records, SkippedError
from sinks.refusals import TooManyRefusedError
from sinks.startup import Options, StopError, TopicMissingError, consumer_config, verify
from sinks.writer import MisconfiguredError
from thumbstream.telemetry import EXIT_CRASH, EXIT_STOP, Metrics, die

_FETCH = 1_000  # records a poll
_POLL_SECONDS = 0.1
_RECOMMIT_SECONDS = 1.0  # a rebalance that refuses commits lasts seconds
STOP_SECONDS = 4.5  # a stop that takes longer is given up; what was not stored is read again
_log = structlog.get_logger("sink")


def run(options: Options, metrics: Metrics, ready: Callable[[bool], None], stop: threading.Event) -> None:
    """Store until `stop` is set, then flush, commit and return within 5 s; a stop that hangs ends the process.

    `ready` is told True once partitions are assigned and whenever all tables take rows again, False during an outage.
    Ends the process with EXIT_STOP when a person must look, with EXIT_CRASH when a new start may help.
    """
    done = threading.Event()
    threading.Thread(target=_watch_stop, args=(stop, done), name="stop-watchdog", daemon=True).start()
    try:
        _run(options, metrics, ready, stop)
    except (StopError, MisconfiguredError, TooManyRefusedError) as error:
        die(str(error), code=EXIT_STOP)
    except (TopicMissingError, KafkaException) as error:
        die(f"kafka: {error}", code=EXIT_CRASH)
    finally:
        done.set()


def _watch_stop(stop: threading.Event, done: threading.Event) -> None:
    stop.wait()
    if not done.wait(STOP_SECONDS):
        die(f"not flushed within {STOP_SECONDS} s of the stop signal; it will be read again", code=EXIT_CRASH)


def _run(options: Options, metrics: Metrics, ready: Callable[[bool], None], stop: threading.Event) -> None:
    codec = Codec()
    writer = ClickHouseWriter(options.clickhouse)
    consumer = Consumer(consumer_config(options))
    letters = KafkaLetters(options.bootstrap_servers, options.topics.dead_letters.name, options.kafka, codec)
    backoff = Backoff(random.uniform)
    try:
        verify(consumer, writer, options, backoff, stop)
        lanes = {
            topic.name: Lane(
                writer, letters, metrics, backoff, time.monotonic, reports=topic is not options.topics.dead_letters
            )
            for topic in options.topics
        }
        records = Records(options.topics, options.epoch, codec)
        purge = Purge(writer, time.monotonic)
        silent = options.topics.events.name
        Sink(consumer, lanes, records, purge, metrics, ready, time.monotonic, silent=silent).run(stop)
    finally:
        consumer.close()
        writer.close()


class Sink:
    """The loop around a consumer and one lane per topic. `silent`: the topic whose bad records `resolve` reports.

    `clock` counts seconds and never goes back.
    """

    def __init__(
        self,
        consumer: Consumer,
        lanes: Mapping[str, Lane],
        records: Records,
        purge: Purge,
        metrics: Metrics,
        ready: Callable[[bool], None],
        clock: Callable[[], float],
        *,
        silent: str,
    ) -> None:
        self._consumer, self._lanes, self._records = consumer, lanes, records
        self._purge, self._clock = purge, clock
        self._metrics, self._ready, self._silent = metrics, ready, silent
        self._paused: set[str] = set()
        self._owned: set[tuple[str, int]] = set()
        self._stored: dict[tuple[str, int], int] = {}  # next offsets to commit
        self._commit_at = 0.0

    def run(self, stop: threading.Event) -> None:
        """Store until `stop`, then store and commit what is left, once. Raises what a lane or the broker raises."""
        self._consumer.subscribe(list(self._lanes), on_assign=self._assigned, on_revoke=self._lost, on_lost=self._lost)
        while not stop.is_set():
            messages = self._consumer.consume(_FETCH, _POLL_SECONDS)
            for message in messages:
                self._take(message)
            for topic, lane in self._lanes.items():
                self._note(topic, lane.flush(backlog=len(messages) == _FETCH))
                self._commit()
                self._pause_or_resume(topic, lane)
            self._purge.run()
        for topic, lane in self._lanes.items():
            if not lane.waiting:
                self._note(topic, lane.flush(now_or_never=True))
        self._commit(last=True)

    def _take(self, message: Message) -> None:
        if (error := message.error()) is not None:
            if error.fatal():
                raise KafkaException(error)
            _log.warning("kafka", error=str(error))
            return
        source = _source(message)
        if (source.topic, source.partition) not in self._owned:
            return  # polled before its partition was lost: to commit it would skip what was dropped with the partition
        lane = self._lanes[source.topic]
        try:
            lane.add(source, self._records.rows(source))
        except SkippedError as skipped:
            self._skip(lane, source, skipped)

    def _skip(self, lane: Lane, source: Source, skipped: SkippedError) -> None:
        self._metrics.count("records_skipped", topic=source.topic, reason=skipped.reason)
        if source.topic == self._silent:
            lane.add(source, ())
        else:
            lane.refuse(source, skipped.reason, str(skipped))

    def _note(self, topic: str, offsets: Mapping[int, int]) -> None:
        for partition, offset in offsets.items():
            self._stored[topic, partition] = offset
            self._metrics.set("sink_position", offset, topic=topic, partition=str(partition))

    def _commit(self, *, last: bool = False) -> None:
        """Commit what is stored. What a rebalance refuses is tried again until it is taken or the partition is lost.

        A partition that stays ours in a rebalance is not read again: were its offset forgotten, and no record came
        after it, the group would lag for ever.
        """
        if not self._stored or (not last and self._clock() < self._commit_at):
            return
        positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in self._stored.items()]
        try:
            self._consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            _log.warning("commit refused", error=str(error))
            self._commit_at = self._clock() + _RECOMMIT_SECONDS
        else:
            self._stored.clear()

    def _pause_or_resume(self, topic: str, lane: Lane) -> None:
        """While a lane waits its partitions are paused, again each round: an assignment forgets the pause."""
        if not lane.waiting and topic not in self._paused:
            return
        partitions = [position for position in self._consumer.assignment() if position.topic == topic]
        if lane.waiting:
            self._consumer.pause(partitions)
            self._paused.add(topic)
        else:
            self._consumer.resume(partitions)
            self._paused.discard(topic)
        self._ready(not self._paused)

    def _assigned(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        _log.info("assigned", partitions=len(partitions))
        self._owned.update((position.topic, position.partition) for position in partitions)
        self._ready(not self._paused)

    def _lost(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        lost = {(position.topic, position.partition) for position in partitions}
        self._owned -= lost
        self._stored = {place: offset for place, offset in self._stored.items() if place not in lost}
        for topic, lane in self._lanes.items():
            lane.drop(position.partition for position in partitions if position.topic == topic)


def _source(message: Message) -> Source:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None  # only errors have none of these
    assert partition is not None
    assert offset is not None
    return Source(topic, partition, offset, message.timestamp()[1], _bytes(message.key()), _bytes(message.value()))


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content
