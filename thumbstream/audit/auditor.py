"""The audit from beginning to end, over the public topics and ClickHouse.

What each check proves, for everything before the cut (the end of the events topic when the audit began):

- *events*: every record of the events topic is in `feedback_events`, or is refused and has its one dead letter, or is
  parked by the sink with a letter, or belongs to an erased request. Offsets without a record are only counted: marks
  of transactions are such, and a record that the log itself lost leaves no other trace.
- *resolve*: the events of each request are folded a second time by other code (`recount`). Where the log is whole, the
  row of `latest` equals that fold: version, registers with stamps and values, first_seen, dimensions. Where retention
  or --since cut the log, the row is there and each register at least as new as the newest event that is left.
- *minutes*: every cell on the topic, with its top users, equals a recount of the rows of `latest`; none is absent while
  the topic is whole. Rollups are those the topic speaks of; one that was added later has no cells for older votes.
- *clickhouse*: events, rows, erasures, cells and dead letters are those of the topics, by id and version.
- *views*: `current_votes` counted by tenant and minute equals `negative_rate_by_minute`.

Rows and cells that events after the cut have moved already are not judged, and counted as such. An event refused as too
large is taken at its letter's word: only the stream's own fold knows how large its row was.

Memory: one partition's requests at a time, about 1.3 KB each and the text in them; beside that 13 bytes an event and
230 bytes a cell. Time: every event, row and cell is read once; the minutes topic holds 16 progress marks a second too.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from schemas.topics import source_partition_of, version_of
from thumbstream.audit.cells import Cells
from thumbstream.audit.ledger import UNKNOWN
from thumbstream.audit.positions import await_sink, await_stages, lags
from thumbstream.audit.records import Records
from thumbstream.audit.scope import Findings, Scope
from thumbstream.audit.store_books import Mismatch, StoreBooks
from thumbstream.audit.topic_books import TopicBooks

_LETTER_SECONDS = 29 * 86_400  # a day less than ClickHouse keeps them


class Auditor:
    """One audit. `clock` gives epoch seconds, for ages only."""

    def __init__(
        self, scope: Scope, books: TopicBooks, store: StoreBooks, clock: Callable[[], float] = time.time
    ) -> None:
        self._scope, self._books, self._store, self._clock = scope, books, store, clock
        self._topics = scope.topics
        self._findings = Findings()
        self._ledger = self._findings.ledger
        self._records = Records(books, scope, self._findings)

    def run(self) -> Findings:
        """Wait, read, compare. Raises NotJudgedError, or the clients' errors."""
        self._findings.cut = self._books.record_ends(self._topics.events.name)
        await_stages(self._books, self._topics, self._findings.cut, self._scope.wait)
        self._records.read_letters(int(self._clock() * 1000))
        began = self._clock()
        cells = self._records.cells()
        self._findings.mark_age = _age(began, self._records.last_mark)
        stubs = self._store.stubs()
        for partition in sorted(self._findings.cut):
            self._judge_partition(partition, cells, stubs)
        self._judge_cells(cells)
        self._judge_letters()
        self._judge_views(cells)
        self._look_at_freshness()
        return self._findings

    def _judge_partition(self, partition: int, cells: Cells, stubs: dict[bytes, int]) -> None:
        events = self._records.events(partition)
        rows = self._records.rows(partition)
        rows.judge(events, cells)
        epoch, where = self._scope.epoch, events.where
        rows.judge_end(self._version_at_end(partition))
        first, end = version_of(epoch, where.start), version_of(epoch, where.end)
        for version in self._store.events(source_partition_of(epoch, partition), first, end):
            events.stored(version - version_of(epoch, 0))
        events.close(rows.erased)
        rows.judge_store(self._store.latest(partition), stubs)
        rows.judge_stored_end(self._version_at_end(partition))

    def _version_at_end(self, partition: int) -> int:
        """No event can have made this version yet."""
        return version_of(self._scope.epoch, self._books.bounds_of(self._topics.events.name, partition)[1])

    def _judge_cells(self, cells: Cells) -> None:
        cells.judge_topic(self._ledger)
        cells.judge_end(self._ledger, self._scope.versions(self._books.ends(self._topics.events.name)))
        for name, version, counts in self._store.minutes(self._scope.epoch):
            if name.partition in cells.cuts:
                cells.stored(self._ledger, name, version, counts)
        cells.judge_stored_end(self._ledger, self._scope.versions(self._books.ends(self._topics.events.name)))
        cells.judge_absent(self._ledger)

    def _judge_letters(self) -> None:
        """The dead letters of the topic are in ClickHouse, and no others as long as the topic lost none.

        ClickHouse forgets by the time of the failure, the topic by that of the last record: old ones may be gone there.
        """
        young = (self._clock() - _LETTER_SECONDS) * 1000
        filed = {name: about for name, about in self._records.filed.items() if about[1] > young}
        stored = self._store.letters()
        self._ledger.check("dead letters", len(filed))
        for letter_id in sorted(filed.keys() - stored):
            what = "dead letter missing in feedback_dead_letters"
            self._ledger.lacks("clickhouse", what, *filed[letter_id], letter_id)
        if not self._records.letters.since:
            for letter_id in sorted(stored - self._records.late_letters()):
                self._ledger.exceeds("clickhouse", "dead letter without a record on the topic", UNKNOWN, 0, letter_id)

    def _judge_views(self, cells: Cells) -> None:
        """On a live system the two views move one after the other: only what stays is a difference."""
        found = self._mismatches(cells)
        if found:
            await_sink(self._books, self._topics, self._scope.wait)
            found &= self._mismatches(cells)
        for tenant, minute, votes, counted in sorted(found):
            sums = sum(votes), sum(counted)
            example = f"{minute}: current_votes -{votes[0]}/+{votes[1]}/{votes[2]}"
            example += f", negative_rate_by_minute -{counted[0]}/+{counted[1]}/{counted[2]}"
            self._ledger.differs("views", "votes and counts disagree", tenant, minute, example, *sums)

    def _mismatches(self, cells: Cells) -> set[Mismatch]:
        return {item for item in self._store.mismatches() if (item.tenant, item.minute) not in cells.moving}

    def _look_at_freshness(self) -> None:
        self._findings.lag = lags(self._books, self._topics)
        self._findings.stored_age = _age(self._clock(), self._store.newest())


def _age(now: float, milliseconds: int) -> float | None:
    return max(round(now - milliseconds / 1000, 1), 0.0) if milliseconds else None
