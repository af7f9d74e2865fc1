"""Is evaluation stale: is nobody looking whether alerts should fire? Pure; the wall clock is an argument.

Evaluation rests on two processes. `resolve` says once a second how far each source partition is counted; `watch` reads
that and moves its committed position on. Stale is when either has not got on for longer than a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.events import Progress
from schemas.topics import epoch_of
from sinks.delivery.messages import FIRING, RESOLVED, Notice
from sinks.delivery.receivers import STALE

MARKS, WATCH = "marks", "watch"
CAUSES = (MARKS, WATCH)
_TEXTS = {
    MARKS: "Alerts are not evaluated: progress marks are missing or old. Is a `resolve` worker down or far behind?",
    WATCH: "Alerts are not evaluated: `watch` does not get on with feedback.minutes. Is it down or far behind?",
}


@dataclass(slots=True)
class Marks:
    """The newest marks of all source partitions of the newest epoch; times are epoch ms."""

    sources: int = 0
    seen: dict[int, int] = field(default_factory=dict)

    def take(self, mark: Progress, append_time: int) -> None:
        """One mark. A mark says no more than its own append time: a worker's clock may run ahead."""
        epoch = epoch_of(mark.source_partition)
        newest = max(map(epoch_of, self.seen), default=epoch)
        if epoch > newest:
            self.seen.clear()
        if epoch >= newest:
            time = min(mark.watermark, append_time)
            self.seen[mark.source_partition] = max(time, self.seen.get(mark.source_partition, time))
            self.sources = mark.source_partitions

    def stream_time(self) -> int | None:
        """The time that every source partition has passed; None while one is unknown."""
        return min(self.seen.values()) if self.seen and len(self.seen) >= self.sources else None


def cause(stream_time: int | None, waiting: Mapping[int, int], now: int, limit: int) -> str | None:
    """Why evaluation is stale, or None.

    `stream_time`: what recent marks say. `waiting`: minutes partition -> append time of the first record that `watch`
    has not dealt with; none where it has caught up. All epoch ms, `limit` ms.
    """
    if stream_time is None or now - stream_time > limit:
        return MARKS
    return WATCH if waiting and now - min(waiting.values()) > limit else None


class Watchman:
    """Turns judgements into notices: one when evaluation becomes stale, one when it goes on."""

    def __init__(self) -> None:
        self._since: int | None = None

    def judged(self, why: str | None, now: int) -> Notice | None:
        """What is to be said after a judgement at `now` (epoch ms)."""
        if (why is None) == (self._since is None):
            return None
        since = now if self._since is None else self._since
        self._since = since if why is not None else None
        status = RESOLVED if why is None else FIRING
        text = "Alerts are evaluated again." if why is None else _TEXTS[why]
        details = {} if why is None else {"cause": why}
        return Notice(f"{STALE}:{since}:{status}", STALE, status, now, since, text, details)
