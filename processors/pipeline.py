"""The whole meaning of `resolve` for one batch of one partition, composed: admit, merge, count. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

from processors.amendments import answers
from processors.deduplicate import Arrival, Refusal, admit, effective_time, outgrown
from processors.merge import merge
from processors.minutes import REAL_TIME, DayCells, Grain, Rollup, contribution, move
from schemas.events import AMEND, DeadLetter, FeedbackEvent, ResolvedFeedback
from schemas.feedback_ids import hash_in
from schemas.letters import fitting
from schemas.topics import source_partition_of, version_of


@dataclass(frozen=True, slots=True)
class Partition:
    """The partition a batch comes from, and everything about it that meaning depends on."""

    number: int
    partitions: int
    rollups: Sequence[Rollup]
    epoch: int = 1
    grain: Grain = REAL_TIME

    @property
    def source(self) -> int:
        """The number under which this partition counts in minutes."""
        return source_partition_of(self.epoch, self.number)


@dataclass(slots=True)
class Folded:
    """What one batch changes: rows by key, cells as absolute values, and what was refused."""

    rows: dict[bytes, ResolvedFeedback] = field(default_factory=dict)
    cells: DayCells = field(default_factory=dict)
    refused: list[tuple[Arrival, Refusal]] = field(default_factory=list)
    verdicts: list[bool] = field(default_factory=list)  # one per event, in order: False when it was refused
    unanswered: int = 0  # amendments to whose feedback id no standing vote answers (any more)
    named: dict[str, set[bytes]] = field(default_factory=dict)  # feedback id -> keys of changed rows that had it

    def keys_of(self, feedback_id: str | None) -> Set[bytes]:
        """The changed rows whose votes have, or had within this batch, the feedback id."""
        return self.named.get(feedback_id or "", frozenset())

    def put(self, key: bytes, row: ResolvedFeedback) -> None:
        """Take a changed row in."""
        self.rows[key] = row
        if row.vote is not None and row.vote.feedback_id:
            self.named.setdefault(row.vote.feedback_id, set()).add(key)


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a worker's memory tells.

    `row` gives a row by key, None without one; `named` the keys of all rows whose vote has a feedback id with this
    hash, and maybe of more.
    """

    row: Callable[[bytes], ResolvedFeedback | None]
    named: Callable[[int], Iterable[bytes]]


def days_needed(arrivals: Iterable[Arrival], memory: Lookup, grain: Grain = REAL_TIME) -> set[int]:
    """Every day whose cells `fold` may touch."""
    times: set[int] = set()
    amendments = 0
    for arrival in arrivals:
        if isinstance(arrival.event, FeedbackEvent) and arrival.event.kind == AMEND:
            amendments += 1
            keys = memory.named(hash_in(arrival.event.feedback_id) or 0)
        else:
            keys = (arrival.key,)
        times.update(_times(arrival, filter(None, map(memory.row, keys))))
    # Each amendment may count a millisecond after the vote that it changes.
    return {moment // grain.day for time in times for moment in (time, time + amendments)}


def _times(arrival: Arrival, rows: Iterable[ResolvedFeedback]) -> Iterator[int]:
    """When an event may count, and when the votes that it may change do."""
    event = arrival.event if isinstance(arrival.event, FeedbackEvent) else None
    if event is not None:
        yield effective_time(event, arrival.append_time, {})
    for row in rows:
        if row.vote_time is not None:
            yield row.vote_time
        if event is not None:  # what came before under this id counts on the day of its first arrival
            yield effective_time(event, arrival.append_time, row.clamped)
            if event.event_id in row.clamped:
                yield row.clamped[event.event_id]


def fold(where: Partition, arrivals: Iterable[Arrival], memory: Lookup, days: Mapping[int, DayCells]) -> Folded:
    """Fold a batch, in offset order, over the rows and cells of its partition; neither is changed.

    `days` holds the cells of every day that `days_needed` named. An event at or below its row's version was folded by
    an earlier run and is skipped.
    """
    batch = _Batch(where, memory, days)
    for arrival in arrivals:
        refusal = batch.take(arrival)
        batch.result.verdicts.append(refusal is None)
        if refusal is not None:
            batch.result.refused.append((arrival, refusal))
    return batch.result


@dataclass(slots=True)
class _Batch:
    where: Partition
    memory: Lookup
    days: Mapping[int, DayCells]
    result: Folded = field(default_factory=Folded)

    def take(self, arrival: Arrival) -> Refusal | None:
        row = self._row(arrival.key)
        refusal = admit(arrival, self.where.number, self.where.partitions, known=row is not None)
        if refusal is not None:
            return refusal
        assert isinstance(arrival.event, FeedbackEvent)
        if arrival.event.kind == AMEND:
            return self._amend(arrival, arrival.event)
        return self._merge(arrival.key, row, arrival, arrival.event)

    def _row(self, key: bytes) -> ResolvedFeedback | None:
        return self.result.rows.get(key) or self.memory.row(key)

    def _amend(self, arrival: Arrival, event: FeedbackEvent) -> Refusal | None:
        keys = {*self.memory.named(hash_in(event.feedback_id) or 0), *self.result.keys_of(event.feedback_id)}
        rows = [(key, row) for key in sorted(keys) if answers(key, row := self._row(key), event)]
        self.result.unanswered += not rows
        refusals = [self._merge(key, row, arrival, event) for key, row in rows]
        return next(filter(None, refusals), None)

    def _merge(
        self, key: bytes, row: ResolvedFeedback | None, arrival: Arrival, event: FeedbackEvent
    ) -> Refusal | None:
        version = version_of(self.where.epoch, arrival.offset)
        if row is not None and version <= row.version:
            return None
        after = merge(row, event, version, arrival.append_time)
        if after is None:
            return None
        if (too_large := outgrown(after)) is not None:
            return too_large
        self.result.put(key, after)
        rollups, grain = self.where.rollups, self.where.grain
        before = contribution(row, rollups, grain)
        move(self.result.cells, self.days, before, contribution(after, rollups, grain), grain)
        return None


def letter(
    arrival: Arrival,
    refusal: Refusal,
    topic: str,
    partition: int,
    original: bytes | None,
    headers: Mapping[str, bytes],
) -> DeadLetter:
    """The dead letter of a refused event. Its id is its source position, so a replay writes the same letter again."""
    event = arrival.event
    made = DeadLetter(
        letter_id=f"{topic}-{partition}-{arrival.offset}",
        stage="resolve",
        reason=refusal.reason,
        message=refusal.message,
        tenant_id=event.tenant_id if isinstance(event, FeedbackEvent) else None,
        topic=topic,
        partition=partition,
        offset=arrival.offset,
        failed_at=arrival.append_time,
        key=arrival.key,
        original=original,
        headers=headers,
    )
    return fitting(made)
