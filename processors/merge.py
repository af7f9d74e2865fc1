"""One event into one row: a set of last-writer-wins registers. Pure.

Registers: vote, implicit, comment, correction, reasons, tags, flagged, user_id and one per metadata key
(`metadata.<key>`). None and "removed" are values with stamps like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from processors.amendments import amended_vote, amendment_time
from processors.deduplicate import effective_time, remember_clamped, wins
from schemas.events import AMEND, PROMOTED, FeedbackEvent, ResolvedFeedback, Stamp, Vote, bare

_SIMPLE = ("comment", "correction", "reasons", "tags", "flagged", "user_id")
_RETRACTED = ("vote", "comment", "correction", "reasons", "flagged")
_METADATA = "metadata."
_DIMENSION_LENGTH = 256  # a longer text is no dimension anybody groups by, and would make huge keys

Held = dict[str, tuple[int, str]]  # register -> (effective time, event id) of the event that holds it


def merge(
    row: ResolvedFeedback | None, event: FeedbackEvent, version: int, append_time: int
) -> ResolvedFeedback | None:
    """The row after `event`, or None when the event changes nothing.

    `version` and `append_time` are those of the event's record. An erased row stays as it is, whatever comes. An
    amendment may only come to a row that answers to its feedback id.
    """
    if event.kind == "preference" or (row is not None and row.erased):
        return None
    if event.kind == "erase":
        return ResolvedFeedback(version, True, None, event.tenant_id, event.request_id, updated_at=append_time)
    known = row or ResolvedFeedback(-1, False, None, event.tenant_id, event.request_id)
    held = holders(known)
    time, clamped = _counts_from(event, append_time, known, held)
    won = _won(known, held, event, time)
    first_seen = time if row is None else min(known.first_seen, time)
    if not won and first_seen == known.first_seen and clamped is known.clamped:
        return None
    held.update(dict.fromkeys(won, (time, event.event_id)))
    return replace(
        known,
        version=version,
        vote_time=_vote_time(known, held, won),
        first_seen=first_seen,
        updated_at=append_time,
        stamps=_grouped(held) if won else known.stamps,
        clamped=clamped,
        **_fields(known, won),
    )


def _counts_from(
    event: FeedbackEvent, append_time: int, row: ResolvedFeedback, held: Held
) -> tuple[int, Mapping[str, int]]:
    """(effective time, the row's `clamped` after the event)."""
    if event.kind == AMEND:
        return amendment_time(event, append_time, held["vote"], row.clamped)
    return effective_time(event, append_time, row.clamped), remember_clamped(event, append_time, row.clamped)


def registers(event: FeedbackEvent, row: ResolvedFeedback | None = None) -> dict[str, Any]:
    """What the event writes: register -> value. A register that is not named stays as it is.

    Only what an amendment writes depends on the row: of the vote it may say a part.
    """
    written: dict[str, Any] = {_METADATA + key: text for key, text in event.metadata.items()}
    if event.kind == AMEND:
        if row is not None and row.vote is not None and (vote := amended_vote(row.vote, event)) is not None:
            written["vote"] = vote
    elif event.kind == "retract":
        retracted = _RETRACTED if event.signal == "explicit" else ("implicit",)
        written.update(dict.fromkeys(retracted))
    elif (polarity := event.polarity) is not None:
        written["vote" if event.signal == "explicit" else "implicit"] = _vote(event, polarity)
    for name in _SIMPLE:
        if (value := getattr(event, name)) is not None:
            written[name] = value
    return written


def holders(row: ResolvedFeedback) -> Held:
    """Which event holds each register of the row."""
    return {name: (stamp.time, stamp.event_id) for stamp in row.stamps for name in stamp.registers}


def _vote(event: FeedbackEvent, polarity: int) -> Vote:
    return Vote(
        polarity,
        event.value,
        event.score,
        event.scale_min,
        event.scale_max,
        1.0 if event.weight is None else event.weight,
        event.feedback_id,
        event.source,
    )


def _won(row: ResolvedFeedback, held: Held, event: FeedbackEvent, time: int) -> dict[str, Any]:
    return {
        name: value
        for name, value in registers(event, row).items()
        if name not in held or wins(time, event.event_id, value, held[name], _value(row, name))
    }


def _value(row: ResolvedFeedback, register: str) -> Any:
    if register.startswith(_METADATA):
        return row.metadata.get(register.removeprefix(_METADATA))
    return getattr(row, register)


def _vote_time(row: ResolvedFeedback, held: Held, won: Mapping[str, Any]) -> int | None:
    if "vote" not in won:
        return row.vote_time
    return None if won["vote"] is None else held["vote"][0]


def _fields(row: ResolvedFeedback, won: Mapping[str, Any]) -> dict[str, Any]:
    """The row's fields that the won registers change."""
    fields = {name: value for name, value in won.items() if not name.startswith(_METADATA)}
    if len(fields) < len(won):
        metadata = dict(row.metadata)
        for name in won.keys() - fields.keys():
            key = name.removeprefix(_METADATA)
            if won[name] is None:
                metadata.pop(key, None)
            else:
                metadata[key] = won[name]
        fields["metadata"] = dict(sorted(metadata.items()))
        fields.update({name: _dimension(metadata.get(name)) for name in PROMOTED if _METADATA + name in won})
    return fields


def _dimension(text: str | None) -> str | None:
    return None if text is None else bare(text)[:_DIMENSION_LENGTH] or None


def _grouped(held: Held) -> tuple[Stamp, ...]:
    """Registers by the event that holds them, in an order that depends on content only."""
    by_event: dict[tuple[int, str], list[str]] = {}
    for name in sorted(held):
        by_event.setdefault(held[name], []).append(name)
    return tuple(Stamp(time, event_id, tuple(names)) for (time, event_id), names in sorted(by_event.items()))
