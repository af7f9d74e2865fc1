"""Where a replay must begin so that the alert engine it fills equals the one that saw the whole log. Pure.

The start must lie at least the engine's reach before stream time, and the monitors in force must be known for as long
as any of them waits. Stream time and monitors are known only after the replay, so a start that turns out too late is
moved further back.
"""

from __future__ import annotations

from collections.abc import Callable

from processors.alerts import Engine

MARGIN = 90  # minutes of the log, beyond what the state depends on

Rerun = Callable[[int, int], tuple[Engine, bool]]


def rebuild(rerun: Rerun, append_time: int, reach: int, minute: int, margin: int = MARGIN) -> Engine:
    """The engine before the record appended at `append_time`. Times are ms; `reach` is a first guess, in minutes.

    `rerun(time, keep)` replays, silently, every record appended at or after `time` that comes before it, keeping counts
    of `keep` minutes, and tells whether that was the whole log. The replay's stream time is never later than the true
    one, so it can be trusted here.
    """
    base, span = append_time, (reach + margin) * minute
    while True:
        engine, whole = rerun(base - span, reach)
        if engine.reach > reach:  # monitors look further back than was kept
            reach = engine.reach
            span = max(span, (reach + margin) * minute)
            continue
        now = engine.time.now
        early = now is not None and base - span <= now - (reach + margin) * minute
        if whole or (early and engine.knows_monitors):
            return engine
        if now is not None and base == append_time:
            base = now - 2 * minute  # the sources lag: count back from stream time
        else:
            span *= 2
