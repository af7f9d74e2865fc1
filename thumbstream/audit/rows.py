"""The rows of one partition of `latest`: against the fold of the events, and against ClickHouse. Pure.

Holds the newest bytes of every request of one partition: about half a kilobyte each, as a worker does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from schemas.codec import Codec, DecodeError, row_head, version_in
from schemas.events import ResolvedFeedback
from schemas.topics import EPOCH_SHIFT, request_key, version_of
from thumbstream.audit.cells import Cells
from thumbstream.audit.events import EventBook, tenant_of
from thumbstream.audit.ledger import Ledger
from thumbstream.audit.recount import State, disagreement, loss

_SHORTEST = 8  # bytes of a framed row's header and first fields


class StoredRow(NamedTuple):
    """A row of ClickHouse's feedback_latest; `updated_at` in epoch ms."""

    tenant: str
    request: str
    version: int
    updated_at: int


@dataclass(slots=True)
class RowBook:
    """The newest version of every key below `cut`, and the keys that newer events have moved already.

    Compaction leaves what is younger than a day alone, and with it what that replaces: the past of today is readable.
    """

    partition: int
    cut: int
    epoch: int
    codec: Codec
    ledger: Ledger
    rows: dict[bytes, bytes] = field(default_factory=dict)
    moving: dict[bytes, int] = field(default_factory=dict)
    parked: set[bytes] = field(default_factory=set)
    erased: set[bytes] = field(default_factory=set)
    _ahead: list[StoredRow] = field(default_factory=list)  # rows of ClickHouse from the cut on

    def take(self, key: bytes, value: bytes | None, *, parked: bool) -> None:
        """One record, in the order of the log. A tombstone takes the row away, as it does from a worker's memory."""
        if value is None:
            self.rows.pop(key, None)
            return
        if len(value) < _SHORTEST or value[0] != 0:
            self.ledger.exceeds("resolve", "unreadable row on the topic", tenant_of(key), 0, _text(key))
            return
        version = version_in(value)
        if row_head(value)[1]:
            self.erased.add(key)
        if version >= self.cut:
            self.moving[key] = max(version, self.moving.get(key, 0))
        elif key not in self.rows or version >= version_in(self.rows[key]):
            self.rows[key] = value
            (self.parked.add if parked else self.parked.discard)(key)

    def judge(self, book: EventBook, cells: Cells) -> None:
        """Every request that an event speaks of has its row, and the row says what the events say. Counts the votes."""
        for key in self.rows:
            row = self._decoded(key)
            if row is not None:
                cells.vote(row, self.partition)
                self._judge_row(key, row, book)
        for key, state in book.recount.items():
            if key not in self.rows and key not in self.moving:
                example = f"{_text(key)} at offset {state.offset}"
                self.ledger.lacks("resolve", "row missing on the topic", tenant_of(key), state.changed_at, example)

    def _judge_row(self, key: bytes, row: ResolvedFeedback, book: EventBook) -> None:
        state = book.recount.get(key)
        if key in self.moving:
            self.ledger.pass_over("rows")
        elif state is not None:
            self.ledger.check("rows")
            self._compare(key, row, state, whole=book.where.whole)
        elif book.where.whole:
            self.ledger.exceeds("resolve", "row without an event", row.tenant_id, row.updated_at, _text(key))

    def _compare(self, key: bytes, row: ResolvedFeedback, state: State, *, whole: bool) -> None:
        version = version_of(self.epoch, state.offset)
        wrong = disagreement(state, row, version) if whole else loss(state, row)
        if wrong is not None:
            example = f"{_text(key)}: {wrong}, row of offset {_offset(row.version)}, last change at {state.offset}"
            self.ledger.differs(
                "resolve", "row differs from its events", row.tenant_id, state.changed_at, example, 1, 1
            )  # fmt: skip

    def judge_store(self, stored: Iterable[StoredRow], stubs: Mapping[bytes, int]) -> None:
        """ClickHouse's rows have the versions of the topic's; an erased request has its stub and no row.

        `stored`: all rows of this partition; `stubs`: key -> version of all erasures.
        """
        absent = self.rows.keys() - self.moving.keys() - self.parked
        for row in stored:
            key = request_key(row.tenant, row.request)
            absent.discard(key)
            if row.version >= self.cut:
                self._ahead.append(row)
            if key in self.moving or row.version >= self.cut:
                self.ledger.pass_over("stored rows")
            elif key not in self.parked:
                self.ledger.check("stored rows")
                self._judge_stored(key, row)
        for key in absent:
            self._judge_absent(key, stubs)

    def _judge_stored(self, key: bytes, row: StoredRow) -> None:
        place = row.tenant, row.updated_at
        if key not in self.rows:
            self.ledger.exceeds("clickhouse", "row without a record on the topic", *place, _text(key))
            return
        wanted, is_erased, _ = row_head(self.rows[key])
        if is_erased:
            self.ledger.exceeds("clickhouse", "row of an erased request", *place, _text(key))
        elif row.version != wanted:
            example = f"{_text(key)}: offset {_offset(wanted)} expected, {_offset(row.version)} found"
            self.ledger.differs("clickhouse", "row of another version", *place, example, 1, 1)

    def _judge_absent(self, key: bytes, stubs: Mapping[bytes, int]) -> None:
        row = self._decoded(key)
        if row is None:
            return
        if not row.erased:
            what = "row missing in feedback_latest"
            self.ledger.lacks("clickhouse", what, row.tenant_id, row.updated_at, _text(key))
        elif stubs.get(key, -1) < row.version:
            what = "erasure missing in feedback_erased"
            self.ledger.lacks("clickhouse", what, row.tenant_id, row.updated_at, _text(key))

    def judge_end(self, end: int) -> None:
        """No row may have a version at or above `end`, that of the end of the events: no event can have made it."""
        for key, version in self.moving.items():
            if version >= end:
                example = f"{_text(key)} of offset {_offset(version)}"
                self.ledger.exceeds("resolve", "row newer than the events topic", tenant_of(key), 0, example)

    def judge_stored_end(self, end: int) -> None:
        """The same for ClickHouse's; `end` is that after its rows were read."""
        for row in self._ahead:
            if row.version >= end:
                example = f"{_text(request_key(row.tenant, row.request))} of offset {_offset(row.version)}"
                self.ledger.exceeds(
                    "clickhouse", "row newer than the events topic", row.tenant, row.updated_at, example
                )  # fmt: skip

    def _decoded(self, key: bytes) -> ResolvedFeedback | None:
        try:
            return self.codec.decode_as(ResolvedFeedback, self.rows[key])
        except DecodeError:
            self.ledger.exceeds("resolve", "unreadable row on the topic", tenant_of(key), 0, _text(key))
            return None


def _text(key: bytes) -> str:
    return key.decode("utf-8", "replace")


def _offset(version: int) -> int:
    return version % (1 << EPOCH_SHIFT)
