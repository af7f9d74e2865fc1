"""The effects of `watch` around the pure alert engine: restore, feed, publish transitions, then commit.

An engine is kept only while it equals what is published: it leaves the map while a batch is in work, and any cancel,
rebalance or change by recovery means that it is rebuilt.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from faust.types import TP

from processors.alerts import Engine, cloud_event, reach
from processors.monitor_file import hash_number, monitors_in
from processors.outputs import Keyed, Outputs
from processors.replay import Replay, heard
from processors.sequence import Sequence
from processors.tables import Rows, Superseded, VersionedTable
from processors.transport import by_partition
from schemas.codec import Codec
from schemas.events import Alert, MonitorSet
from schemas.topics import Topics
from thumbstream.telemetry import Metrics

_log = structlog.get_logger(__name__)
_YIELD_SECONDS = 0.05

Checkpoint = Callable[[str], Awaitable[None]]
NewEngine = Callable[[Mapping[str, Alert], int], Engine]  # (published alerts, keep) -> a silent engine


@dataclass(slots=True)
class _Held:
    """An engine, and the memory it equals."""

    engine: Engine
    rows: Rows
    epoch: int


@dataclass(slots=True)
class _Step:
    """One partition's share of a batch."""

    tp: TP
    held: _Held
    made: list[Alert]
    encoded: list[Keyed]


class Watcher:
    """One engine per minutes partition. `new_engine` makes an empty one; `replay` fills it after a restart.

    `guess` says how many minutes back the state probably depends on.
    """

    def __init__(
        self,
        app: Any,
        table: VersionedTable,
        outputs: Outputs,
        codec: Codec,
        topics: Topics,
        metrics: Metrics,
        *,
        new_engine: NewEngine,
        replay: Replay,
        guess: Callable[[], int],
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.app, self.table, self.outputs, self.codec, self.topics = app, table, outputs, codec, topics
        self.metrics, self._new_engine, self._replay, self._checkpoint = metrics, new_engine, replay, checkpoint
        self._guess = guess
        self._engines: dict[int, _Held] = {}
        self._sequence = Sequence(app, metrics)

    def reset(self) -> None:
        """Forget positions: partitions are dealt anew."""
        self._sequence.next.clear()

    def in_force(self, partition: int) -> MonitorSet | None:
        """What the log, as far as it is read, says about the monitors of a partition; None if nothing, or unknown."""
        held = self._engines.get(partition)
        return held.engine.in_force if held is not None else None

    async def batch(self, events: Iterable[Any]) -> None:
        """Feed one batch and make its transitions durable. It is dropped when partitions or rows change."""
        began, generation = time.monotonic(), self.app.consumer_generation_id
        try:
            steps = [await self._prepare(*item) for item in by_partition(events, generation).items()]
        except Superseded:
            return
        if generation != self.app.consumer_generation_id:
            return
        async with self.table.writing:
            await self._publish(steps)
            if generation == self.app.consumer_generation_id:
                for step in steps:
                    self._commit(step, generation)
        self.metrics.observe("batch_seconds", time.monotonic() - began, stage="watch")

    async def _prepare(self, tp: TP, records: list[Any]) -> _Step:
        self._sequence.check(tp, records[0].offset)
        held = await self._engine(tp.partition, records[0])
        made: list[Alert] = []
        resumed = time.monotonic()
        for record in records:
            if record.offset >= held.engine.next_offset:
                made += await self._feed(tp.partition, held, record)
            if time.monotonic() - resumed > _YIELD_SECONDS:
                await asyncio.sleep(0)
                resumed = time.monotonic()
        encoded = [(alert.fingerprint.encode(), self.codec.encode(alert)) for alert in made]
        return _Step(tp, held, made, encoded)

    async def _feed(self, partition: int, held: _Held, record: Any) -> list[Alert]:
        said = heard(self.codec, record.value)
        monitors = monitors_in(said) if isinstance(said, MonitorSet) else ()
        if said is None or monitors is None:  # minutes have one writer, so this is a stranger's record
            _log.warning("undecodable", topic=self.topics.minutes.name, offset=record.offset)
            self.metrics.count("dead_letters", stage="watch", reason="undecodable")
            held.engine.next_offset = record.offset + 1
            return []
        if reach(monitors) > held.engine.kept:
            await self._reach_back(partition, held, record, reach(monitors))
        return held.engine.feed(record.offset, record.timestamp, said)

    async def _reach_back(self, partition: int, held: _Held, record: Any, minutes: int) -> None:
        """New monitors look further back than counts are kept: the log has them."""
        held.engine = await self._replayed(partition, record, held.engine.alerts, minutes)
        if self.table.epoch[partition] != held.epoch or self.table.parts.get(partition) is not held.rows:
            raise Superseded

    async def _engine(self, partition: int, first: Any) -> _Held:
        held, rows = self._engines.pop(partition, None), self.table.parts.get(partition)
        if rows is None:
            raise Superseded
        epoch = self.table.epoch[partition]
        if held is not None and held.rows is rows and held.epoch == epoch and first.offset <= held.engine.next_offset:
            return held
        engine = await self._restore(partition, first, dict(rows))
        if self.table.epoch[partition] != epoch or self.table.parts.get(partition) is not rows:
            raise Superseded
        return _Held(engine, rows, epoch)

    async def _restore(self, partition: int, first: Any, rows: Rows) -> Engine:
        alerts = {alert.fingerprint: alert for alert in (self.codec.decode_as(Alert, row) for row in rows.values())}
        return await self._replayed(partition, first, alerts, self._guess())

    async def _replayed(self, partition: int, first: Any, alerts: Mapping[str, Alert], minutes: int) -> Engine:
        """The engine just before the record `first`."""
        began = time.monotonic()

        def rerun() -> Engine:
            make = partial(self._new_engine, alerts)
            return self._replay.until(partition, first.offset, first.timestamp, minutes, make)

        engine = await asyncio.get_running_loop().run_in_executor(None, rerun)
        engine.speak()
        seconds = round(time.monotonic() - began, 2)
        _log.info("restored", partition=partition, offset=first.offset, firing=engine.firing, seconds=seconds)
        return engine

    async def _publish(self, steps: list[_Step]) -> None:
        if self._checkpoint is not None:
            await self._checkpoint("before alerts")
        for step in steps:
            for alert, record in zip(step.made, step.encoded, strict=True):
                self.outputs.send_one(self.topics.alerts.name, record, step.tp.partition, cloud_event(alert))
        if any(step.encoded for step in steps):
            await self.outputs.barrier()
        if self._checkpoint is not None:
            await self._checkpoint("before commit")

    def _commit(self, step: _Step, generation: int) -> None:
        partition, held = step.tp.partition, step.held
        if self.table.parts.get(partition) is not held.rows or self.table.epoch[partition] != held.epoch:
            return
        held.rows.update(step.encoded)
        self._sequence.next[partition] = held.engine.next_offset
        self._engines[partition] = held
        self.app.consumer.done(step.tp, held.engine.next_offset, generation)
        for alert in step.made:
            _log.info("alert", alert_id=alert.alert_id, monitor=alert.monitor, group=dict(alert.group))
            self.metrics.count("alert_transitions", monitor=alert.monitor, status=alert.status)
        self._tell_monitors(partition, held.engine)
        self.metrics.set("alerts_firing", held.engine.firing, partition=str(partition))
        if held.engine.time.now is not None:
            self.metrics.set("stream_time_seconds", held.engine.time.now / 1000, partition=str(partition))

    def _tell_monitors(self, partition: int, engine: Engine) -> None:
        if engine.in_force is not None:
            self.metrics.set("monitors_in_force", hash_number(engine.in_force), partition=str(partition))
