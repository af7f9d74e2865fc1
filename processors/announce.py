"""The monitors that a worker was given, and how `watch` puts them in force: by a record on each partition it owns.

The owner of a partition is the only one who writes there. It writes when it gets the partition, when its monitors
change, when the log says something else, and a few times a day, so that every replay meets a record.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog

from processors.monitor_file import hash_number, monitor_set
from processors.monitors import Monitor
from processors.outputs import Outputs
from processors.watch import Watcher
from schemas.events import MonitorSet
from schemas.topics import MONITORS_KEY
from thumbstream.telemetry import Metrics

_log = structlog.get_logger(__name__)
_AGAIN_SECONDS = 6 * 3600.0
_INSIST_SECONDS = 60.0  # a record of somebody else may lie before ours, where we have not read yet

Reload = Callable[[], tuple[Monitor, ...] | None]  # other monitors, if there are any since the last call


class Given:
    """The monitors of this process. `reload` is asked at every `refresh`."""

    def __init__(self, monitors: tuple[Monitor, ...], reload: Reload, metrics: Metrics) -> None:
        self.monitors, self._reload, self._metrics = monitors, reload, metrics
        self._note()

    def _note(self) -> None:
        self.record = monitor_set(self.monitors)
        self._metrics.set("monitors_given", hash_number(self.record))
        _log.info("monitors", hash=self.record.hash[:12], names=[monitor.name for monitor in self.monitors])

    def refresh(self) -> bool:
        """True when there are other monitors than before."""
        found = self._reload()
        if found is None or found == self.monitors:
            return False
        self.monitors = found
        self._note()
        return True


class Announcer:
    """Writes what is given to the partitions of minutes that `watcher` owns. `clock` counts seconds."""

    def __init__(
        self, app: Any, watcher: Watcher, outputs: Outputs, given: Given, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._watcher, self._outputs, self._given, self._clock = app, watcher, outputs, given, clock
        self._said: dict[int, tuple[str, float]] = {}  # partition -> (hash, when)

    def reset(self) -> None:
        """Partitions are dealt anew."""
        self._said.clear()

    async def beat(self) -> None:
        """Write where it is due."""
        self._given.refresh()
        record = self._given.record
        if self._app.rebalancing:
            return
        due = [partition for partition in self._watcher.table.parts if self._is_due(partition, record)]
        if not due:
            return
        value = self._watcher.codec.encode(record)
        for partition in due:
            self._outputs.send(self._watcher.topics.minutes.name, [(MONITORS_KEY, value)], partition)
            self._said[partition] = (record.hash, self._clock())
        await self._outputs.barrier()
        _log.info("monitors announced", hash=record.hash[:12], partitions=due)

    def _is_due(self, partition: int, record: MonitorSet) -> bool:
        known, when = self._said.get(partition, ("", 0.0))
        age, in_force = self._clock() - when, self._watcher.in_force(partition)
        contradicted = in_force is not None and in_force.hash != record.hash
        return known != record.hash or age > _AGAIN_SECONDS or (contradicted and age > _INSIST_SECONDS)
