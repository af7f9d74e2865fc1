"""Records to the rows that ClickHouse stores: one function per record, the columns as data beside it.

Pure. Times are epoch milliseconds, or seconds where a column says so; absent text is '' and an absent dimension is
`(none)`, as the analysts' views promise; absent numbers stay NULL, so that 0 and "not given" remain distinct.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from schemas.events import (
    MISSING,
    PROMOTED,
    Alert,
    Candidate,
    DeadLetter,
    FeedbackEvent,
    MinuteCount,
    Record,
    ResolvedFeedback,
    Vote,
    bare,
)
from schemas.feedback_ids import hash_in
from schemas.topics import EPOCH_SHIFT, group_key, murmur2, request_key, source_partition_of, version_of

Row = tuple[Any, ...]
LATEST_TIME = 10_413_791_999_999  # 2299-12-31, where DateTime64 ends; a client's clock may say 9999


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the sink: its name without the database, and its columns in the order of our rows."""

    name: str
    columns: tuple[str, ...]


def _table(name: str, columns: str) -> Table:
    return Table(name, tuple(columns.split()))


EVENTS = _table(
    "feedback_events",
    "tenant_id request_id event_id kind polarity score scale_min scale_max weight comment correction reasons tags"
    " flagged user_id signal source feedback_id preference metadata event_time append_time effective_time original"
    " source_partition version",
)
LATEST = _table(
    "feedback_latest",
    "tenant_id request_id version is_deleted polarity score scale_min scale_max weight comment correction reasons tags"
    " flagged model prompt_id prompt_version environment app user_id source signal metadata voted_at first_seen"
    " updated_at source_partition",
)
ERASED = _table("feedback_erased", "tenant_id request_id version erased_at")
FEEDBACK_IDS = _table("feedback_ids", "tenant_id feedback_id request_id version")
MINUTES = _table(
    "feedback_minutes",
    "tenant_id rollup group_key dimensions minute source_partition version negative positive neutral",
)
ALERTS = _table(
    "feedback_alerts",
    "tenant_id fingerprint alert_id monitor kind severity rollup group status started_at evaluated_at ended_at"
    " window_minutes negative total rate lower_bound threshold top_user_share reason sequence version",
)
DEAD_LETTERS = _table(
    "feedback_dead_letters",
    "letter_id tenant_id stage reason message source_topic source_partition source_offset failed_at original handled",
)
TABLES = (EVENTS, LATEST, ERASED, FEEDBACK_IDS, MINUTES, ALERTS, DEAD_LETTERS)


class Position(NamedTuple):
    """Where a record lay: its partition, its offset, the broker's append time (ms), and the epoch of the settings."""

    partition: int
    offset: int
    append_time: int
    epoch: int = 1


def rows_of(record: Record, at: Position) -> tuple[tuple[Table, Row], ...]:
    """The rows that `record` becomes; none for a progress mark or a set of monitors."""
    match record:
        case FeedbackEvent():
            return _said(record, at)
        case ResolvedFeedback():
            return _resolved(record, at)
        case MinuteCount():
            return ((MINUTES, minute_row(record)),)
        case Alert():
            return ((ALERTS, alert_row(record)),)
        case DeadLetter():
            return ((DEAD_LETTERS, dead_letter_row(record)),)
        case _:
            return ()


def _said(event: FeedbackEvent, at: Position) -> tuple[tuple[Table, Row], ...]:
    """What a feedback id stands for is written first: amendments that follow know it only by that."""
    said = (EVENTS, event_row(event, at))
    return ((FEEDBACK_IDS, feedback_id_row(event, at)), said) if _gives_id(event) else (said,)


def _gives_id(event: FeedbackEvent) -> bool:
    """Whether the event is the vote that its feedback id was made for."""
    key_hash = hash_in(event.feedback_id) if event.kind == "vote" else None
    return key_hash is not None and key_hash == murmur2(request_key(event.tenant_id, event.request_id))


def _resolved(row: ResolvedFeedback, at: Position) -> tuple[tuple[Table, Row], ...]:
    """An erased request hides everything of its key, so the list of erased ones is written first."""
    latest = (LATEST, latest_row(row, at))
    return ((ERASED, erased_row(row)), latest) if row.erased else (latest,)


def event_row(event: FeedbackEvent, at: Position) -> Row:
    """A row of feedback_events. Null in `metadata` (removed) stays distinct from a key that is absent.

    An amendment has no request id here; the views look it up in feedback_ids.
    """
    written = event.event_time
    return (
        event.tenant_id, event.request_id, event.event_id, event.kind,
        event.polarity, event.score, event.scale_min, event.scale_max, event.weight,
        event.comment or "", event.correction or "", event.reasons or (), event.tags or (),
        event.flagged, event.user_id or "", event.signal, event.source, event.feedback_id or "",
        _preference(event.preference),
        {key: None if text is None else bare(text) for key, text in event.metadata.items()},
        None if written is None else min(written, LATEST_TIME), at.append_time,
        at.append_time if written is None else min(written, at.append_time),
        event.original or b"", source_partition_of(at.epoch, at.partition), version_of(at.epoch, at.offset),
    )  # fmt: skip


def feedback_id_row(event: FeedbackEvent, at: Position) -> Row:
    """A row of feedback_ids, from the vote that the id was made for."""
    return event.tenant_id, event.feedback_id, event.request_id, version_of(at.epoch, at.offset)


def _preference(candidates: Iterable[Candidate] | None) -> str:
    if candidates is None:
        return ""
    items = [{"request_id": c.request_id, "rating": c.rating, "response": c.response} for c in candidates]
    return json.dumps(items, ensure_ascii=False)


def latest_row(row: ResolvedFeedback, at: Position) -> Row:
    """A row of feedback_latest. The explicit vote stands; without one the implicit signal does, marked as such."""
    vote = row.vote or row.implicit
    return (
        row.tenant_id, row.request_id, row.version, int(row.erased), *_vote(vote),
        row.comment or "", row.correction or "", row.reasons or (), row.tags or (), row.flagged,
        *(_dimension(getattr(row, name)) for name in PROMOTED),
        row.user_id or "", vote.source if vote else "", _signal(row),
        {key: bare(text) for key, text in row.metadata.items()},
        _voted_at(row), row.first_seen, row.updated_at,
        source_partition_of(row.version >> EPOCH_SHIFT, at.partition),
    )  # fmt: skip


def _vote(vote: Vote | None) -> Row:
    if vote is None:
        return (None,) * 5
    return vote.polarity, vote.score, vote.scale_min, vote.scale_max, vote.weight


def _dimension(value: str | None) -> str:
    return MISSING if value is None else value


def _signal(row: ResolvedFeedback) -> str:
    if row.vote is not None:
        return "explicit"
    return "" if row.implicit is None else "implicit"


def _voted_at(row: ResolvedFeedback) -> int | None:
    """Effective time of the vote shown; an implicit one's stands in the stamp that holds its register."""
    if row.vote is not None:
        return row.vote_time
    if row.implicit is None:
        return None
    return next((stamp.time for stamp in row.stamps if "implicit" in stamp.registers), None)


def erased_row(row: ResolvedFeedback) -> Row:
    """A row of feedback_erased, from the stub an erased request leaves."""
    return row.tenant_id, row.request_id, row.version, row.updated_at


def minute_row(cell: MinuteCount) -> Row:
    """A row of feedback_minutes; `minute` in seconds."""
    return (
        cell.tenant_id, cell.rollup, group_key(cell.group), _dimensions(cell), cell.minute // 1000,
        cell.source_partition, cell.version, cell.negative, cell.positive, cell.neutral,
    )  # fmt: skip


def _dimensions(cell: MinuteCount) -> Mapping[str, str]:
    names = cell.rollup.split("+") if cell.group else []
    return dict(zip(names, cell.group, strict=True))


def alert_row(alert: Alert) -> Row:
    """A row of feedback_alerts: one transition."""
    return tuple(dict(alert.group) if name == "group" else getattr(alert, name) for name in ALERTS.columns)


def dead_letter_row(letter: DeadLetter) -> Row:
    """A row of feedback_dead_letters."""
    return (
        letter.letter_id, letter.tenant_id or "", letter.stage, letter.reason, letter.message,
        letter.topic or "", letter.partition, letter.offset, letter.failed_at, letter.original or b"",
        letter.handled or "",
    )  # fmt: skip
