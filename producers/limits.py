"""Rate limits: a token bucket per name, in bounded memory. Pure: time comes in as an argument."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from typing import NamedTuple

_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/([0-9]{1,9})")
_NAMES = 100_000  # about 20 MB
_ROUNDING = 0.001  # of one: sums of floating point numbers must not cost anybody the last of a burst


class Rate(NamedTuple):
    """So much per second on and on, and so much at once after a pause."""

    per_second: float
    burst: int

    def __str__(self) -> str:
        """The text that `parse_rate` reads."""
        return f"{self.per_second:.6f}".rstrip("0").rstrip(".") + f"/{self.burst}"


def parse_rate(text: str) -> Rate | None:
    """`20/100`: 20 a second, 100 at once. Empty: no limit. ValueError for anything else."""
    if not text.strip():
        return None
    found = _RATE.fullmatch(text.strip())
    if found is None or not float(found[1]) or not int(found[2]):
        raise ValueError("a limit is PER_SECOND/AT_ONCE, as 20/100, or empty")
    return Rate(float(found[1]), int(found[2]))


class Limiter:
    """One bucket per name. Nothing is remembered of a full bucket, so only names that were busy lately take memory.

    A bucket is kept as the moment at which it is full again. Beyond `names` buckets the one that was used longest ago
    is forgotten, as if it were full: somebody may then be let through too early, but nobody is ever locked out.
    """

    def __init__(self, rate: Rate | None, *, names: int = _NAMES) -> None:
        self._rate, self._names = rate, names
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, name: str, now: float) -> float:
        """Seconds until one more would be let through; 0 for now. Takes nothing."""
        if self._rate is None:
            return 0.0
        until_full = self._full_at.get(name, now) - now
        wait = until_full - (self._rate.burst - 1) / self._rate.per_second
        return wait if wait * self._rate.per_second > _ROUNDING else 0.0

    def take(self, name: str, now: float) -> float:
        """Take one if it is there. 0 when it was, else the seconds to wait; what is refused takes nothing."""
        wait = self.wait(name, now)
        if not wait:
            self.charge(name, now, 1)
        return wait

    def charge(self, name: str, now: float, amount: int) -> None:
        """Take `amount`, also what is not there: it must come in again before anything is let through."""
        if self._rate is None or amount <= 0:
            return
        self._full_at[name] = max(self._full_at.get(name, now), now) + amount / self._rate.per_second
        self._full_at.move_to_end(name)
        self._forget(now)

    def give_back(self, name: str, now: float) -> None:
        """Undo one `take`."""
        if self._rate is not None and name in self._full_at:
            self._full_at[name] -= 1 / self._rate.per_second
            self._forget(now)

    def _forget(self, now: float) -> None:
        """Two at a time, so that memory shrinks again, and no call takes long."""
        for _ in range(2):
            oldest = next(iter(self._full_at), None)
            if oldest is None or (self._full_at[oldest] > now and len(self._full_at) <= self._names):
                return
            del self._full_at[oldest]


def seconds(wait: float) -> int:
    """A wait as `Retry-After` says it: whole seconds, at least one."""
    return max(1, math.ceil(wait))
