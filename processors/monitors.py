"""What is watched: one Monitor per rule and rollup, the presets, and the built-in monitors. Pure."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

from processors.minutes import Group, Rollup, rollup_name
from schemas.events import MISSING
from schemas.topics import group_key

PRESETS = {"sensitive": 2.33, "standard": 3.09, "strict": 3.72}
DEFAULT_WINDOWS = (15, 60, 360, 1440)


@dataclass(frozen=True, slots=True)
class Monitor:
    """A rule of kind `threshold`. Windows and `hold` are minutes; `threshold` is a share of negatives among votes.

    `least_recent` bounds the look at what is still going on; `recovery_votes` is how many votes there show recovery.
    """

    name: str
    rollup: Rollup
    threshold: float = 0.2
    z: float = PRESETS["standard"]
    windows: tuple[int, ...] = DEFAULT_WINDOWS
    min_votes: int = 10
    severity: str = "warning"
    hold: int = 30
    least_recent: int = 5
    recovery_votes: int = 5
    kind: str = "threshold"

    def recent(self, window: int) -> int:
        """The last part of a window, in minutes, that must still be bad for an alert to fire."""
        return max(window // 6, self.least_recent)

    @property
    def spans(self) -> tuple[int, ...]:
        """Every span whose sums the rule asks for."""
        return tuple(sorted({span for window in self.windows for span in (window, self.recent(window))}))

    def surely_above(self, negative: int, total: int) -> bool:
        """The inequality: the share of negatives lies above the threshold by more than chance explains."""
        spread = math.sqrt(total * self.threshold * (1 - self.threshold)) if total > 0 else 0.0
        return negative > self.threshold * total + self.z * spread

    def watches(self, group: Group) -> bool:
        """True for groups of this rollup. A group that lacks a dimension is no answer's group; the tenant covers it."""
        return group.rollup == self.rollup and MISSING not in group.values

    def fingerprint(self, group: Group) -> str:
        """The identity of this monitor's alert on `group`: 16 hex digits."""
        text = "\n".join((self.name, group.tenant_id, rollup_name(group.rollup), group_key(group.values)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


BUILT_IN = (
    Monitor("tenant-negative-rate", ()),
    Monitor("model-negative-rate", ("model",)),
    Monitor("environment-negative-rate", ("environment",)),
    Monitor("prompt-negative-rate", ("prompt_id",), z=PRESETS["strict"]),
    Monitor("prompt-version-negative-rate", ("prompt_id", "prompt_version"), z=PRESETS["strict"]),
)


def rollups(monitors: tuple[Monitor, ...] = BUILT_IN) -> tuple[Rollup, ...]:
    """The rollups that minutes are counted by: each monitor's, once, in the order of the monitors."""
    return tuple(dict.fromkeys(monitor.rollup for monitor in monitors))


def fewest_negatives(monitor: Monitor, votes: int) -> int:
    """The smallest number of negatives among `votes` that is surely above the threshold."""
    return next(negative for negative in range(votes + 2) if monitor.surely_above(negative, votes))
