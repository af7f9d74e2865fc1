"""Faust's Kafka transport in batches: one channel item is the list of records that one fetch gave for one partition.

The stock transport runs four tasks a message, commits what a failing handler never finished, and lets a fetch return
after a seek, which skips records. Here positions change only while no fetch is under way, and what is committed is what
the agent reports as done. Underscore methods are overridden: docs/decisions/0003-batch-transport.md says which and why,
and a contract test on a real broker turns red when a Faust release changes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import faust
import structlog
from faust.tables.recovery import ServiceStopped
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.utils.futures import notify

from thumbstream.telemetry import die

_log = structlog.get_logger(__name__)
_FETCH_WAIT_MS = 500  # how long a broker may hold an idle fetch; progress marks are as old as the last answer
_FETCH_SECONDS = 0.3


class _CommittedReads(driver.AIOKafkaConsumerThread):
    """The consumer thread, reading only what transactions have committed, like every other consumer of ours."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer: Any = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"
        consumer._fetch_max_wait_ms = _FETCH_WAIT_MS
        return consumer


class BatchConsumer(driver.Consumer):
    """Hands whole record lists to the channel and commits only what `done` was told."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._done: dict[TP, int] = {}
        self._asked_again: dict[TP, int] = {}
        self._moving = asyncio.Lock()  # held by a fetch until its records are delivered, and by every seek
        self.started_at: dict[TP, int] = {}  # position before anything was delivered
        self._reached: dict[TP, int] = {}  # fetch position when everything before it was delivered
        self.gaps: set[tuple[TP, int]] = set()  # (partition, first offset after a gap that a second read confirmed)

    def _new_consumer_thread(self) -> Any:
        return _CommittedReads(self, loop=self.loop, beacon=self.beacon)

    # what is committed

    def done(self, tp: TP, next_offset: int, generation: int) -> None:
        """Everything before `next_offset` is durable. Ignored when the partitions were dealt anew since."""
        if generation == self.app.consumer_generation_id and next_offset > self._done.get(tp, 0):
            self._done[tp] = next_offset
            if self.gaps:
                self.gaps = {(place, offset) for place, offset in self.gaps if place != tp or offset >= next_offset}

    def ack(self, message: Any) -> bool:
        """Only lets a rebalance see that nothing is in work; never moves the commit position."""
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._done) if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        return self._done.get(tp)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._hold_back()
        self._guard_recovery()
        self._done.clear()
        self.started_at.clear()
        self._reached.clear()
        self.gaps.clear()
        await super().on_partitions_assigned(assigned, generation_id)
        if self._recovery.signal_recovery_start.is_set():  # else the recovery of this rebalance has begun
            self._hold_back()

    @property
    def _recovery(self) -> Any:
        return cast("Any", self.app.tables).recovery

    def _hold_back(self) -> None:
        """The end of an older recovery may come after a rebalance began, and says that all is dealt."""
        self.stop_flow()
        self.app.rebalancing = True

    def _guard_recovery(self) -> None:
        """Faust's recovery ends without a word, and for good, when a broker does not answer it in time."""
        recovery = self._recovery

        async def wait(*arguments: Any, **options: Any) -> None:
            try:
                await type(recovery)._wait(recovery, *arguments, **options)
            except ServiceStopped:
                if not recovery.should_stop:
                    die("recovery: the broker did not answer in time")
                raise

        recovery._wait = wait

    # where reading stands

    def caught_up(self, tp: TP, durable: int, end: int) -> bool:
        """True when everything before `end` is durable, given that everything before `durable` is.

        Behind the last record there may be offsets that hold none for us: markers of transactions, or records that
        expired. Then the fetch position tells, as it stood when all that was fetched had been delivered.
        """
        if durable >= end:
            return True
        return durable >= (self._read_offset[tp] or 0) and self._reached.get(tp, 0) >= end

    def fetch_state(self, tp: TP) -> tuple[int, float] | None:
        """(end of the partition, epoch ms of the answer that told it), from the last fetch; None before the first.

        Records of an open transaction lie before that end: nobody has caught up until it is over and they are counted.
        """
        consumer = self._thread._consumer
        if consumer is None or tp not in consumer.assignment():
            return None
        # In this order: the consumer's thread sets the end first, and an old end with a new time would be a lie.
        answered = consumer.last_poll_timestamp(tp)
        end = consumer.highwater(tp)
        return (end, answered) if end is not None and answered else None

    def _sources(self) -> list[TP]:
        return [tp for tp in self.assignment() if tp.topic not in self.app.tables.changelog_topics]

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        async with self._moving:
            await super().seek_wait(partitions)

    async def perform_seek(self) -> None:
        async with self._moving:
            self._reached.clear()
            await super().perform_seek()
            # aiokafka does not move for "no commit yet" or "committed 0": what a dropped fetch took would be skipped.
            fresh = [tp for tp in self._sources() if not self._read_offset[tp]]
            if fresh:
                first = {TP(*tp): offset or 0 for tp, offset in (await self.earliest_offsets(*fresh)).items()}
                await super().seek_wait(first)
                self._read_offset.update(first)
            self.started_at = {tp: self._read_offset[tp] or 0 for tp in self._sources()}

    # fetching

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                if not self.flow_active:
                    await self.wait(cast("Any", self.can_resume_flow))
                async with self._moving:
                    if self.flow_active:
                        await self._fetch_once()
                await asyncio.sleep(0)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _fetch_once(self) -> None:
        changelogs = self.app.tables.changelog_topics
        # While rebalancing only changelogs flow: resuming clears the channels after the seek, so that source records
        # delivered earlier would vanish. An empty set would mean "all partitions" to aiokafka.
        active = {tp for tp in self._active_partitions or () if tp.topic in changelogs or not self.app.rebalancing}
        if not active:
            await self.sleep(0.05)
            return
        fetched = await self._getmany(active_partitions=active, timeout=_FETCH_SECONDS)
        generation = self.app.consumer_generation_id
        if not self._flows():
            return  # a seek follows
        for place, records in fetched.items():
            tp = TP(*place)
            if tp.topic in changelogs:
                await self._deliver(tp, records, generation)
            elif not self.app.rebalancing and (wanted := await self._in_sequence(tp, records)):
                self._read_offset[tp] = wanted[-1].offset + 1
                await self._deliver(tp, wanted, generation)
            if not self._flows():
                return
        self._note_positions()

    def _flows(self) -> bool:
        return self.flow_active

    def _note_positions(self) -> None:
        consumer: Any = self._thread._consumer
        assignment = consumer._subscription.subscription.assignment
        for tp in self._sources():
            state = assignment.state_value(tp) if assignment is not None else None
            if state is not None and state.has_valid_position and not self.app.rebalancing:
                self._reached[tp] = state.position

    async def _in_sequence(self, tp: TP, records: list[Any]) -> list[Any]:
        """The records from the wanted offset on; empty after a gap was met for the first time, which is read again."""
        wanted = self._read_offset[tp]
        if wanted is None:
            return records
        records = [record for record in records if record.offset >= wanted]
        if records and records[0].offset > wanted:
            if self._asked_again.get(tp) != wanted:
                self._asked_again[tp] = wanted
                await driver.Consumer.seek(self, tp, wanted)
                self._read_offset[tp] = wanted  # Faust would note "nowhere" for offset 0
                return []
            self.gaps.add((tp, records[0].offset))
            _log.warning("offset gap", topic=tp.topic, partition=tp.partition, wanted=wanted, got=records[0].offset)
        return records

    async def _deliver(self, tp: TP, records: list[Any], generation: int) -> None:
        last, value = records[-1], cast("Any", records)  # raw serializers pass the list through
        message = ConsumerMessage(
            tp.topic, tp.partition, last.offset, last.timestamp / 1000.0, last.timestamp_type,
            [], None, value, None, 0, 0, tp, generation_id=generation,
        )  # fmt: skip
        await self.wait_first(self.callback(message), self.suspend_flow.wait())


class BatchTransport(driver.Transport):
    """Assign to `app.transport` before topics and agents are declared."""

    Consumer = BatchConsumer


def by_partition(events: Iterable[Any], generation: int) -> dict[TP, list[Any]]:
    """The records of a channel's items by partition, in offset order; items of an older generation are left out."""
    found: dict[TP, list[Any]] = {}
    for event in events:
        message = event.message
        if message.generation_id == generation:
            found.setdefault(message.tp, []).extend(message.value)
    return found


def use_batches(app: faust.App) -> BatchTransport:
    """Put the batch transport under `app`."""
    transport = BatchTransport(app.conf.broker_consumer, app)
    app.transport = transport
    return transport
