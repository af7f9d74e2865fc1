"""The rows of one partition folded a second time, in the plainest way: the greatest stamp of each register. Pure.

Imports nothing of the processors, so that a mistake there is not repeated here. A request costs about half a kilobyte
and the text that stands in it: states are kept as bytes, and only one partition is held at a time.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from schemas.events import AMEND, PROMOTED, FeedbackEvent, ResolvedFeedback, Vote, bare
from schemas.feedback_ids import hash_in
from schemas.topics import murmur2

Register = tuple[int, str, str]  # effective time, event id, value as JSON: compared in that order
NULL = "null"
_SAID = ("comment", "correction", "reasons", "tags", "flagged", "user_id")
_TAKEN_BACK = ("vote", "comment", "correction", "reasons", "flagged")
_MOST_AHEAD = 64  # remembered clocks that ran ahead: part of what a row promises
_DIMENSION = 256  # characters
_VOTE = Vote.__slots__
_json = json.JSONEncoder(sort_keys=True).encode  # a total order over values is all that is needed


@dataclass(slots=True)
class State:
    """What was said about one request. `version` is the offset of the last event that changed it, without the epoch."""

    offset: int = -1
    changed_at: int = 0
    erased: bool = False
    first_seen: int | None = None
    registers: dict[str, Register] = field(default_factory=dict)
    ahead: dict[str, int] = field(default_factory=dict)

    def take(self, event: FeedbackEvent, offset: int, append_time: int) -> None:
        """Fold one event."""
        if self.erased or event.kind == "preference":
            return
        if event.kind == "erase":
            self.erased, self.registers, self.ahead = True, {}, {}
            changed = True
        else:
            changed = self._join(event, append_time)
        if changed:
            self.offset, self.changed_at = offset, append_time

    def amend(self, event: FeedbackEvent, offset: int, append_time: int) -> None:
        """Fold one amendment, if it is about the vote that stands now."""
        vote = None if self.erased else json.loads(self.registers.get("vote", (0, "", NULL))[2])
        if vote is None or vote["feedback_id"] != event.feedback_id:
            return
        before = dict(self.ahead)
        time = self._amended_at(event, append_time)
        if self._claim(_amended(event, vote), time, event.event_id) or self.ahead != before:
            self.offset, self.changed_at = offset, append_time

    def _amended_at(self, event: FeedbackEvent, append_time: int) -> int:
        """From its first arrival on, and always after the vote; a replay's own time is taken as any event's."""
        if event.event_time is not None:
            time = self._effective(event, append_time)
            self._remember_ahead(event, append_time)
            return time
        if event.event_id not in self.ahead:
            voted = self.registers["vote"][:2]
            time = append_time if (append_time, event.event_id) > voted else voted[0] + 1
            self._remember(event.event_id, time)
            return time
        return self.ahead[event.event_id]

    def _join(self, event: FeedbackEvent, append_time: int) -> bool:
        time = self._effective(event, append_time)
        changed = self._remember_ahead(event, append_time)
        return self._claim(_written(event), time, event.event_id) or changed

    def _claim(self, written: Mapping[str, str], time: int, event_id: str) -> bool:
        changed = False
        for name, value in written.items():
            stamped = (time, event_id, value)
            if name not in self.registers or stamped > self.registers[name]:
                self.registers[name] = stamped
                changed = True
        if self.first_seen is None or time < self.first_seen:
            self.first_seen = time
            changed = True
        return changed

    def _effective(self, event: FeedbackEvent, append_time: int) -> int:
        if event.event_time is None:
            return append_time
        return min(event.event_time, append_time, self.ahead.get(event.event_id, append_time))

    def _remember_ahead(self, event: FeedbackEvent, append_time: int) -> bool:
        if event.event_time is None or event.event_time <= append_time or event.event_id in self.ahead:
            return False
        self._remember(event.event_id, append_time)
        return True

    def _remember(self, event_id: str, time: int) -> None:
        self.ahead[event_id] = time
        if len(self.ahead) > _MOST_AHEAD:
            del self.ahead[min(self.ahead, key=lambda event_id: (self.ahead[event_id], event_id))]


class Recount:
    """The states of one partition by key, each packed; and which requests had a vote under which feedback id."""

    def __init__(self) -> None:
        self._packed: dict[bytes, bytes] = {}
        self._named: dict[tuple[str, str], set[bytes]] = {}

    def take(self, key: bytes, event: FeedbackEvent, offset: int, append_time: int) -> None:
        """Fold one event, in the order of the log. A preference alone makes no row."""
        if event.kind == AMEND:
            for named in sorted(self._named.get((event.tenant_id, event.feedback_id or ""), ())):
                state = _unpacked(self._packed[named])
                state.amend(event, offset, append_time)
                self._pack(named, state)
            return
        packed = self._packed.get(key)
        state = State() if packed is None else _unpacked(packed)
        state.take(event, offset, append_time)
        self._pack(key, state)
        key_hash = hash_in(event.feedback_id)
        if key_hash is not None and key_hash == murmur2(key) and key in self._packed:
            self._named.setdefault((event.tenant_id, event.feedback_id or ""), set()).add(key)

    def _pack(self, key: bytes, state: State) -> None:
        if state.offset >= 0:
            values = (state.offset, state.changed_at, state.erased, state.first_seen, state.registers, state.ahead)
            self._packed[key] = marshal.dumps(values)

    def __contains__(self, key: bytes) -> bool:
        return key in self._packed

    def get(self, key: bytes) -> State | None:
        """What the events say of one request; None when none of them made a row."""
        packed = self._packed.get(key)
        return None if packed is None else _unpacked(packed)

    def items(self) -> Iterator[tuple[bytes, State]]:
        """Every request."""
        return ((key, _unpacked(packed)) for key, packed in self._packed.items())


def _unpacked(packed: bytes) -> State:
    return State(*marshal.loads(packed))  # noqa: S302 - bytes that this process has packed itself


def _written(event: FeedbackEvent) -> dict[str, str]:
    """Register -> value, as JSON, that the event claims."""
    written = {f"metadata.{key}": _json(text) for key, text in event.metadata.items()}
    explicit = event.signal == "explicit"
    if event.kind == "retract":
        written.update(dict.fromkeys(_TAKEN_BACK if explicit else ("implicit",), NULL))
    elif event.polarity is not None:
        written["vote" if explicit else "implicit"] = _vote_said(event, event.polarity)
    for name in _SAID:
        if (value := getattr(event, name)) is not None:
            written[name] = _json(value)
    return written


def _amended(event: FeedbackEvent, vote: Mapping[str, Any]) -> dict[str, str]:
    """Register -> value, as JSON, that an amendment of `vote` claims."""
    written = _written(replace(event, value=None))
    new = {**vote, "source": event.source}
    if event.weight is not None:
        new["weight"] = event.weight
    if event.value is not None:
        new.update(dict.fromkeys(("score", "scale_min", "scale_max")))
        new.update(value=event.value, polarity=(event.value > 0) - (event.value < 0))
    if event.weight is not None or event.value is not None:
        written["vote"] = _json(new)
    return written


def _vote_said(event: FeedbackEvent, polarity: int) -> str:
    said: dict[str, Any] = {name: getattr(event, name) for name in _VOTE}
    weight = 1.0 if event.weight is None else event.weight
    return _json({**said, "polarity": polarity, "weight": weight})


def registers_of(row: ResolvedFeedback) -> dict[str, Register]:
    """The registers that a published row holds."""
    return {
        name: (stamp.time, stamp.event_id, _held(row, name)) for stamp in row.stamps for name in stamp.registers
    }  # fmt: skip


def _held(row: ResolvedFeedback, register: str) -> str:
    prefix, dot, key = register.partition(".")
    value = row.metadata.get(key) if dot and prefix == "metadata" else getattr(row, register, None)
    return _json({name: getattr(value, name) for name in _VOTE} if isinstance(value, Vote) else value)


def disagreement(state: State, row: ResolvedFeedback, version: int) -> str | None:
    """What of `row` is not as the whole history says, None when all is; `version` is the state's, with its epoch."""
    if row.version != version:
        return "version"
    if row.erased or state.erased:
        return None if row.erased and state.erased else "erased"
    held = registers_of(row)
    wrong = sorted(name for name in held.keys() | state.registers.keys() if held.get(name) != state.registers.get(name))
    if wrong:
        return f"register {wrong[0]}"
    if row.first_seen != state.first_seen:
        return "first_seen"
    return "clamped" if dict(row.clamped) != state.ahead else _contradiction(row, held)


def loss(state: State, row: ResolvedFeedback) -> str | None:
    """What of a part of the history cannot be in `row`: every register must be as new as the part says, or newer."""
    if row.erased:
        return None
    if state.erased:
        return "erased"
    held = registers_of(row)
    for name, register in sorted(state.registers.items()):
        forgiven = register[1] in row.clamped  # its effective time was fixed before the part began
        if not forgiven and held.get(name, (-1, "", "")) < register:
            return f"register {name}"
    return _contradiction(row, held)


def _contradiction(row: ResolvedFeedback, held: Mapping[str, Register]) -> str | None:
    """What of a row does not follow from its own registers."""
    time, _, vote = held.get("vote", (0, "", NULL))
    if row.vote_time != (None if vote == NULL else time):
        return "vote_time"
    return next((name for name in PROMOTED if getattr(row, name) != _dimension(row.metadata, name)), None)


def _dimension(metadata: Mapping[str, str], name: str) -> str | None:
    text = metadata.get(name)
    return None if text is None else bare(text)[:_DIMENSION] or None
