"""What a run is told, and the rules that the product has built in, written down a second time for the oracle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.chaos.plan import Rule

MINUTE = 60_000  # ms
GRACE = 5_000
SESSION_SECONDS = 10.0
PREFIX = "feedback."
GROUP = "thumbstream"
PARTITIONS = 4
TENANTS = ("acme", "bolt|%", "calm")  # the second needs escaping in keys
_REAL = {"windows": (15, 60, 360, 1440), "hold": 30, "least_recent": 5, "recovery_votes": 5, "min_votes": 10}

RULES = (
    Rule("tenant-negative-rate", (), **_REAL),  # type: ignore[arg-type]  # mixed values, each of its field's type
    Rule("model-negative-rate", ("model",), **_REAL),  # type: ignore[arg-type]  # as above
    Rule("environment-negative-rate", ("environment",), **_REAL),  # type: ignore[arg-type]  # as above
    Rule("prompt-negative-rate", ("prompt_id",), z=3.72, **_REAL),  # type: ignore[arg-type]  # as above
    Rule("prompt-version-negative-rate", ("prompt_id", "prompt_version"), z=3.72, **_REAL),  # type: ignore[arg-type]  # as above
)


@dataclass(frozen=True, slots=True)
class StackPlan:
    """One run: where everything lies, the seed of traffic and faults, how long, how fast, and the pace of faults."""

    directory: Path
    seed: int
    seconds: float
    http_rate: float = 16.0  # requests a second over all clients; every tenth is a batch
    direct_rate: float = 25.0  # records a second over all direct producers
    fault_seconds: tuple[float, float] = (4.5, 10.0)  # least and most time between two faults
