"""The ready file: one JSON object that tells other programs where everything is, once everything works.

It holds passwords and keys, so only its owner may read it, at every moment of its life.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Put `content` at `path`, all or nothing: a reader sees the old file or the new one, both with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)  # of a process that was killed; its mode may be anything
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")
    draft.replace(path)


def remove(path: Path) -> None:
    """Take the file away; harmless if there is none."""
    path.unlink(missing_ok=True)


def publisher(path: Path, facts: Mapping[str, Any]) -> Callable[[dict[str, int], bool], None]:
    """Give an `on_change` for a supervisor that keeps the file true: `facts` plus `pids` and `healthy`.

    Nothing is written before all is healthy for the first time, every change is after that. A file that a killed
    process left behind is removed now.
    """
    remove(path)
    written = False

    def on_change(pids: dict[str, int], healthy: bool) -> None:
        nonlocal written
        if healthy or written:
            write(path, {**facts, "pids": pids, "healthy": healthy})
            written = True

    return on_change
