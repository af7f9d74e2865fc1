"""What a monitor decides about one group at one tick: does it fire, does an open alert stay. Pure.

threshold   a window is surely above, also without its top user, and it is still going on
simple      the window's rate lies above the threshold
"""

from __future__ import annotations

import math
from typing import TypedDict

from processors.minutes import Group
from processors.monitors import Monitor
from processors.windows import Windows


class Evidence(TypedDict):
    """What a window showed when a transition was decided; the names are those of the Alert record."""

    window_minutes: int
    negative: int
    total: int
    rate: float
    lower_bound: float
    top_user_share: float | None


def firing_window(monitor: Monitor, windows: Windows, group: Group) -> int | None:
    """The first window, in minutes, that meets the rule; None when none does."""
    if windows.sum(group, max(monitor.windows)).total < monitor.min_votes:
        return None  # no shorter window can hold more
    fires = _simple_above if monitor.kind == "simple" else _fires
    return next((window for window in monitor.windows if fires(monitor, windows, group, window)), None)


def stays(monitor: Monitor, windows: Windows, group: Group) -> bool:
    """True while an open alert is not over."""
    if monitor.kind == "simple":
        return _simple_stays(monitor, windows, group)
    return any(_holds(monitor, windows, group, window) for window in monitor.windows)


def _holds(monitor: Monitor, windows: Windows, group: Group, window: int) -> bool:
    whole = windows.sum(group, window)
    if whole.total < monitor.min_votes or not monitor.surely_above(whole.negative, whole.total):
        return False
    recent = windows.sum(group, monitor.recent(window))
    return recent.total < monitor.recovery_votes or recent.negative > monitor.threshold * recent.total


def _fires(monitor: Monitor, windows: Windows, group: Group, window: int) -> bool:
    whole = windows.sum(group, window)
    if whole.total < monitor.min_votes or not monitor.surely_above(whole.negative, whole.total):
        return False
    recent = windows.sum(group, monitor.recent(window))
    if recent.negative <= monitor.threshold * recent.total:
        return False
    top = windows.top_user(group, window)  # one person's campaign is no incident
    return monitor.surely_above(whole.negative - top, whole.total - top)


def _simple_above(monitor: Monitor, windows: Windows, group: Group, window: int) -> bool:
    seen = windows.sum(group, window)
    return seen.total >= monitor.min_votes and seen.negative > monitor.threshold * seen.total


def _simple_stays(monitor: Monitor, windows: Windows, group: Group) -> bool:
    seen = windows.sum(group, monitor.windows[0])
    bound = monitor.threshold if monitor.clear_below is None else monitor.clear_below
    return seen.total >= monitor.min_votes and seen.negative > bound * seen.total


def evidence(monitor: Monitor, windows: Windows, group: Group, window: int, *, with_user: bool = False) -> Evidence:
    """The content of one window. `top_user_share` only where it is asked for and there are negatives."""
    seen = windows.sum(group, window)
    top = windows.top_user(group, window) if with_user else 0
    return {
        "window_minutes": window,
        "negative": seen.negative,
        "total": seen.total,
        "rate": seen.negative / seen.total if seen.total else 0.0,
        "lower_bound": wilson_low(seen.negative, seen.total, monitor.z),
        "top_user_share": top / seen.negative if with_user and seen.negative else None,
    }


def wilson_low(negative: int, total: int, z: float) -> float:
    """Lower end of Wilson's interval for the share of negatives, at `z` standard deviations; 0 without votes."""
    if total == 0:
        return 0.0
    rate, square = negative / total, z * z
    spread = z * math.sqrt(rate * (1 - rate) / total + square / (4 * total * total))
    return max(0.0, (rate + square / (2 * total) - spread) / (1 + square / total))
