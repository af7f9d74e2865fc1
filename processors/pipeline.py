"""The whole meaning of `resolve` for one batch of one partition, composed: admit, merge, count. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from processors.deduplicate import Arrival, Refusal, admit, effective_time, outgrown
from processors.merge import merge
from processors.minutes import REAL_TIME, DayCells, Grain, Rollup, contribution, move
from schemas.events import DeadLetter, FeedbackEvent, ResolvedFeedback
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


def days_needed(
    arrivals: Iterable[Arrival], stored: Callable[[bytes], ResolvedFeedback | None], grain: Grain = REAL_TIME
) -> set[int]:
    """Every day whose cells `fold` may touch. `stored` gives a row by key, None without one."""
    times: list[int] = []
    for arrival in arrivals:
        row = stored(arrival.key)
        if row is not None and row.vote_time is not None:
            times.append(row.vote_time)
        if isinstance(arrival.event, FeedbackEvent):
            times.append(effective_time(arrival.event, arrival.append_time, {}))
            if row is not None:  # an event whose clock ran ahead counts on the day of its first arrival
                times.append(effective_time(arrival.event, arrival.append_time, row.clamped))
    return {time // grain.day for time in times}


def fold(
    where: Partition,
    arrivals: Iterable[Arrival],
    stored: Callable[[bytes], ResolvedFeedback | None],
    days: Mapping[int, DayCells],
) -> Folded:
    """Fold a batch, in offset order, over the rows and cells of its partition; neither is changed.

    `stored` gives a row by key; `days` holds the cells of every day that `days_needed` named. An event at or below its
    row's version was folded by an earlier run and is skipped.
    """
    result = Folded()
    for arrival in arrivals:
        key = arrival.key
        row = result.rows.get(key) or stored(key)
        refusal = admit(arrival, where.number, where.partitions, known=row is not None)
        result.verdicts.append(refusal is None)
        if refusal is not None:
            result.refused.append((arrival, refusal))
            continue
        assert isinstance(arrival.event, FeedbackEvent)
        version = version_of(where.epoch, arrival.offset)
        if row is not None and version <= row.version:
            continue
        after = merge(row, arrival.event, version, arrival.append_time)
        if after is not None and (too_large := outgrown(after)) is not None:
            result.verdicts[-1] = False
            result.refused.append((arrival, too_large))
        elif after is not None:
            result.rows[key] = after
            before = contribution(row, where.rollups, where.grain)
            move(result.cells, days, before, contribution(after, where.rollups, where.grain), where.grain)
    return result


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
    return DeadLetter(
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
