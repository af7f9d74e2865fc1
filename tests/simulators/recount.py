"""What rows and cells must be, worked out the slow and plain way: the greatest stamp of all, per register.

Uses nothing of `processors`, so that a mistake there cannot hide here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from schemas.events import FeedbackEvent, ResolvedFeedback, Vote
from schemas.feedback_ids import hash_in
from schemas.topics import murmur2, request_key

DIMENSIONS = ("model", "prompt_id", "prompt_version", "environment", "app")
SIMPLE = ("comment", "correction", "reasons", "tags", "flagged", "user_id")

Request = tuple[str, str]
Counts = dict[tuple[str, tuple[str, ...], tuple[str, ...], int], dict[str, Any]]


@dataclass(slots=True)
class Truth:
    """One request: its registers as (time, id, JSON text), and whether it is erased."""

    erased: bool = False
    first_seen: int = 2**62
    registers: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)

    def take(self, event: FeedbackEvent, append_time: int) -> None:
        """Fold one event in."""
        if event.kind == "preference":
            return
        self.erased = self.erased or event.kind == "erase"
        if self.erased:
            return
        time = self._time(event, append_time)
        self.first_seen = min(self.first_seen, time)
        for name, value in written(event).items():
            stamp = (time, event.event_id, json.dumps(value, sort_keys=True))
            self.registers[name] = max(stamp, self.registers.get(name, stamp))

    def answers(self, name: Request, event: FeedbackEvent) -> bool:
        """Whether an amendment is about the standing vote of this request."""
        vote = None if self.erased else self.value("vote")
        own = hash_in(event.feedback_id) == murmur2(request_key(*name))
        return own and name[0] == event.tenant_id and vote is not None and vote["feedback_id"] == event.feedback_id

    def amend(self, event: FeedbackEvent, append_time: int) -> None:
        """Fold in an amendment that is about the standing vote."""
        held = self.registers["vote"]
        time = self._amendment_time(event, append_time, held)
        self.first_seen = min(self.first_seen, time)
        said: dict[str, Any] = {f"metadata.{key}": text for key, text in event.metadata.items()}
        said |= {name: getattr(event, name) for name in ("comment", "user_id") if getattr(event, name) is not None}
        vote = json.loads(held[2])
        if event.value is not None:
            vote |= {"polarity": _polarity(event), "value": event.value} | dict.fromkeys(
                ("score", "scale_min", "scale_max")
            )
        if event.weight is not None:
            vote["weight"] = event.weight
        if event.value is not None or event.weight is not None:
            said["vote"] = vote | {"source": event.source}
        for name, value in said.items():
            stamp = (time, event.event_id, json.dumps(value, sort_keys=True))
            self.registers[name] = max(stamp, self.registers.get(name, stamp))

    def _amendment_time(self, event: FeedbackEvent, append_time: int, held: tuple[int, str, str]) -> int:
        if event.event_time is not None:
            return self._time(event, append_time)
        later = append_time if (append_time, event.event_id) > held[:2] else held[0] + 1
        return self.ahead.setdefault(event.event_id, later)

    def _time(self, event: FeedbackEvent, append_time: int) -> int:
        if event.event_time is None:
            return append_time
        if event.event_time > append_time:
            self.ahead.setdefault(event.event_id, append_time)
        return min(event.event_time, append_time, self.ahead.get(event.event_id, append_time))

    def value(self, name: str) -> Any:
        """The value of a register; None when nobody wrote it or it was removed."""
        return json.loads(self.registers[name][2]) if name in self.registers else None

    def content(self) -> dict[str, Any]:
        """The row as plain values, everything but version and time of the last update."""
        if self.erased:
            return {"erased": True}
        metadata = {name[9:]: self.value(name) for name in self.registers if name.startswith("metadata.")}
        kept = {key: text for key, text in metadata.items() if text is not None}
        return {
            "erased": False,
            "vote_time": self.registers["vote"][0] if self.value("vote") is not None else None,
            "first_seen": self.first_seen,
            "metadata": kept,
            "stamps": {name: stamp[:2] for name, stamp in self.registers.items()},
            "ahead": self.ahead,
            **{name: self.value(name) for name in ("vote", "implicit", *SIMPLE)},
            **{name: _bare(kept.get(name)) for name in DIMENSIONS},
        }


def written(event: FeedbackEvent) -> dict[str, Any]:
    """The registers an event writes, with plain values."""
    found: dict[str, Any] = {f"metadata.{key}": text for key, text in event.metadata.items()}
    if event.kind == "retract" and event.signal == "implicit":
        found["implicit"] = None
    elif event.kind == "retract":
        found |= dict.fromkeys(("vote", "comment", "correction", "reasons", "flagged"))
    elif (polarity := _polarity(event)) is not None:
        found["implicit" if event.signal == "implicit" else "vote"] = _vote(event, polarity)
    return found | {name: getattr(event, name) for name in SIMPLE if getattr(event, name) is not None}


def _polarity(event: FeedbackEvent) -> int | None:
    if event.rating is not None:
        return 1 if event.rating else -1
    if event.value is not None:
        return 0 if event.value == 0 else 1 if event.value > 0 else -1
    if event.score is None or event.scale_min is None or event.scale_max is None:
        return None
    share = (event.score - event.scale_min) / (event.scale_max - event.scale_min)
    return 1 if share >= 0.75 else -1 if share <= 0.25 else 0


def _vote(event: FeedbackEvent, polarity: int) -> dict[str, Any]:
    names = ("value", "score", "scale_min", "scale_max", "feedback_id", "source")
    weight = 1.0 if event.weight is None else event.weight
    return {"polarity": polarity, "weight": weight, **{name: getattr(event, name) for name in names}}


def _bare(text: str | None) -> str | None:
    if text is None:
        return None
    value = json.loads(text)
    return (value if isinstance(value, str) else text)[:256] or None


def rows(log: Iterable[tuple[int, FeedbackEvent]]) -> dict[Request, Truth]:
    """Every request of a log of (append time, event)."""
    found: dict[Request, Truth] = {}
    for append_time, event in log:
        if event.kind == "amend":
            for name, truth in found.items():
                if truth.answers(name, event):
                    truth.amend(event, append_time)
        elif event.kind != "preference":
            found.setdefault((event.tenant_id, event.request_id), Truth()).take(event, append_time)
    return found


def cells(truths: Mapping[Request, Truth], rollups: Sequence[tuple[str, ...]], minute: int) -> Counts:
    """Counts by (tenant, rollup, values, minute); groups without a vote are left out."""
    counts: Counts = {}
    for (tenant, _request), truth in truths.items():
        content = truth.content()
        if content.get("vote") is None:
            continue
        for rollup in rollups:
            values = tuple(content[name] or "(none)" for name in rollup)
            place = (tenant, rollup, values, content["vote_time"] // minute * minute)
            cell = counts.setdefault(place, {"negative": 0, "positive": 0, "neutral": 0, "users": {}})
            _count(cell, content["vote"]["polarity"], content["user_id"] or "")
    return counts


def _count(cell: dict[str, Any], polarity: int, user: str) -> None:
    cell[{-1: "negative", 0: "neutral", 1: "positive"}[polarity]] += 1
    if polarity < 0:
        cell["users"][user] = cell["users"].get(user, 0) + 1


def content(row: ResolvedFeedback) -> dict[str, Any]:
    """A row in the same plain form as `Truth.content`."""
    if row.erased:
        defaults = ResolvedFeedback(row.version, True, None, row.tenant_id, row.request_id, updated_at=row.updated_at)
        return {"erased": True} if row == defaults else {"erased": True, "left over": row}
    plain = {name: _plain(getattr(row, name)) for name in ("vote", "implicit", *SIMPLE, *DIMENSIONS)}
    return {
        "erased": False,
        "vote_time": row.vote_time,
        "first_seen": row.first_seen,
        "metadata": dict(row.metadata),
        "stamps": {name: (stamp.time, stamp.event_id) for stamp in row.stamps for name in stamp.registers},
        "ahead": dict(row.clamped),
        **plain,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Vote):
        return {item.name: getattr(value, item.name) for item in fields(value)}
    return list(value) if isinstance(value, tuple) else value
