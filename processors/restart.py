"""Where a replay must begin so that the alert engine it fills equals the one that saw the whole log. Pure.

The start must lie at least `horizon` before stream time. Stream time is known only after the replay, so a start that
turns out too late is moved further back.
"""

from __future__ import annotations

from collections.abc import Callable

from processors.alerts import Engine

Rerun = Callable[[int], tuple[Engine, bool]]


def rebuild(rerun: Rerun, append_time: int, horizon: int, minute: int) -> Engine:
    """The engine before the record appended at `append_time`. All times are ms.

    `rerun(time)` replays, silently, every record appended at or after `time` that comes before it, and tells whether
    that was the whole log. The replay's stream time is never later than the true one, so it can be trusted here.
    """
    base, span = append_time, horizon
    while True:
        engine, whole = rerun(base - span)
        now = engine.time.now
        if whole or (now is not None and base - span <= now - horizon):
            return engine
        if now is not None and base == append_time:
            base = now - 2 * minute  # the sources lag: count back from stream time
        else:
            span *= 2
