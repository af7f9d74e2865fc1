"""All cells of all minutes: as the rows say, as the topic says, and as ClickHouse says. Pure.

A cell costs about 230 bytes here, and a little more when it counts negative votes of known users.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from processors.minutes import rollup_name
from processors.monitors import rollups
from schemas.events import MISSING, MinuteCount, ResolvedFeedback
from schemas.topics import group_key
from thumbstream.audit.ledger import Ledger

MINUTE = 60_000
TENANT = "tenant"  # the rollup over everything of a tenant
ALWAYS = frozenset(map(rollup_name, rollups()))  # what is counted whatever monitors say
_PARTITIONS = 1000
_MINUTES = 1 << 33
_TOP = 16
_NONE = -1

Counts = tuple[int, int, int]  # negative, positive, neutral


class Name(NamedTuple):
    """Which cell: `group` as in ClickHouse, `minute` in epoch ms, `partition` of the events topic."""

    tenant: str
    rollup: str
    group: str
    minute: int
    partition: int

    def __str__(self) -> str:
        return f"{self.rollup}|{self.group} {self.minute} partition {self.partition}"


@dataclass(slots=True)
class Cells:
    """Slots by packed name. `cuts` gives, by partition, the version from which on nothing is judged.

    `whole`: the minutes topic still holds all that was ever published, so that a cell may not be absent from it.
    `counted`: the rollups of today. Cells of others were right when they were written, and may be out of date; one that
    is not counted ALWAYS may have begun at any time, so its cells may be absent.
    `rollups`: what votes are recounted by, beside all that the topic is seen to hold.
    """

    cuts: Mapping[int, int]
    whole: bool
    counted: frozenset[str] = ALWAYS
    rollups: set[str] = field(default_factory=lambda: {TENANT})
    moving: set[tuple[str, int]] = field(default_factory=set)  # (tenant, minute) of tenants' cells not judged
    _ahead: list[tuple[Name, int, Counts]] = field(default_factory=list)  # cells of ClickHouse from the cut on
    _groups: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _names: list[tuple[str, str, str]] = field(default_factory=list)
    _slots: dict[int, int] = field(default_factory=dict)
    _expected: array[int] = field(default_factory=lambda: array("q"))
    _found: array[int] = field(default_factory=lambda: array("q"))
    _versions: array[int] = field(default_factory=lambda: array("q"))
    _stored: bytearray = field(default_factory=bytearray)
    _parked: set[int] = field(default_factory=set)
    _users: dict[int, dict[str, int]] = field(default_factory=dict)
    _published_users: dict[int, Mapping[str, int]] = field(default_factory=dict)

    def published(self, cell: MinuteCount, partition: int, *, parked: bool) -> None:
        """Take one record of the topic; the newest version stands. `parked`: the sink could not store it."""
        self.rollups.add(cell.rollup)
        slot = self._slot(Name(cell.tenant_id, cell.rollup, group_key(cell.group), cell.minute, partition))
        if cell.version < self._versions[slot]:
            return
        self._versions[slot] = cell.version
        self._found[3 * slot : 3 * slot + 3] = array("q", (cell.negative, cell.positive, cell.neutral))
        (self._parked.add if parked else self._parked.discard)(slot)
        if cell.top_negative_users:
            self._published_users[slot] = cell.top_negative_users
        else:
            self._published_users.pop(slot, None)

    def vote(self, row: ResolvedFeedback, partition: int) -> None:
        """Count the row, if a vote stands in it, in every rollup that the topic knows."""
        if row.erased or row.vote is None or row.vote_time is None:
            return
        polarity, minute = row.vote.polarity, row.vote_time // MINUTE * MINUTE
        for rollup in self.rollups:
            slot = self._slot(Name(row.tenant_id, rollup, _group(row, rollup), minute, partition))
            self._expected[3 * slot + (0 if polarity < 0 else 1 if polarity > 0 else 2)] += 1
            if polarity < 0:
                users, user = self._users.setdefault(slot, {}), row.user_id or ""
                users[user] = users.get(user, 0) + 1

    def judge_topic(self, ledger: Ledger) -> None:
        """Every cell of the topic equals the count of the rows; with a whole topic, none is absent."""
        for packed, slot in self._slots.items():
            name, version = self._name(packed), self._versions[slot]
            expected, found = self._three(self._expected, slot), self._three(self._found, slot)
            if version >= self.cuts[name.partition] or name.rollup not in self.counted:
                self._pass_over(ledger, "cells", name)
            elif version == _NONE:
                if self.whole and any(expected) and name.rollup in ALWAYS:
                    _differ(ledger, "minutes", "cell absent from the topic", name, expected, (0, 0, 0))
            else:
                ledger.check("cells")
                self._judge_one(ledger, name, slot, expected, found)

    def _judge_one(self, ledger: Ledger, name: Name, slot: int, expected: Counts, found: Counts) -> None:
        if expected != found:
            _differ(ledger, "minutes", "cell differs from a recount of the rows", name, expected, found)
        elif largest(self._users.get(slot, {})) != dict(self._published_users.get(slot, {})):
            _differ(ledger, "minutes", "top_negative_users differ from a recount", name, expected, found)

    def stored(self, ledger: Ledger, name: Name, version: int, counts: Counts) -> None:
        """Take a cell of ClickHouse: it equals the topic's or, where that holds none any more, the recount."""
        slot = self._slot(name)
        self._stored[slot] = 1
        known = self._versions[slot]
        unknown = known == _NONE and name.rollup not in ALWAYS
        if version >= self.cuts[name.partition]:
            self._ahead.append((name, version, counts))
        if unknown or max(version, known) >= self.cuts[name.partition]:
            self._pass_over(ledger, "stored cells", name)
            return
        ledger.check("stored cells")
        expected = self._three(self._expected if known == _NONE else self._found, slot)
        if slot not in self._parked and (counts != expected or known not in (_NONE, version)):
            _differ(ledger, "clickhouse", "cell differs from the topic", name, expected, counts)

    def judge_absent(self, ledger: Ledger) -> None:
        """No cell that should be in ClickHouse is missing there."""
        for packed, slot in self._slots.items():
            if self._stored[slot] or slot in self._parked:
                continue
            name, version = self._name(packed), self._versions[slot]
            expected = self._three(self._expected if version == _NONE else self._found, slot)
            owed = version != _NONE or (any(expected) and name.rollup in ALWAYS)
            if version < self.cuts[name.partition] and owed:
                _differ(ledger, "clickhouse", "cell missing", name, expected, (0, 0, 0))

    def judge_end(self, ledger: Ledger, ends: Mapping[int, int]) -> None:
        """No cell may have a version at or above that of its partition's end: no event can have made it."""
        for packed, slot in self._slots.items():
            if self._versions[slot] >= ends[packed % _PARTITIONS]:
                name = self._name(packed)
                found = self._three(self._found, slot)
                _differ(ledger, "minutes", "cell newer than the events topic", name, (0, 0, 0), found)

    def judge_stored_end(self, ledger: Ledger, ends: Mapping[int, int]) -> None:
        """The same for ClickHouse's; `ends` are those after its cells were read."""
        for name, version, counts in self._ahead:
            if version >= ends[name.partition]:
                _differ(ledger, "clickhouse", "cell newer than the events topic", name, (0, 0, 0), counts)

    def _pass_over(self, ledger: Ledger, what: str, name: Name) -> None:
        ledger.pass_over(what)
        if name.rollup == TENANT:
            self.moving.add((name.tenant, name.minute))

    def _slot(self, name: Name) -> int:
        place = (name.tenant, name.rollup, name.group)
        group = self._groups.get(place)
        if group is None:
            group = self._groups[place] = len(self._names)
            self._names.append(place)
        packed = (group * _MINUTES + name.minute // MINUTE) * _PARTITIONS + name.partition
        slot = self._slots.setdefault(packed, len(self._versions))
        if slot == len(self._versions):
            self._versions.append(_NONE)
            self._stored.append(0)
            self._expected.extend((0, 0, 0))
            self._found.extend((0, 0, 0))
        return slot

    def _name(self, packed: int) -> Name:
        place, partition = divmod(packed, _PARTITIONS)
        group, minute = divmod(place, _MINUTES)
        return Name(*self._names[group], minute * MINUTE, partition)

    @staticmethod
    def _three(counts: array[int], slot: int) -> Counts:
        negative, positive, neutral = counts[3 * slot : 3 * slot + 3]
        return negative, positive, neutral


def largest(users: Mapping[str, int]) -> dict[str, int]:
    """The 16 users with most negatives, by count and then by name."""
    return dict(sorted(users.items(), key=lambda entry: (-entry[1], entry[0]))[:_TOP])


def _group(row: ResolvedFeedback, rollup: str) -> str:
    if rollup == TENANT:
        return ""
    return group_key([getattr(row, dimension) or MISSING for dimension in rollup.split("+")])


def _differ(ledger: Ledger, hop: str, what: str, name: Name, expected: Counts, found: Counts) -> None:
    example = f"{name}: {_text(expected)} expected, {_text(found)} found"
    ledger.differs(hop, what, name.tenant, name.minute, example, sum(expected), sum(found))


def _text(counts: Counts) -> str:
    return "-{}/+{}/{}".format(*counts)
