"""What a chaos run is told: names, sizes and rules, with minutes of one second and days of one minute."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.topics import Topics

MINUTE = 1_000  # ms
DAY = 60_000
GRACE = 1_500
MARK_SECONDS = 0.3
SESSION_SECONDS = 6.0
TAIL_SECONDS = 15.0
UP = "the worker is up"  # printed once signals are handled


@dataclass(frozen=True, slots=True)
class Rule:
    """One monitor. The workers get it as their own type; the oracle reads it as it stands here."""

    name: str
    rollup: tuple[str, ...]
    z: float = 3.09
    threshold: float = 0.2
    windows: tuple[int, ...] = (15, 30, 60, 120)
    min_votes: int = 10
    hold: int = 4
    least_recent: int = 3
    recovery_votes: int = 5


RULES = (
    Rule("tenant-rate", ()),
    Rule("model-rate", ("model",)),
    Rule("model-environment-strict", ("model", "environment"), z=3.72),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: its broker, its topics' prefix, where logs go, and the seed that everything random comes from."""

    bootstrap: str
    prefix: str
    directory: Path
    seed: int
    event_partitions: int = 4
    minute_partitions: int = 3
    pauses: float = 0.15  # share of durability points at which a worker dawdles

    @property
    def topics(self) -> Topics:
        """The topics of this run."""
        return Topics(self.prefix, self.event_partitions, self.minute_partitions)

    @property
    def group(self) -> str:
        """Prefix of the consumer groups."""
        return self.prefix.rstrip(".")

    def as_json(self) -> dict[str, object]:
        """For a worker's command line."""
        return {**asdict(self), "directory": str(self.directory)}
