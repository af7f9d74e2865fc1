"""The file of monitors that the settings name: read at start, and again when asked to."""

from __future__ import annotations

from pathlib import Path

import structlog

from processors.monitor_file import MonitorsError, parse
from processors.monitors import BUILT_IN, Monitor
from thumbstream.telemetry import Metrics

_log = structlog.get_logger(__name__)


class MonitorsFileError(ValueError):
    """A file that is not usable. `lines` are sentences that begin with file and line."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def load(path: Path | None) -> tuple[Monitor, ...]:
    """The monitors of a file; without one the built-in ones. Raises MonitorsFileError."""
    if path is None:
        return BUILT_IN
    try:
        return parse(path.read_text("utf-8"))
    except MonitorsError as error:
        raise MonitorsFileError([f"{path}:{fault.line}: {fault}" for fault in error.faults]) from error
    except OSError as error:
        raise MonitorsFileError([f"{path}: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise MonitorsFileError([f"{path}: not UTF-8: {error.reason} at byte {error.start}"]) from error


class MonitorsFile:
    """The file of a running worker. `first`: what it held at the start. MonitorsFileError when that was wrong."""

    def __init__(self, path: Path | None, metrics: Metrics) -> None:
        self._path, self._metrics, self._asked = path, metrics, False
        self.first = load(path)

    def ask(self, *_: object) -> None:
        """Read the file again at the next `news`; a signal handler."""
        self._asked = True

    def news(self) -> tuple[Monitor, ...] | None:
        """What the file holds, once for each time that it was asked for. A wrong file is logged and changes nothing."""
        if not self._asked:
            return None
        self._asked = False
        try:
            found = load(self._path)
        except MonitorsFileError as error:
            _log.error("monitors stay as they are: the file is wrong", faults=error.lines)
            self._metrics.count("monitor_reloads", result="refused")
            return None
        self._metrics.count("monitor_reloads", result="taken")
        return found
