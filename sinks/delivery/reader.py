"""The topics as one receiver reads them: a consumer group of its own, so that its lag is its own and in the log."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.codec import Codec, DecodeError
from schemas.events import Alert, ResolvedFeedback
from schemas.topics import Topics
from sinks.batch import Source
from sinks.delivery.intake import Intake
from sinks.delivery.queue import Parcel, Queue
from sinks.delivery.receivers import ALERT, NEGATIVE_VOTE, Receiver
from sinks.delivery.subscription import wants_alert, wants_vote
from sinks.delivery.votes import Votes

_BROKER_SECONDS = 15.0
_FETCH = 100  # records a poll: all that a receiver that fails keeps in memory, beside its open alerts
_COMMIT_SECONDS = 1.0
_log = structlog.get_logger("deliver")


@dataclass(frozen=True, slots=True)
class Options:
    """What delivery needs to know. `group` is a prefix: each receiver has a group, `<group>.<its name>`."""

    bootstrap_servers: str
    topics: Topics
    group: str
    watch_group: str
    kafka: Mapping[str, str] = field(default_factory=dict)


def consumer_config(options: Options, group: str) -> dict[str, str | int | bool]:
    """The consumer's settings: what safety needs cannot be overridden."""
    return {
        "session.timeout.ms": 10_000,
        "queued.max.messages.kbytes": 8_192,
        "fetch.message.max.bytes": 4 << 20,
        **options.kafka,
        "bootstrap.servers": options.bootstrap_servers,
        "group.id": group,
        "partition.assignment.strategy": "cooperative-sticky",
        "max.poll.interval.ms": 10 * 60_000,  # a request may take as long as its time limits together
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
    }


class Reader:
    """Fills a receiver's queue from the topics it subscribes to, and commits what is done."""

    def __init__(self, options: Options, receiver: Receiver, queue: Queue, codec: Codec) -> None:
        self._consumer = Consumer(consumer_config(options, f"{options.group}.{receiver.name}"))
        self._queue, self._codec = queue, codec
        self._alerts, self._latest = options.topics.alerts.name, options.topics.latest.name
        wanted = {ALERT: self._alerts, NEGATIVE_VOTE: self._latest}
        self._topics = [topic for event, topic in wanted.items() if event in receiver.events]
        self.intake = Intake(self._alerts, lambda alert: wants_alert(receiver, alert))
        self._votes = Votes(lambda row: wants_vote(receiver, row))
        self._done: dict[tuple[str, int], int] = {}
        self._position: dict[tuple[str, int], int] = {}
        self._commit_at = 0.0
        self._paused = False
        self.assigned = not self._topics  # a receiver of nothing but notices reads no topic

    def open(self) -> None:
        """Join the group. KafkaException when a topic is missing."""
        if not self._topics:
            return
        known = self._consumer.list_topics(timeout=_BROKER_SECONDS).topics
        if missing := [topic for topic in self._topics if topic not in known]:
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC, f"no topic {missing[0]}"))
        self._consumer.subscribe(self._topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost)

    def poll(self, seconds: float) -> None:
        """Wait for records, at most so long; while the queue holds any, only for what keeps the membership alive."""
        if not self._topics:
            time.sleep(seconds)
            return
        if time.monotonic() >= self._commit_at:
            self.commit()
        self._pause_or_resume()
        for message in self._consumer.consume(1 if self._paused else _FETCH, seconds):
            self._take(message)

    def done(self, parcel: Parcel) -> None:
        """A parcel was delivered, parked, or had nothing to tell.

        What was told is committed at once, and so is the end of a first start: before that, a new start would be a
        first one, too, and skip what was superseded in between.
        """
        self.intake.told(parcel)
        if parcel.commit is not None:
            self._done[parcel.source.topic, parcel.source.partition] = parcel.commit
        if parcel.record is not None or parcel.source.value is None:
            self.commit()

    def commit(self) -> None:
        """Commit what is done. What is refused is tried again with the next commit, until the partition is lost."""
        self._commit_at = time.monotonic() + _COMMIT_SECONDS
        if not self._done:
            return
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in self._done.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            _log.warning("commit refused", error=str(error))
        else:
            self._done.clear()

    def behind(self) -> int:
        """Records that are published and not yet read, as far as the client knows."""
        lag = 0
        for (topic, partition), position in self._position.items():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            lag += max(0, end - position)
        return lag + len(self._queue)

    def close(self) -> None:
        """Commit and leave the group."""
        self.commit()
        self._consumer.close()

    def _pause_or_resume(self) -> None:
        """Each round anew, for an assignment forgets the pause."""
        if not self._queue and not self._paused:
            return
        self._paused = bool(len(self._queue))
        change = self._consumer.pause if self._paused else self._consumer.resume
        change(self._consumer.assignment())

    def _take(self, message: Message) -> None:
        topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
        if (topic, partition) not in self._position and message.error() is None:
            return  # polled before its partition was lost
        if (error := message.error()) is not None:
            self._take_error(error, topic, partition, offset)
            return
        self._position[topic, partition] = offset + 1
        key, value = message.key(), message.value()
        assert not isinstance(key, str)  # no deserializer is set
        assert not isinstance(value, str)
        self._queue.add(self._parcels(Source(topic, partition, offset, message.timestamp()[1], key, value)))

    def _take_error(self, error: KafkaError, topic: str, partition: int, offset: int) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            if topic == self._alerts and (topic, partition) in self._position:
                self._queue.add(self.intake.reached(partition, offset))
        elif error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(error)
        else:
            _log.warning("kafka", error=str(error))

    def _parcels(self, source: Source) -> Sequence[Parcel]:
        record = self._decoded(source)
        if source.topic == self._alerts:
            return self.intake.take(source, record) if isinstance(record, Alert) else self.intake.skip(source)
        if isinstance(record, ResolvedFeedback):
            return [self._votes.take(source, record)]
        return [Parcel(source, None, source.offset + 1)]

    def _decoded(self, source: Source) -> object:
        """The record; None for a tombstone and for what nobody can read, about which the sink writes a letter."""
        if source.value is None:
            return None
        try:
            return self._codec.decode(source.value)
        except DecodeError as error:
            _log.warning("undecodable", topic=source.topic, offset=source.offset, error=str(error))
            return None

    def _assigned(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        for place in consumer.committed(list(partitions), timeout=_BROKER_SECONDS):
            if place.error is not None:  # else what was committed would seem to be nothing: a first start
                raise KafkaException(place.error)
            low, end = consumer.get_watermark_offsets(place, timeout=_BROKER_SECONDS)
            committed = place.offset if place.offset >= 0 else None
            start = self._start(place.topic, place.partition, committed, low, end)
            self._position[place.topic, place.partition] = start
            consumer.incremental_assign([TopicPartition(place.topic, place.partition, start)])
        self.assigned = True
        _log.info("assigned", partitions=len(partitions))

    def _start(self, topic: str, partition: int, committed: int | None, low: int, end: int) -> int:
        """Where to read from: alerts from the beginning, votes from where it stopped, at first from now on."""
        if topic == self._alerts:
            self.intake.assigned(partition, committed, end)
            return low
        if committed is None or committed > end:
            self._done[topic, partition] = end  # or a vote between here and the first commit were no news later
            return end
        return max(committed, low)

    def _revoked(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self.commit()
        self._forget(partitions)

    def _lost(self, _: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._forget(partitions)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        for topic in self._topics:
            numbers = {place.partition for place in partitions if place.topic == topic}
            self._votes.untold(self._queue.drop(topic, numbers))
            if topic == self._alerts:
                self.intake.lost(numbers)
            for number in numbers:
                self._position.pop((topic, number), None)
                self._done.pop((topic, number), None)
