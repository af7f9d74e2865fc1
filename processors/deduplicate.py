"""Which value of a register wins, and which events may enter the fold at all. Pure.

Identity is (tenant_id, request_id). Every register of a row keeps the value with the greatest stamp
(effective time, event id, encoded value), so any order and any number of re-sends give the same content.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass

from schemas.constraints import violation
from schemas.events import FeedbackEvent, ResolvedFeedback
from schemas.feedback_ids import event_key, event_partition

MAX_CLAMPED = 64
MAX_REGISTERS = 1024
MAX_ROW_CHARACTERS = 600_000  # at most 4 bytes each, below the largest message


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a record of the events topic is not folded: reason word and sentence of its dead letter."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """One record of the events topic: its place, the broker's append time (epoch ms), and what it holds."""

    offset: int
    append_time: int
    key: bytes
    event: FeedbackEvent | Refusal


def admit(arrival: Arrival, partition: int, partitions: int, *, known: bool) -> Refusal | None:
    """None when the event may be folded here. `known` says that its key already has a row on this partition.

    Two partitions that both owned a request would each compute its row: whoever published it with another key or
    partitioner gets it back as `misrouted`.
    """
    event = arrival.event
    if isinstance(event, Refusal):
        return event
    if (broken := violation(event)) is not None:
        return Refusal("invalid", f"{broken.field or 'event'}: {broken.reason}: {broken.message}")
    key = event_key(event)
    if arrival.key != key:
        return Refusal("misrouted", f"the key must be {key.decode()!r} for this event")
    if not known and (right := event_partition(event, partitions)) != partition:
        return Refusal("misrouted", f"murmur2 of the key names partition {right}, not {partition}")
    return None


def outgrown(row: ResolvedFeedback) -> Refusal | None:
    """Why an event may not make a row this large: it would no longer fit a message, and the stream would stand still.

    Beside amendments, this is the one rule that depends on the order of events: what comes after the row is full is
    refused.
    """
    registers = sum(len(stamp.registers) for stamp in row.stamps)
    votes = [vote for vote in (row.vote, row.implicit) if vote is not None]
    texts = (row.comment, row.correction, *(text for vote in votes for text in (vote.source, vote.feedback_id)))
    size = sum(map(len, row.metadata.values())) + sum(len(text) for text in texts if text is not None)
    if registers > MAX_REGISTERS or size > MAX_ROW_CHARACTERS:
        return Refusal(
            "too_large", f"a request holds at most {MAX_REGISTERS} registers, {MAX_ROW_CHARACTERS} characters"
        )
    return None


def effective_time(event: FeedbackEvent, append_time: int, clamped: Mapping[str, int]) -> int:
    """When the event counts, epoch ms: the client's time, but never later than the broker's append time.

    An event whose client clock ran ahead was given the append time of its first arrival; a re-send keeps that time.
    """
    if event.event_time is None:
        return append_time
    return min(event.event_time, append_time, clamped.get(event.event_id, append_time))


def remember_clamped(event: FeedbackEvent, append_time: int, clamped: Mapping[str, int]) -> Mapping[str, int]:
    """`clamped` with this event added when its clock ran ahead."""
    if event.event_time is None or event.event_time <= append_time or event.event_id in clamped:
        return clamped
    return clamp(clamped, event.event_id, append_time)


def clamp(clamped: Mapping[str, int], event_id: str, time: int) -> Mapping[str, int]:
    """`clamped` with an event and when it counts added. The 64 latest are kept."""
    grown = {**clamped, event_id: time}
    if len(grown) > MAX_CLAMPED:
        del grown[min(grown, key=lambda event_id: (grown[event_id], event_id))]
    return grown


def wins(time: int, event_id: str, value: object, held: tuple[int, str], held_value: object) -> bool:
    """True when a value stamped (time, event_id) replaces the one held under the stamp `held`."""
    if (time, event_id) != held:
        return (time, event_id) > held
    return encoded(value) > encoded(held_value)


def encoded(value: object) -> str:
    """The last part of a stamp: any total order over values will do, as long as all workers share it."""
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.dumps(plain, sort_keys=True)
