"""Takes what erased requests left in the tables off the disk. The views hide it from the moment of the erasure."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from sinks.writer import UnavailableError, Writer

_DAY = 86_400.0
_SOON = 600.0
_log = structlog.get_logger("sink")


class Purge:
    """Asks the store once a day to delete for good, for a replay may bring rows back. `clock` counts seconds."""

    def __init__(self, writer: Writer, clock: Callable[[], float]) -> None:
        self._writer, self._clock = writer, clock
        self._due = clock()

    def run(self) -> None:
        """Purge if a day has passed since the last time, or ten minutes since ClickHouse was unavailable."""
        if self._clock() < self._due:
            return
        try:
            self._writer.purge_erased()
        except UnavailableError as error:
            _log.warning("purge put off", code=error.code)
            self._due = self._clock() + _SOON
        else:
            self._due = self._clock() + _DAY
