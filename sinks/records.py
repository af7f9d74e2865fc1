"""A broker's record to rows, or the reason why it is skipped."""

from __future__ import annotations

from schemas.codec import Codec, DecodeError
from schemas.constraints import violation
from schemas.events import Alert, DeadLetter, FeedbackEvent, MinuteCount, MonitorSet, Progress, Record, ResolvedFeedback
from schemas.feedback_ids import event_key, event_partition
from schemas.topics import Topics
from sinks.batch import Source
from sinks.rows import Position, Row, Table, rows_of


class SkippedError(Exception):
    """A record without rows. `reason` is a word; the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Records:
    """Reads the records of all topics. What `resolve` refuses of the events is skipped here by the same rules."""

    def __init__(self, topics: Topics, epoch: int, codec: Codec | None = None) -> None:
        self._topics, self._epoch, self._codec = topics, epoch, codec or Codec()
        self._expected: dict[str, tuple[type[Record], ...]] = {
            topics.events.name: (FeedbackEvent,),
            topics.latest.name: (ResolvedFeedback,),
            topics.minutes.name: (MinuteCount, MonitorSet, Progress),
            topics.alerts.name: (Alert,),
            topics.dead_letters.name: (DeadLetter,),
        }

    def rows(self, source: Source) -> tuple[tuple[Table, Row], ...]:
        """The rows of one record; none for a tombstone or a mark. Raises SkippedError."""
        if source.value is None and source.topic != self._topics.events.name:
            return ()
        record = self._decoded(source)
        at = Position(source.partition, source.offset, source.append_time, self._epoch)
        if isinstance(record, FeedbackEvent):
            self._check(record, source)
            return rows_of(record, at)  # what fails here is a fault of ours: an accepted event is never skipped
        try:
            return rows_of(record, at)
        except (ValueError, TypeError) as error:  # a stranger's record, well formed but of no sense
            raise SkippedError("undecodable", str(error)) from error

    def _decoded(self, source: Source) -> Record:
        try:
            record = self._codec.decode(source.value or b"")
        except DecodeError as error:
            raise SkippedError("undecodable", str(error)) from error
        if not isinstance(record, self._expected[source.topic]):
            raise SkippedError("undecodable", f"a {type(record).__name__} does not belong on {source.topic}")
        return record

    def _check(self, event: FeedbackEvent, source: Source) -> None:
        if found := violation(event):
            raise SkippedError("invalid", f"{found.field or 'event'}: {found.reason}: {found.message}")
        partition = event_partition(event, self._topics.event_partitions)
        if source.key != event_key(event) or source.partition != partition:
            raise SkippedError("misrouted", "the key does not fit the event, or the partition not the key")
