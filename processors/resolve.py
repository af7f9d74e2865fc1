"""The effects of `resolve` around the pure fold: read rows and days, publish, make durable, then commit.

Per batch: cells and dead letters -> barrier -> rows -> barrier -> memory -> committed offset. A crash anywhere before
the end leaves memory and offsets as they were; the next run folds the same records and publishes the same values.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from faust.types import TP

from processors.deduplicate import Arrival, Refusal
from processors.minutes import Grain, Rollup, published
from processors.outputs import Keyed, Outputs
from processors.pipeline import Folded, Lookup, Partition, days_needed, fold, letter
from processors.sequence import Sequence
from processors.tables import LatestTable, Superseded
from processors.transport import by_partition
from processors.tripwire import Tripwire
from schemas.codec import Codec, DecodeError
from schemas.events import FeedbackEvent
from schemas.topics import Topics, minute_key, source_partition_of, version_of
from thumbstream.telemetry import EXIT_STOP, Metrics, die

Checkpoint = Callable[[str], Awaitable[None]]


async def _go_on(place: str) -> None:
    """The checkpoint of production: nothing waits at a durability point."""


@dataclass(slots=True)
class _Step:
    """One partition's share of a batch, folded and encoded, and what memory it was computed from."""

    tp: TP
    next_offset: int
    append_time: int
    rows: dict[bytes, bytes]
    epoch: int
    folded: Folded
    encoded: list[Keyed]
    letters: list[Keyed]


class Resolver:
    """Owns the order of effects. `checkpoint` is awaited at every durability point, for tests that crash there."""

    def __init__(
        self,
        app: Any,
        table: LatestTable,
        outputs: Outputs,
        codec: Codec,
        topics: Topics,
        metrics: Metrics,
        *,
        rollups: tuple[Rollup, ...],
        epoch: int,
        grain: Grain,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.app, self.table, self.outputs, self.codec, self.topics = app, table, outputs, codec, topics
        self.metrics, self.rollups, self.epoch, self.grain = metrics, rollups, epoch, grain
        self.sequence = Sequence(app, metrics)
        self.counted_until: dict[int, int] = {}  # partition -> append time of that event, epoch ms
        self._checkpoint = checkpoint or _go_on
        self._tripwire = Tripwire()
        self._wanted = rollups
        table.verify = self._verify

    def reset(self) -> None:
        """Forget positions: partitions are dealt anew."""
        self.sequence.next.clear()
        self.counted_until.clear()

    def count_by(self, rollups: tuple[Rollup, ...]) -> None:
        """Count by other rollups from the next batch on."""
        self._wanted = rollups

    async def batch(self, events: Iterable[Any]) -> None:
        """Fold one batch and make it durable. It is dropped, to be read again, when partitions or rows change."""
        if self.rollups != self._wanted:  # here no batch is in work that was counted by the old ones
            self.rollups = self._wanted
            self.table.count_by(self._wanted)
        began, generation = time.monotonic(), self.app.consumer_generation_id
        steps: list[_Step] = []
        for tp, records in by_partition(events, generation).items():
            try:
                steps.append(await self._prepare(tp, records))
            except Superseded:
                return
            await asyncio.sleep(0)
        if generation != self.app.consumer_generation_id:
            return
        async with self.table.writing:
            await self._publish(steps)
            if generation == self.app.consumer_generation_id:
                for step in steps:
                    self._commit(step, generation)
        self.metrics.observe("batch_seconds", time.monotonic() - began, stage="resolve")
        await self._watch_refusals(steps)

    async def _prepare(self, tp: TP, records: list[Any]) -> _Step:
        partition = tp.partition
        rows, epoch = self.table.parts.get(partition), self.table.epoch[partition]
        if rows is None:
            raise Superseded
        self.sequence.check(tp, records[0].offset)
        arrivals = [self._arrival(record) for record in records]
        row = cache(lambda key: self.table.row(partition, key))  # each row is decoded once, for days and for fold
        memory = Lookup(row, lambda key_hash: self.table.named(partition, key_hash))
        needed = days_needed(arrivals, memory, self.grain)
        days = {}
        for day in sorted(needed):
            self.sequence.go_on()  # building days takes long
            days[day] = await self.table.day(partition, day)
        if self.table.epoch[partition] != epoch:
            raise Superseded
        where = Partition(partition, self.topics.event_partitions, self.rollups, self.epoch, self.grain)
        folded = fold(where, arrivals, memory, days)
        encoded = [(key, self.codec.encode(row)) for key, row in folded.rows.items()]
        letters = self._letters(tp, folded, {record.offset: record for record in records})
        last = records[-1]
        return _Step(tp, last.offset + 1, last.timestamp, rows, epoch, folded, encoded, letters)

    def _arrival(self, record: Any) -> Arrival:
        event: FeedbackEvent | Refusal
        try:
            event = self.codec.decode_as(FeedbackEvent, record.value or b"")
        except DecodeError as error:
            event = Refusal("undecodable", str(error))
        return Arrival(record.offset, record.timestamp, record.key or b"", event)

    def _letters(self, tp: TP, folded: Folded, records: dict[int, Any]) -> list[Keyed]:
        letters = []
        for arrival, refusal in folded.refused:
            record = records[arrival.offset]
            headers = {name: value or b"" for name, value in record.headers or ()}  # Kafka's may be null
            made = letter(arrival, refusal, tp.topic, tp.partition, record.value, headers)
            letters.append((made.letter_id.encode(), self.codec.encode(made)))
            self.metrics.count("dead_letters", stage="resolve", reason=refusal.reason)
        return letters

    async def _publish(self, steps: list[_Step]) -> None:
        await self._checkpoint("before cells")
        for step in steps:
            self.outputs.send(self.topics.minutes.name, self._cells(step))
            self.outputs.send(self.topics.dead_letters.name, step.letters)
        await self.outputs.barrier()
        await self._checkpoint("before rows")
        for step in steps:
            self.outputs.send(self.topics.latest.name, step.encoded, step.tp.partition)
        await self.outputs.barrier()
        await self._checkpoint("before commit")

    def _cells(self, step: _Step) -> list[Keyed]:
        version = version_of(self.epoch, step.next_offset - 1)
        source = source_partition_of(self.epoch, step.tp.partition)
        counts = (published(key, cell, source, version) for key, cell in step.folded.cells.items())
        return [(minute_key(count.tenant_id, count.rollup, count.group), self.codec.encode(count)) for count in counts]

    def _commit(self, step: _Step, generation: int) -> None:
        partition = step.tp.partition
        if self.table.parts.get(partition) is not step.rows or self.table.epoch[partition] != step.epoch:
            return
        self.table.commit(partition, step.encoded, step.folded.cells)
        self.sequence.next[partition] = step.next_offset
        self.counted_until[partition] = step.append_time
        self.app.consumer.done(step.tp, step.next_offset, generation)
        self.metrics.count("events_resolved", len(step.folded.verdicts), partition=str(partition))
        self.metrics.count("amendments_unanswered", step.folded.unanswered, partition=str(partition))
        self.metrics.set("rows_held", len(step.rows), partition=str(partition))

    async def _watch_refusals(self, steps: list[_Step]) -> None:
        for step in steps:
            for good in step.folded.verdicts:
                if self._tripwire.observe(good):
                    await self.app.consumer.commit()  # else the next start would stop at the same events, for ever
                    verbs = "`thumbstream dead-letters list`, `replay` or `drop` them"
                    die(f"too many events are refused: mend the producer, start again, {verbs}", code=EXIT_STOP)

    async def _verify(self, partition: int) -> None:
        """Refuse to go on when rows know more events than the events topic holds: versions would go backwards."""
        newest = self.table.newest.get(partition, 0)
        source = TP(self.topics.events.name, partition)
        end = (await self.app.consumer.highwaters(source)).get(source) or 0
        if newest >= version_of(self.epoch, end) and newest > 0:
            sentence = "the events topic is shorter than the state: was it re-created?"
            die(f"partition {partition}: {sentence} (raise the epoch setting if it was)", code=EXIT_STOP)
