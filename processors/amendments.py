"""Changes of a vote by its feedback id: which row answers to an id, and what an amendment writes into it. Pure.

An amendment means the same to every row of its partition: a row takes it if, by then, its standing vote has that id.
So each row stays a function of the log alone; the index only spares looking at all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from processors.deduplicate import clamp, effective_time, remember_clamped
from schemas.events import FeedbackEvent, ResolvedFeedback, Vote
from schemas.feedback_ids import hash_in
from schemas.topics import murmur2

# The literal part first: then most rows cost a microsecond.
_IN_BYTES = re.compile(rb"-8(?<=([0-9a-f]{8})-[0-9a-f]{4}-8)[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


class FeedbackIndex:
    """The keys of rows that may have a feedback id, by the hash that it carries. Derived from rows, only in memory.

    It grows by appending: entries that no longer hold are found out when the row is looked at. About 100 bytes a row
    that has an id; none for others.
    """

    def __init__(self) -> None:
        self._keys: dict[int, bytes | dict[bytes, None]] = {}

    def note(self, key: bytes, framed: bytes) -> None:
        """A row as it is kept, encoded. Whatever looks like an id for this key is taken for one: decoding costs more.

        Ids for other keys, which anybody may write into a comment, are never the row's own.
        """
        found = {int(one[1], 16) for one in _IN_BYTES.finditer(framed)}
        if found and (own := murmur2(key)) in found:
            self._add(own, key)

    def _add(self, key_hash: int, key: bytes) -> None:
        held = self._keys.setdefault(key_hash, key)
        if isinstance(held, dict):
            held[key] = None
        elif held != key:
            self._keys[key_hash] = {held: None, key: None}

    def keys(self, key_hash: int) -> tuple[bytes, ...]:
        """The keys of all rows that may have an id with this hash."""
        held = self._keys.get(key_hash, ())
        return (held,) if isinstance(held, bytes) else tuple(held)


def answers(key: bytes, row: ResolvedFeedback | None, event: FeedbackEvent) -> bool:
    """Whether the row of `key` takes the amendment: its standing vote has the id, and the id was made for this key."""
    if row is None or row.vote is None or row.tenant_id != event.tenant_id:
        return False
    return row.vote.feedback_id == event.feedback_id and hash_in(event.feedback_id) == murmur2(key)


def amended_vote(vote: Vote, event: FeedbackEvent) -> Vote | None:
    """The vote with what the amendment says of it, or None when it says nothing of it."""
    if event.value is None and event.weight is None:
        return None
    weight = vote.weight if event.weight is None else event.weight
    if event.polarity is None:
        return replace(vote, weight=weight, source=event.source)
    return Vote(event.polarity, event.value, weight=weight, feedback_id=vote.feedback_id, source=event.source)


def amendment_time(
    event: FeedbackEvent, append_time: int, held: tuple[int, str], clamped: Mapping[str, int]
) -> tuple[int, Mapping[str, int]]:
    """(when the amendment counts, `clamped` with it remembered). `held` is the stamp of the vote that it changes.

    It counts from its first arrival on, and never before the vote that it names: a broker's clock may go back, and two
    events may share a millisecond. One with a time of its own is a dead letter's replay: it counts where it belonged.
    """
    if event.event_time is not None:
        return effective_time(event, append_time, clamped), remember_clamped(event, append_time, clamped)
    if event.event_id in clamped:
        return clamped[event.event_id], clamped
    time = append_time if (append_time, event.event_id) > held else held[0] + 1
    return time, clamp(clamped, event.event_id, time)
