"""What clients were promised, and what they were promised would not be: written down when it is said, judged later."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import NamedTuple


class Promise(NamedTuple):
    """One event that was acknowledged. Vendors' clients never learn the event's id: request and rating tell it.

    Where the vendor's vote is a number, `rating` is the text `value 3`; of a change `request` is the feedback id.
    """

    tenant: str
    request: str
    event_id: str | None
    rating: bool | str | None = None


class Ledger:
    """Thread-safe. `acknowledged` and `aborted` are for the judge, `counted` for the report, `strange` is a failure."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._file = file.open("w", encoding="utf-8")
        self.acknowledged: list[Promise] = []
        self.aborted: set[str] = set()  # event ids of transactions that were rolled back
        self.counted: Counter[str] = Counter()
        self.strange: list[str] = []

    def acknowledge(self, promises: list[Promise], way: str) -> None:
        """Note that the system took these, on disk too."""
        with self._lock:
            self.acknowledged += promises
            self.counted[f"acknowledged by {way}"] += len(promises)
            self._file.writelines("\t".join(map(str, (way, *promise))) + "\n" for promise in promises)
            self._file.flush()

    def abort(self, event_ids: list[str]) -> None:
        """Note that a transaction with these was rolled back: nobody may ever see them."""
        with self._lock:
            self.aborted.update(event_ids)

    def count(self, name: str, number: int = 1) -> None:
        """Count something for the report."""
        with self._lock:
            self.counted[name] += number

    def wonder(self, what: str) -> None:
        """Note an answer that should not have been given."""
        with self._lock:
            self.strange.append(what[:500])

    def close(self) -> None:
        """Nobody will write any more."""
        self._file.close()
