"""Tables whose changelogs are the public topics: the highest version wins, whatever its place in the log."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import faust
import structlog
from faust.types import TP

from processors.amendments import FeedbackIndex
from processors.minutes import REAL_TIME, DayCells, Grain, Rollup, count_row
from processors.outputs import Outputs
from schemas.codec import Codec, row_head, version_in
from schemas.events import ResolvedFeedback
from thumbstream.telemetry import Metrics, die

_log = structlog.get_logger(__name__)
_MAX_CELLS = 400_000
_YIELD_SECONDS = 0.05
GONE = -1  # the version of a tombstone: older than any row

Rows = dict[bytes, bytes]


class Superseded(Exception):  # noqa: N818 - an event, not an error: the batch is dropped and read again
    """Recovery changed the rows a batch was computed from."""


class VersionedTable(faust.Table[bytes, bytes]):
    """Partition -> key -> framed record whose first field is its version.

    `epoch` counts changes made by recovery: whatever was derived from rows before is void. Keys whose newest record
    was followed by an older one (a zombie's) are written again, so that compaction keeps the right one.
    """

    def __init__(self, app: Any, *, outputs: Outputs, metrics: Metrics, **options: Any) -> None:
        super().__init__(app, **options)
        self.outputs, self.metrics = outputs, metrics
        self.parts: dict[int, Rows] = {}
        self.epoch: Counter[int] = Counter()
        self.newest: dict[int, int] = {}  # the greatest version that recovery found
        self._applied: dict[int, int] = {}
        self._inverted: dict[int, set[bytes]] = {}
        self.writing = asyncio.Lock()  # held while a batch is published and becomes memory
        self.verify: Callable[[int], Any] | None = None  # asked for each partition once its rows are recovered

    def persisted_offset(self, tp: TP) -> int:
        """What this memory holds. Faust's own memory of offsets is wrong after two rebalances in a row."""
        return self._applied.get(tp.partition, -1)

    async def on_rebalance(
        self, assigned: set[TP], revoked: set[TP], newly_assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Drop lost partitions, with everything derived from them, and make room for new ones."""
        own = {tp.partition for tp in assigned if tp.topic == self.changelog_topic_name}
        for partition in [partition for partition in self.parts if partition not in own]:
            self.forget(partition)
        for partition in own:
            self.parts.setdefault(partition, {})

    def forget(self, partition: int) -> None:
        """Drop one partition."""
        for kept in (self.parts, self.newest, self._applied, self._inverted):
            kept.pop(partition, None)
        self.epoch[partition] += 1

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Take changelog records in, during recovery and after every rebalance."""
        try:
            for event in batch:
                self._apply(event.message)
        except Exception as exception:  # noqa: BLE001 - Faust would log any error and go on without the rows
            _log.exception("changelog")
            die(f"cannot apply {self.changelog_topic_name}: {exception!r}")

    def _apply(self, message: Any) -> None:
        partition, rows = message.partition, self.parts.get(message.partition)
        if message.topic != self.changelog_topic_name or rows is None:
            return  # Faust hands a late record to whichever table comes first, or to a partition that is gone
        inverted = self._inverted.setdefault(partition, set())
        records = message.value if isinstance(message.value, list) else (message,)
        if [None for record in records if self._take(rows, inverted, partition, record.key, record.value)]:
            self.changed(partition)
        self._applied[partition] = max(self._applied.get(partition, -1), message.offset)

    def _take(self, rows: Rows, inverted: set[bytes], partition: int, key: bytes, value: bytes | None) -> bool:
        old = rows.get(key)
        if value == old:
            inverted.discard(key)
            return False
        version = GONE if value is None else version_in(value)
        if value is None or (old is not None and version < version_in(old)):
            inverted.add(key)  # rows are never deleted by us: a tombstone is a stranger's and counts as older
            return False
        inverted.discard(key)
        self.newest[partition] = max(version, self.newest.get(partition, GONE))
        rows[key] = value
        self.moved(partition, key, old, value)
        return True

    def moved(self, partition: int, key: bytes, old: bytes | None, new: bytes) -> None:
        """Called for every row that is set; for indexes."""

    def changed(self, partition: int) -> None:
        """Called when recovery changed rows."""
        self.epoch[partition] += 1

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Heal inverted keys, and let the owner verify what was recovered."""
        try:
            await self._heal_and_verify()
        except Exception as exception:  # Faust would drop any error and go on unverified
            if self.app.should_stop:
                raise
            _log.exception("recovery")
            die(f"cannot finish the recovery of {self.changelog_topic_name}: {exception!r}")

    async def _heal_and_verify(self) -> None:
        for partition, inverted in self._inverted.items():
            if partition in self.parts:
                self._write_again(partition, inverted)
                inverted.clear()
        await self.outputs.barrier()
        verify = self.verify
        for partition in list(self.parts) if verify is not None else ():
            assert verify is not None
            await verify(partition)

    def _write_again(self, partition: int, keys: Iterable[bytes]) -> None:
        rows = self.parts[partition]
        newest = [(key, rows[key]) for key in sorted(keys) if key in rows]
        if newest:
            _log.warning("healing", table=self.name, partition=partition, keys=len(newest))
            self.metrics.count("keys_healed", len(newest), table=self.name)
            self.outputs.send(self.changelog_topic_name, newest, partition)

    def applied_until(self, partition: int) -> int:
        """Offset up to which this memory holds what the changelog says."""
        return self._applied.get(partition, -1) + 1

    async def heal_tail(
        self, partition: int, last: Mapping[bytes, int], greatest: Mapping[bytes, int], end: int
    ) -> None:
        """Write rows again whose last record, before `end`, is older than what is held.

        When the changelog knows more than this memory, be it under an older record, another worker owns the partition:
        a rebalance is on its way.
        """
        rows = self.parts[partition]
        held = {key: version_in(rows[key]) for key in last if key in rows}
        if any(version > held.get(key, GONE) for key, version in greatest.items()):
            _log.warning("behind the changelog", table=self.name, partition=partition)
            return
        self._write_again(partition, [key for key, version in held.items() if last[key] < version])
        await self.outputs.barrier()
        if self.parts.get(partition) is rows:  # else the next owner, be it this worker, has to read it all
            self._applied[partition] = max(self._applied.get(partition, -1), end - 1)


class LatestTable(VersionedTable):
    """Rows by request, indexes from day and from feedback id to keys, and the cells of recently touched days.

    The indexes only grow by appending, a key at most twice a day; entries of a day that no longer hold are dropped when
    the day is built.
    """

    def __init__(
        self, app: Any, *, codec: Codec, rollups: tuple[Rollup, ...], grain: Grain = REAL_TIME, **options: Any
    ) -> None:
        super().__init__(app, **options)
        self._codec, self._rollups, self._grain = codec, rollups, grain
        self._index: dict[int, dict[int, list[bytes]]] = {}
        self._returned: dict[int, dict[int, set[bytes]]] = {}  # keys of rows that came to a day from elsewhere
        self._ids: dict[int, FeedbackIndex] = {}
        self._days: OrderedDict[tuple[int, int], DayCells] = OrderedDict()
        self.max_cells = _MAX_CELLS

    def forget(self, partition: int) -> None:
        super().forget(partition)
        self._index.pop(partition, None)
        self._returned.pop(partition, None)
        self._ids.pop(partition, None)
        self._drop_days(partition)

    def changed(self, partition: int) -> None:
        super().changed(partition)
        self._drop_days(partition)

    def count_by(self, rollups: tuple[Rollup, ...]) -> None:
        """Count by other rollups: cells are built again, from all rows of their days."""
        self._rollups = rollups
        self._days.clear()

    def _drop_days(self, partition: int) -> None:
        for place in [place for place in self._days if place[0] == partition]:
            del self._days[place]

    def moved(self, partition: int, key: bytes, old: bytes | None, new: bytes) -> None:
        day = self._day(new)
        if day is not None and (old is None or self._day(old) != day):
            self._list(partition, day, key, new_row=old is None)
        if (ids := self._ids.get(partition)) is None:
            ids = self._ids[partition] = FeedbackIndex()
        ids.note(key, new)

    def _list(self, partition: int, day: int, key: bytes, *, new_row: bool) -> None:
        if not new_row:
            returned = self._returned.setdefault(partition, {}).setdefault(day, set())
            if key in returned:
                return
            returned.add(key)
        self._index.setdefault(partition, {}).setdefault(day, []).append(key)

    def _day(self, value: bytes) -> int | None:
        vote_time = row_head(value)[2]
        return None if vote_time is None else vote_time // self._grain.day

    def row(self, partition: int, key: bytes) -> ResolvedFeedback | None:
        """The row of `key`, decoded."""
        value = self.parts[partition].get(key)
        return None if value is None else self._codec.decode_as(ResolvedFeedback, value)

    def named(self, partition: int, key_hash: int) -> tuple[bytes, ...]:
        """The keys of all rows whose vote may have a feedback id with this hash."""
        ids = self._ids.get(partition)
        return () if ids is None else ids.keys(key_hash)

    async def day(self, partition: int, day: int) -> DayCells:
        """The cells of one day, built from rows if they are not held. Superseded when rows change meanwhile."""
        held = self._days.get((partition, day))
        if held is not None:
            self._days.move_to_end((partition, day))
            return held
        epoch = self.epoch[partition]
        built = await self._build(partition, day)
        if self.epoch[partition] != epoch:
            raise Superseded
        if built:  # else refused events of any day would fill memory
            self._days[partition, day] = built
        return built

    async def _build(self, partition: int, day: int) -> DayCells:
        rows, listed = self.parts[partition], self._index.get(partition, {}).get(day)
        if listed is None:
            return {}
        keys = [key for key in dict.fromkeys(listed) if key in rows and self._day(rows[key]) == day]
        self._index[partition][day] = keys
        self._returned.get(partition, {}).pop(day, None)  # some of them may not be in the list any more
        cells: DayCells = {}
        began = time.monotonic()
        for value in [rows[key] for key in keys]:
            count_row(cells, self._codec.decode_as(ResolvedFeedback, value), self._rollups, self._grain)
            if time.monotonic() - began > _YIELD_SECONDS:  # heartbeats and progress marks must go on
                await asyncio.sleep(0)
                began = time.monotonic()
        return cells

    def commit(self, partition: int, rows: Iterable[tuple[bytes, bytes]], cells: DayCells) -> None:
        """Make a published batch the state of memory."""
        part = self.parts[partition]
        for key, value in rows:
            self.moved(partition, key, part.get(key), value)
            part[key] = value
        for place, cell in cells.items():
            held = self._days.get((partition, place[1] // self._grain.day))
            if held is not None:  # else it was empty, or trimmed by another partition's commit: it will be built again
                held[place] = cell
        self._trim()

    def _trim(self) -> None:
        """Forget the days touched least recently. What is forgotten can be built again."""
        while len(self._days) > 1 and sum(map(len, self._days.values())) > self.max_cells:
            self._days.popitem(last=False)
