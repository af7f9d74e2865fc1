"""What is watched: one Monitor per rule and rollup, the presets, and the built-in monitors. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from processors.minutes import Group, Rollup, rollup_name
from schemas.events import MISSING
from schemas.topics import group_key

KINDS = ("threshold", "simple")
SEVERITIES = ("info", "warning", "critical")
PRESETS = {"sensitive": 2.33, "standard": 3.09, "strict": 3.72}
DEFAULT_WINDOWS = (15, 60, 360, 1440)
TENANT = "tenant"  # the name under which a filter asks for tenants

Where = tuple[tuple[str, tuple[str, ...]], ...]  # (dimension or TENANT, the values it may have), sorted by name


@dataclass(frozen=True)
class Monitor:
    """One rule on the groups of one rollup. All lengths are minutes; `threshold` is a share of negatives among votes.

    Kind `threshold`: `z`, `least_recent` (bounds the look at what is still going on) and `recovery_votes` (how many
    votes there show recovery). Kind `simple`: one window, `wait` (how long the rate must lie above the threshold) and
    `clear_below` (the rate that ends it). `hold`: how long an alert goes on after the last minute that kept it open.
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
    wait: int = 0
    clear_below: float | None = None
    where: Where = ()
    receivers: tuple[str, ...] = ()
    enabled: bool = True

    def recent(self, window: int) -> int:
        """The last part of a window, in minutes, that must still be bad for an alert to fire."""
        return max(window // 6, self.least_recent)

    @property
    def spans(self) -> tuple[int, ...]:
        """Every span whose sums the rule asks for."""
        if self.kind == "simple":
            return self.windows
        return tuple(sorted({span for window in self.windows for span in (window, self.recent(window))}))

    @property
    def reach(self) -> int:
        """How many minutes back the state of an alert may depend on."""
        return max(self.spans) + self.hold + self.wait

    def surely_above(self, negative: int, total: int) -> bool:
        """The inequality: the share of negatives lies above the threshold by more than chance explains."""
        spread = math.sqrt(total * self.threshold * (1 - self.threshold)) if total > 0 else 0.0
        return negative > self.threshold * total + self.z * spread

    def watches(self, group: Group) -> bool:
        """True for groups of this rollup that its filter lets through.

        A group that lacks a dimension is no answer's group; the tenant covers it.
        """
        return self.enabled and group.rollup == self.rollup and MISSING not in group.values and self._admits(group)

    def _admits(self, group: Group) -> bool:
        values = dict(zip(group.rollup, group.values, strict=True))
        return all((group.tenant_id if name == TENANT else values[name]) in wanted for name, wanted in self.where)

    def fingerprint(self, group: Group) -> str:
        """The identity of this monitor's alert on `group`: 16 hex digits."""
        text = "\n".join((self.name, group.tenant_id, rollup_name(group.rollup), group_key(group.values)))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def definition(self) -> str:
        """The identity of what decides: 16 hex digits, another for every change that may change a transition.

        What only says where an alert goes (severity, receivers) is left out: an open alert outlives its change.
        """
        rule = (
            self.kind, self.rollup, self.threshold, self.z, self.windows, self.min_votes, self.hold, self.least_recent,
            self.recovery_votes, self.wait, self.clear_below, self.where,
        )  # fmt: skip
        return hashlib.sha256(repr(rule).encode()).hexdigest()[:16]


BUILT_IN = (
    Monitor("tenant-negative-rate", ()),
    Monitor("model-negative-rate", ("model",)),
    Monitor("environment-negative-rate", ("environment",)),
    Monitor("prompt-negative-rate", ("prompt_id",), z=PRESETS["strict"]),
    Monitor("prompt-version-negative-rate", ("prompt_id", "prompt_version"), z=PRESETS["strict"]),
)


def rollups(monitors: Iterable[Monitor] = BUILT_IN) -> tuple[Rollup, ...]:
    """The rollups that minutes are counted by: each monitor's, once, in the order of the monitors.

    Those of monitors that are switched off count too, so that switching one on finds counts.
    """
    return tuple(dict.fromkeys(monitor.rollup for monitor in monitors))


def fewest_negatives(monitor: Monitor, votes: int) -> int:
    """The smallest number of negatives among `votes` that is surely above the threshold."""
    return next(negative for negative in range(votes + 2) if monitor.surely_above(negative, votes))
