"""What a supervisor is told about one child, and the order that follows. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

STOPPED_FOR_GOOD = 78  # EX_CONFIG of <sysexits.h>: starting again would end the same way


def _at_once() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How a crashed child comes back: after `first` seconds, doubling up to `longest`.

    A child that was up for `reset_after` seconds before it crashed begins at `first` again. Exit codes in
    `stays_down` are the child's own word that it must not be restarted.
    """

    first: float = 0.5
    longest: float = 10.0
    reset_after: float = 60.0
    stays_down: frozenset[int] = frozenset({STOPPED_FOR_GOOD})

    def delay(self, crashes: int, jitter: float) -> float:
        """Seconds to wait after `crashes` (from 1) crashes in a row; `jitter` in [0, 1] stretches by up to 30 %,
        so that children which fell together do not all come back in the same moment."""
        doubled = self.first * 2.0 ** min(crashes - 1, 32)
        return min(self.longest, doubled * (1 + 0.3 * jitter))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """One child process.

    `argv` is the same at every start, so ports are chosen before; `env` is added to the supervisor's own.
    `probe` asks the child itself whether it works and answers within about a second; an `OSError` counts as no.
    `after` names children that must be healthy first; stopping goes the other way round.
    `start_seconds` bounds the time from the first start to the first yes.
    `on_healthy` runs each time the child has become healthy and before anything that starts after it (create topics,
    migrate tables): it must be repeatable; an exception fails the start.
    Everything the child prints is appended to `log`. A child that `reloads` is passed SIGHUP on; it must handle it.
    """

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    probe: Callable[[], bool] = _at_once
    after: Sequence[str] = ()
    start_seconds: float = 60.0
    on_healthy: Callable[[], None] | None = None
    restart: RestartPolicy = RestartPolicy()
    reloads: bool = False


def waves(specs: Sequence[ChildSpec]) -> list[list[ChildSpec]]:
    """Group specs so that each group needs only the ones before it.

    Raises `ValueError` for a name used twice or unknown, and for a circle (`graphlib.CycleError`).
    """
    by_name = {spec.name: spec for spec in specs}
    if len(by_name) != len(specs):
        raise ValueError(f"two children with one name among {[spec.name for spec in specs]}")
    unknown = {name for spec in specs for name in spec.after} - by_name.keys()
    if unknown:
        raise ValueError(f"children wait for unknown ones: {sorted(unknown)}")
    sorter = TopologicalSorter({spec.name: spec.after for spec in specs})
    sorter.prepare()
    groups = []
    while sorter.is_active():
        names = sorter.get_ready()
        sorter.done(*names)
        groups.append([spec for spec in specs if spec.name in names])
    return groups
