"""The file of monitors that the settings name: read at start, and again when asked to."""

from __future__ import annotations

from pathlib import Path

from processors.monitor_file import MonitorsError, parse
from processors.monitors import BUILT_IN, Monitor


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
