"""The truth about rows and cells, recounted event by event in the plainest way, with everything that ever was true.

Shares nothing with the processors. Each published record is a pure function of the log prefix it names by its version,
so not only the last state can be checked but every record that was ever written.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.codec import Codec
from schemas.events import PROMOTED, FeedbackEvent, ResolvedFeedback, Stamp, Vote
from schemas.feedback_ids import hash_in
from schemas.topics import murmur2, version_of
from tests.chaos.log import Entry
from tests.chaos.plan import MINUTE, RULES
from tests.chaos.traffic import EXPECTED

EPOCH = 1
CellName = tuple[str, str, tuple[str, ...], int, int]  # tenant, rollup, group, minute, source partition
Counts = tuple[int, int, int, tuple[tuple[str, int], ...]]  # negative, positive, neutral, users as published
NOTHING: Counts = (0, 0, 0, ())


@dataclass(slots=True)
class _Request:
    """What was ever said about one request: register -> (time, event id, value), the greatest of each."""

    tenant: str
    request: str
    registers: dict[str, tuple[int, str, Any]] = field(default_factory=dict)
    erased: bool = False
    first_seen: int | None = None
    ahead: dict[str, int] = field(default_factory=dict)  # event id -> effective time of a clock that ran ahead


class Recount:
    """Feed it the events topic, then ask what was true at any version."""

    def __init__(self) -> None:
        self._codec = Codec()
        self._requests: dict[bytes, _Request] = {}
        self._named: dict[tuple[str, str | None], set[bytes]] = defaultdict(set)  # tenant and feedback id -> keys
        self._votes: dict[CellName, dict[bytes, tuple[int, str]]] = defaultdict(dict)
        self.rows: dict[bytes, dict[int, ResolvedFeedback]] = defaultdict(dict)  # key -> version -> row
        self.cells: dict[CellName, list[tuple[int, Counts]]] = defaultdict(list)  # name -> (version, counts), rising
        self.touches: dict[int, list[tuple[int, CellName]]] = defaultdict(list)  # partition -> (offset, cell)
        self.appends: dict[int, list[tuple[int, int]]] = defaultdict(list)  # partition -> (offset, append time)
        self.refused: dict[tuple[int, int], Entry] = {}
        self.events = 0

    def feed(self, entries: Iterable[Entry]) -> None:
        """Count all entries, which must come in offset order within each partition."""
        for entry in entries:
            self.events += 1
            self.appends[entry.partition].append((entry.offset, entry.append_time))
            if EXPECTED in entry.headers:
                self.refused[entry.partition, entry.offset] = entry
            else:
                self._fold(entry, self._codec.decode_as(FeedbackEvent, entry.value or b""))

    def newest(self, key: bytes) -> ResolvedFeedback:
        """The row of `key` now."""
        return self.rows[key][max(self.rows[key])]

    def cell_at(self, name: CellName, version: int) -> Counts:
        """What the cell held after every event up to `version`."""
        history = self.cells.get(name, [])
        place = bisect_right(history, version, key=lambda entry: entry[0])
        return history[place - 1][1] if place else NOTHING

    def _fold(self, entry: Entry, event: FeedbackEvent) -> None:
        if event.kind == "preference":
            return
        if event.kind == "amend":
            for key in sorted(self._named[event.tenant_id, event.feedback_id]):
                if _stands(self._requests[key], event):
                    self._take(key, entry, event, _amend)
            return
        self._requests.setdefault(entry.key, _Request(event.tenant_id, event.request_id))
        if event.kind == "vote" and hash_in(event.feedback_id) == murmur2(entry.key):
            self._named[event.tenant_id, event.feedback_id].add(entry.key)
        self._take(entry.key, entry, event, _join)

    def _take(
        self, key: bytes, entry: Entry, event: FeedbackEvent, join: Callable[[_Request, FeedbackEvent, int], bool]
    ) -> None:
        request, version = self._requests[key], version_of(EPOCH, entry.offset)
        before = _places(request, entry.partition)
        if join(request, event, entry.append_time):
            self.rows[key][version] = _row(request, version, entry.append_time)
            self._recount(key, entry, version, before, _places(request, entry.partition))

    def _recount(
        self, key: bytes, entry: Entry, version: int, before: dict[CellName, Any], after: dict[CellName, Any]
    ) -> None:
        if before == after:
            return
        for name in before:
            del self._votes[name][key]
        for name, vote in after.items():
            self._votes[name][key] = vote
        for name in {**before, **after}:
            self.cells[name].append((version, _counts(self._votes[name].values())))
            self.touches[entry.partition].append((entry.offset, name))


def _written(event: FeedbackEvent) -> dict[str, Any]:
    """Register -> value that the event claims."""
    written: dict[str, Any] = {f"metadata.{key}": text for key, text in event.metadata.items()}
    target = "vote" if event.signal == "explicit" else "implicit"
    if event.kind == "vote":
        weight = 1.0 if event.weight is None else event.weight
        scale = (event.score, event.scale_min, event.scale_max)
        written[target] = Vote(_polarity(event), event.value, *scale, weight, event.feedback_id, event.source)
    if event.kind == "retract":
        more = ("comment", "correction", "reasons", "flagged") if target == "vote" else ()
        written |= dict.fromkeys((target, *more))
    for name in ("comment", "correction", "reasons", "tags", "flagged", "user_id"):
        if getattr(event, name) is not None:
            written[name] = getattr(event, name)
    return written


def _polarity(event: FeedbackEvent) -> int:
    if event.rating is not None:
        return 1 if event.rating else -1
    if event.value is not None:
        return 1 if event.value > 0 else -1 if event.value < 0 else 0
    assert event.score is not None
    assert event.scale_min is not None
    assert event.scale_max is not None
    width = event.scale_max - event.scale_min
    above = event.score - event.scale_min
    return 1 if above >= 0.75 * width else -1 if above <= 0.25 * width else 0


def _join(request: _Request, event: FeedbackEvent, append_time: int) -> bool:
    """Take the event in; True when anything changed."""
    if request.erased:
        return False
    if event.kind == "erase":
        request.erased = True
        return True
    changed = False
    time = append_time if event.event_time is None else min(event.event_time, append_time)
    if event.event_time is not None:
        if event.event_time > append_time and event.event_id not in request.ahead:
            request.ahead[event.event_id] = append_time
            changed = True
        time = request.ahead.get(event.event_id, time)
    return _claim(request, event, time, _written(event)) or changed


def _stands(request: _Request, event: FeedbackEvent) -> bool:
    """Whether the vote that an amendment names is the one that stands."""
    _, _, vote = request.registers.get("vote", (0, "", None))
    return not request.erased and vote is not None and vote.feedback_id == event.feedback_id


def _amend(request: _Request, event: FeedbackEvent, append_time: int) -> bool:
    """Take an amendment of the standing vote in; only what comes first under its id counts."""
    time, event_id, vote = request.registers["vote"]
    is_new = event.event_id not in request.ahead
    if is_new:
        later = append_time if (append_time, event.event_id) > (time, event_id) else time + 1
        request.ahead[event.event_id] = later
    written: dict[str, Any] = {f"metadata.{key}": text for key, text in event.metadata.items()}
    written |= {name: said for name in ("comment", "user_id") if (said := getattr(event, name)) is not None}
    weight = vote.weight if event.weight is None else event.weight
    if event.value is not None:
        new = Vote(_polarity(event), event.value, None, None, None, weight, vote.feedback_id, event.source)
        written["vote"] = new
    elif event.weight is not None:
        written["vote"] = replace(vote, weight=weight, source=event.source)
    return _claim(request, event, request.ahead[event.event_id], written) or is_new


def _claim(request: _Request, event: FeedbackEvent, time: int, written: dict[str, Any]) -> bool:
    changed = False
    for name, value in written.items():
        held = request.registers.get(name)
        if held is None or (time, event.event_id) > held[:2]:
            request.registers[name] = (time, event.event_id, value)
            changed = True
    if request.first_seen is None or time < request.first_seen:
        request.first_seen = time
        changed = True
    return changed


def _row(request: _Request, version: int, append_time: int) -> ResolvedFeedback:
    if request.erased:
        return ResolvedFeedback(version, True, None, request.tenant, request.request, updated_at=append_time)
    registers = request.registers
    values = {name: value for name, (_, _, value) in registers.items() if not name.startswith("metadata.")}
    dimensions: dict[str, Any] = {name: _dimension(request, name) for name in PROMOTED}
    standing = values.get("vote") is not None
    return ResolvedFeedback(
        version,
        False,
        registers["vote"][0] if standing else None,
        request.tenant,
        request.request,
        metadata={name[9:]: text for name, (_, _, text) in registers.items() if name[8:9] == "." and text is not None},
        first_seen=request.first_seen or 0,
        updated_at=append_time,
        stamps=_stamps(request),
        clamped=dict(request.ahead),
        **values,
        **dimensions,
    )


def _dimension(request: _Request, name: str) -> str | None:
    _, _, text = request.registers.get(f"metadata.{name}", (0, "", None))
    return None if text is None else str(json.loads(text)) or None


def _stamps(request: _Request) -> tuple[Stamp, ...]:
    events = sorted({held[:2] for held in request.registers.values()})
    return tuple(
        Stamp(*event, tuple(sorted(name for name, held in request.registers.items() if held[:2] == event)))
        for event in events
    )


def _places(request: _Request, partition: int) -> dict[CellName, tuple[int, str]]:
    """The cells that the request counts in, and as what: (polarity, user)."""
    time, _, vote = request.registers.get("vote", (0, "", None))
    if request.erased or vote is None:
        return {}
    _, _, user = request.registers.get("user_id", (0, "", None))
    counted, minute, source = (vote.polarity, user or ""), time // MINUTE * MINUTE, EPOCH * 1000 + partition
    return {
        (request.tenant, "+".join(rollup) or "tenant", _group(request, rollup), minute, source): counted
        for rollup in dict.fromkeys(rule.rollup for rule in RULES)
    }


def _group(request: _Request, rollup: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_dimension(request, name) or "(none)" for name in rollup)


def _counts(votes: Iterable[tuple[int, str]]) -> Counts:
    polarities, users = [0, 0, 0], dict[str, int]()
    for polarity, user in votes:
        polarities[polarity] += 1  # 0 neutral, 1 positive, -1 (the last) negative
        if polarity < 0:
            users[user] = users.get(user, 0) + 1
    return polarities[-1], polarities[1], polarities[0], largest(users)


def largest(users: dict[str, int]) -> tuple[tuple[str, int], ...]:
    """The 16 users with most negatives as they are published, in a fixed order."""
    return tuple(sorted(sorted(users.items(), key=lambda entry: (-entry[1], entry[0]))[:16]))
