"""What the audit finds: differences summed up by tenant, hour, hop and kind, and the account of every hour. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

HOUR = 3_600_000
UNKNOWN = "?"  # the tenant of a record that nobody can read
MOST_EXAMPLES = 10
_ENTRIES = ("accepted", "stored", "refused", "parked", "erased", "missing")


@dataclass(slots=True)
class Difference:
    """One kind of difference in one hour of one tenant. `expected` and `found` are sums over all that differ."""

    hop: str
    what: str
    tenant: str
    hour: str
    expected: int = 0
    found: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Account:
    """One tenant's events of one hour; each is in exactly one of the entries after `accepted`."""

    accepted: int = 0
    stored: int = 0
    refused: int = 0
    parked: int = 0
    erased: int = 0
    missing: int = 0

    def add(self, entry: str) -> None:
        """Enter one event, which goes to `entry`."""
        self.accepted += 1
        setattr(self, entry, getattr(self, entry) + 1)


class Ledger:
    """Collects. Times are epoch ms; ids never hold what people wrote."""

    def __init__(self) -> None:
        self._differences: dict[tuple[str, str, str, int], Difference] = {}
        self._accounts: dict[tuple[str, int], Account] = {}
        self.unjudged: dict[str, int] = {}
        self.checked: dict[str, int] = {}

    def differs(self, hop: str, what: str, tenant: str, time: int, example: str, expected: int, found: int) -> None:
        """Note one difference: how many, or which count, was expected and found."""
        place = (hop, what, tenant, time // HOUR)
        if place not in self._differences:
            self._differences[place] = Difference(hop, what, tenant, hour_text(time))
        known = self._differences[place]
        known.expected += expected
        known.found += found
        if len(known.examples) < MOST_EXAMPLES and example not in known.examples:
            known.examples.append(example)

    def lacks(self, hop: str, what: str, tenant: str, time: int, example: str) -> None:
        """Note one thing that should be there and is not."""
        self.differs(hop, what, tenant, time, example, 1, 0)

    def exceeds(self, hop: str, what: str, tenant: str, time: int, example: str) -> None:
        """Note one thing that is there and should not be, or should be another."""
        self.differs(hop, what, tenant, time, example, 0, 1)

    def account(self, tenant: str, hour: int) -> Account:
        """The account of a tenant's hour; `hour` counts from 1970."""
        return self._accounts.setdefault((tenant, hour), Account())

    def pass_over(self, what: str, count: int = 1) -> None:
        """Count what was not judged, because events after the cut have moved it already."""
        self.unjudged[what] = self.unjudged.get(what, 0) + count

    def check(self, what: str, count: int = 1) -> None:
        """Count what was compared."""
        self.checked[what] = self.checked.get(what, 0) + count

    @property
    def balanced(self) -> bool:
        """True when nothing differs."""
        return not self._differences

    @property
    def differences(self) -> list[Difference]:
        """All differences, in a fixed order."""
        return [self._differences[place] for place in sorted(self._differences)]

    def accounts(self) -> list[dict[str, Any]]:
        """One object per tenant and hour."""
        return [
            {"tenant": tenant, "hour": hour_text(hour * HOUR), **_entries([account])}
            for (tenant, hour), account in sorted(self._accounts.items())
        ]

    def totals(self) -> dict[str, int]:
        """The sums of all accounts."""
        return _entries(self._accounts.values())


def _entries(accounts: Iterable[Account]) -> dict[str, int]:
    listed = list(accounts)
    return {name: sum(getattr(account, name) for account in listed) for name in _ENTRIES}


def hour_text(time: int) -> str:
    """The hour in which `time` (epoch ms) lies, as 2026-05-01T13:00Z."""
    return datetime.fromtimestamp(time // HOUR * HOUR / 1000, UTC).strftime("%Y-%m-%dT%H:%MZ")
