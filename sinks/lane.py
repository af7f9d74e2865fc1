"""One topic's way into ClickHouse: it collects, stores, and waits by itself when its tables cannot take rows.

Each topic has its own lane, so that an outage of one table holds back no other. No Kafka in here: what to pause and to
commit is said to the consumer.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from schemas.events import DeadLetter
from sinks.batch import Batch, Entry, Limits, Source
from sinks.letters import Letters, letter
from sinks.refusals import Tally, store
from sinks.rows import Row, Table
from sinks.writer import UnavailableError, Writer
from thumbstream.telemetry import Metrics

UNSTORABLE = "unstorable"
DEFAULT_LIMITS = Limits()
_log = structlog.get_logger("sink")


class Backoff:
    """Seconds until the next try: doubling from `least` to `most`; `jitter` draws between half of that and all."""

    def __init__(self, jitter: Callable[[float, float], float], least: float = 0.2, most: float = 30.0) -> None:
        self._jitter, self._least, self._most = jitter, least, most

    def seconds(self, failures: int) -> float:
        """The pause after so many failures in a row, at least one."""
        whole = min(self._most, self._least * 2.0 ** min(failures, 30))
        return max(self._least, self._jitter(whole / 2, whole))


class _Unread(NamedTuple):
    """A record that gives no rows because it is wrong, and how many good ones came between it and the one before."""

    source: Source
    reason: str
    message: str
    read_before: int


class Lane:
    """The rows of one topic between its consumer and ClickHouse. `clock` counts seconds and never goes back.

    `reports` is False for the dead-letters topic: a letter about a letter would come round for ever.
    """

    def __init__(
        self,
        writer: Writer,
        letters: Letters,
        metrics: Metrics,
        backoff: Backoff,
        clock: Callable[[], float],
        *,
        limits: Limits = DEFAULT_LIMITS,
        reports: bool = True,
    ) -> None:
        self._writer, self._letters, self._metrics = writer, letters, metrics
        self._backoff, self._clock, self._reports = backoff, clock, reports
        self._batch = Batch(limits)
        self._unread: list[_Unread] = []
        self._read = 0  # good records since the last wrong one, in this batch
        self._tally = Tally()
        self._failures = 0
        self._retry_at = 0.0

    @property
    def waiting(self) -> bool:
        """True between a failed insert and the next one that works: nothing more may be read meanwhile."""
        return self._failures > 0

    def __len__(self) -> int:
        return len(self._batch)

    def add(self, source: Source, rows: Iterable[tuple[Table, Row]]) -> None:
        """Take over one record's rows."""
        self._batch.add(source, rows, self._clock())
        self._read += 1

    def refuse(self, source: Source, reason: str, message: str) -> None:
        """Take over a record that gives no rows because it is wrong; its dead letter goes out with the next flush."""
        self._batch.add(source, (), self._clock())
        self._unread.append(_Unread(source, reason, message, self._read))
        self._read = 0

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget the rows of partitions that another sink reads now."""
        lost = set(partitions)
        self._batch.drop(lost)
        self._unread = [item for item in self._unread if item.source.partition not in lost]
        if not self._batch:
            self._failures = 0

    def flush(self, *, backlog: bool = False, now_or_never: bool = False) -> dict[int, int]:
        """Store what is due and give the offsets to commit: none when nothing is due or ClickHouse is unavailable.

        `now_or_never` stores whatever there is, due or not. Raises MisconfiguredError, TooManyRefusedError, or what
        the dead letters raise; nothing is forgotten then.
        """
        if not self._batch or not (now_or_never or self._ready(backlog)):
            return {}
        tally = copy.deepcopy(self._tally)
        try:
            refused = self._store(tally)
        except UnavailableError as error:
            self._failures += 1
            self._retry_at = self._clock() + self._backoff.seconds(self._failures)
            _log.warning("clickhouse unavailable", code=error.code, failures=self._failures, error=str(error)[:500])
            return {}
        self._report(refused)
        offsets = self._batch.offsets
        self._batch.clear()
        self._unread.clear()
        self._read = 0
        self._tally, self._failures = tally, 0
        return offsets

    def _ready(self, backlog: bool) -> bool:
        now = self._clock()
        return now >= self._retry_at if self.waiting else self._batch.due(now, backlog=backlog)

    def _store(self, tally: Tally) -> list[DeadLetter]:
        for item in self._unread:  # in the order of the log: they are not in a row because a batch ends with them
            tally.stored(item.read_before)
            tally.refused()
        refused = [letter(item.source, item.reason, item.message) for item in self._unread]
        for table, entries in self._batch.tables.items():

            def insert(part: Sequence[Entry], table: Table = table) -> None:
                self._insert(table, part)

            unfit = store(entries, insert, tally)
            refused += [letter(entry.source, UNSTORABLE, message) for entry, message in unfit]
        return refused

    def _insert(self, table: Table, entries: Sequence[Entry]) -> None:
        began = self._clock()
        try:
            self._writer.insert(table, [entry.row for entry in entries])
        except UnavailableError as error:
            self._metrics.count("write_retries", table=table.name, code=error.code)
            raise
        self._metrics.observe("insert_seconds", self._clock() - began, table=table.name)
        self._metrics.count("rows_written", len(entries), table=table.name)

    def _report(self, refused: list[DeadLetter]) -> None:
        for item in refused:
            _log.error("row refused", letter_id=item.letter_id, error=item.message)
            self._metrics.count("dead_letters", stage=item.stage, reason=item.reason)
        if refused and self._reports:
            self._letters.send(refused)
