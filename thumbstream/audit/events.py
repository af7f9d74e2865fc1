"""One partition of the events topic: who accepted what, what must be refused, and what ClickHouse has of it. Pure.

A record costs 13 bytes here and its key about 130, once; the fold beside it is `recount`.
"""

from __future__ import annotations

from array import array
from collections.abc import Set
from dataclasses import dataclass, field

from schemas.constraints import violation
from schemas.events import AMEND, FeedbackEvent
from schemas.feedback_ids import event_key, event_partition, hash_in
from schemas.topics import murmur2
from thumbstream.audit.ledger import HOUR, UNKNOWN, Ledger
from thumbstream.audit.recount import Recount

TOO_LARGE = "too_large"
_NOTHING, _ADMITTED, _REFUSED, _LATE, _STORED = range(5)
# _LATE: refused for the size its row had reached. Only the fold knows that, so the sink stores the event all the same.


@dataclass(frozen=True, slots=True)
class Range:
    """The offsets that are judged, [start, end), of one of `partitions` partitions of `topic`.

    `whole`: nothing came before `start`, ever, so that the fold of these events is the fold of everything.
    """

    topic: str
    partition: int
    partitions: int
    start: int
    end: int
    whole: bool

    def letter_id(self, offset: int) -> str:
        """The id of the dead letter about an event."""
        return f"{self.topic}-{self.partition}-{offset}"


@dataclass(slots=True)
class Letters:
    """Reasons of the dead letters by id: of `resolve`, and of the `sink` (parked records).

    `since`: an event appended earlier (epoch ms) may have lost its letter to retention.
    """

    resolve: dict[str, str] = field(default_factory=dict)
    sink: dict[str, str] = field(default_factory=dict)
    since: int = 0


class EventBook:
    """What became of every event of a range."""

    def __init__(self, where: Range, letters: Letters, ledger: Ledger) -> None:
        self.where, self.recount = where, Recount()
        self._letters, self._ledger = letters, ledger
        size = max(where.end - where.start, 0)
        self._status = bytearray(size)
        self._keys, self._tenants, self._hours = (array("I", bytes(4 * size)) for _ in range(3))
        self._key_numbers: dict[bytes, int] = {}
        self._tenant_numbers: dict[str, int] = {}
        self._tenant_names: list[str] = []
        self.records = 0

    @property
    def gaps(self) -> int:
        """Offsets without a record: marks of transactions, or something that is lost."""
        return len(self._status) - self.records

    def take(self, offset: int, append_time: int, key: bytes, event: FeedbackEvent | None) -> None:
        """One record, in the order of the log; None is one that cannot be decoded."""
        place = offset - self.where.start
        tenant = UNKNOWN if event is None else event.tenant_id
        self.records += 1
        self._tenants[place] = self._tenant_number(tenant)
        self._keys[place] = self._key_numbers.setdefault(key, len(self._key_numbers))
        self._hours[place] = append_time // HOUR
        letter_id = self.where.letter_id(offset)
        reason = self._letters.resolve.get(letter_id)
        if event is None or self._must_refuse(key, event, reason):
            self._status[place] = _REFUSED
            if reason is None and append_time >= self._letters.since:
                self._ledger.lacks("resolve", "refused event without its dead letter", tenant, append_time, letter_id)
        elif reason == TOO_LARGE:
            self._status[place] = _LATE
        else:
            self._status[place] = _ADMITTED
            # In a part of the log one cannot know what stood when the amendment came. The row may be newer by it.
            if event.kind != AMEND or self.where.whole:
                self.recount.take(key, event, offset, append_time)
            if reason is not None:
                self._ledger.exceeds("resolve", "dead letter of a valid event", tenant, append_time, letter_id)

    def _must_refuse(self, key: bytes, event: FeedbackEvent, reason: str | None) -> bool:
        if violation(event) is not None or key != event_key(event):
            return True
        if event_partition(event, self.where.partitions) == self.where.partition:
            return False
        # A request that had its row here before the partitions grew is folded here still: its letter tells.
        return reason is not None or (self.where.whole and key not in self.recount)

    def stored(self, offset: int) -> None:
        """ClickHouse holds a row of this event."""
        place = offset - self.where.start
        status = self._status[place]
        if status in (_ADMITTED, _LATE, _STORED):
            self._status[place] = _STORED if status == _ADMITTED else status
            return
        what = "row of a refused event" if status else "row without a record on the topic"
        tenant, time = self._owner(place)
        self._ledger.exceeds("clickhouse", what, tenant, time, self.where.letter_id(offset))

    def close(self, erased: Set[bytes]) -> None:
        """Enter every event in its account. `erased`: keys whose events may have been deleted by now."""
        gone = {self._key_numbers[key] for key in erased if key in self._key_numbers}
        gone |= self._amendments_of({murmur2(key) for key in erased})
        for place, status in enumerate(self._status):
            if status == _NOTHING:
                continue
            tenant, time = self._owner(place)
            entry = self._entry(place, status, gone)
            self._ledger.account(tenant, time // HOUR).add(entry)
            if entry == "missing":
                example = self.where.letter_id(self.where.start + place)
                self._ledger.lacks("clickhouse", "event missing in feedback_events", tenant, time, example)
        self._ledger.check("events", self.records)

    def _amendments_of(self, hashes: Set[int]) -> set[int]:
        """The numbers of all keys of amendments that belong to one of these requests: their ids tell by the hash."""
        parts = ((key.partition(b"||")[2], number) for key, number in self._key_numbers.items())
        return {number for text, number in parts if text and hash_in(text.decode("ascii", "replace")) in hashes}

    def _entry(self, place: int, status: int, gone: Set[int]) -> str:
        if status in (_REFUSED, _LATE):
            return "refused"
        if status == _STORED:
            return "stored"
        if self.where.letter_id(self.where.start + place) in self._letters.sink:
            return "parked"
        return "erased" if self._keys[place] in gone else "missing"

    def _owner(self, place: int) -> tuple[str, int]:
        """Tenant and hour (its begin, epoch ms) of a record; nobody's when there is none."""
        if self._status[place] == _NOTHING:
            return UNKNOWN, 0
        return self._tenant_names[self._tenants[place]], self._hours[place] * HOUR

    def _tenant_number(self, tenant: str) -> int:
        if tenant not in self._tenant_numbers:
            self._tenant_numbers[tenant] = len(self._tenant_names)
            self._tenant_names.append(tenant)
        return self._tenant_numbers[tenant]


def tenant_of(key: bytes) -> str:
    """The tenant that a key names."""
    text = key.decode("utf-8", "replace").partition("|")[0]
    return text.replace("%7C", "|").replace("%25", "%") or UNKNOWN
