"""What an audit is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.topics import Topics, version_of
from thumbstream.audit.cells import ALWAYS
from thumbstream.audit.ledger import Ledger


class NotJudgedError(Exception):
    """The audit cannot tell; the message says why."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is audited: events appended at or after `since` (epoch ms), waiting `wait` seconds for the stages.

    `rollups`: what is counted by now.
    """

    topics: Topics
    epoch: int = 1
    since: int | None = None
    wait: float = 30.0
    rollups: frozenset[str] = ALWAYS

    def versions(self, offsets: Mapping[int, int]) -> dict[int, int]:
        """Partition -> the version of its offset."""
        return {partition: version_of(self.epoch, offset) for partition, offset in offsets.items()}


@dataclass(slots=True)
class Findings:
    """What came out. `cut`: partition -> where judging ended; `gaps`: partition -> offsets without a record.

    `lag` counts offsets by stage. Ages are seconds, None where there is nothing.
    """

    ledger: Ledger = field(default_factory=Ledger)
    cut: dict[int, int] = field(default_factory=dict)
    gaps: dict[int, int] = field(default_factory=dict)
    lag: dict[str, int] = field(default_factory=dict)
    mark_age: float | None = None
    stored_age: float | None = None
