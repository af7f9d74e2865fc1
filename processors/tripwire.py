"""When so much is refused that going on would only drain a topic into dead letters. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW = 1000
LIMIT = 50  # 5 % of the window, or so many in a row


@dataclass(slots=True)
class Tripwire:
    """Remembers the last 1,000 verdicts."""

    _verdicts: deque[bool] = field(default_factory=lambda: deque(maxlen=WINDOW))
    _in_a_row: int = 0

    def observe(self, good: bool) -> bool:
        """Record one verdict; True when it is time to stop."""
        self._in_a_row = 0 if good else self._in_a_row + 1
        if good and not self._bad:
            self._push(good)
            return False
        self._push(good)
        return self._bad > LIMIT or self._in_a_row >= LIMIT

    _bad: int = 0

    def _push(self, good: bool) -> None:
        if len(self._verdicts) == WINDOW:
            self._bad -= not self._verdicts[0]
        self._verdicts.append(good)
        self._bad += not good
