"""Files of keys: read again when they change, and replaced whole: readers see the old one or the new one."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

import structlog

_CHECK_SECONDS = 1.0

_log = structlog.get_logger(__name__)

Content = TypeVar("Content")


class WatchedFile(Generic[Content]):
    """What a file says. A change on disk counts within a second; a broken file changes nothing and is logged."""

    def __init__(
        self, path: Path, read: Callable[[Path], Content], name: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`read` raises a ValueError whose text holds no secret; what it raises here comes through."""
        self._path, self._read, self._name, self._monotonic = path, read, name, monotonic
        self._stamp = _stamp(path)
        self._content = read(path)
        self._checked = monotonic()

    def content(self, *, at_once: bool = False) -> Content:
        """What the file said when it was last whole; `at_once` looks at the file though a second is not over."""
        now = self._monotonic()
        if at_once or now - self._checked >= _CHECK_SECONDS:
            self._checked = now
            self._refresh()
        return self._content

    def _refresh(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._content = self._read(self._path)
        except ValueError as problem:
            _log.error(f"{self._name}_file_broken", problem=str(problem))
        else:
            _log.info(f"{self._name}_file_read", path=str(self._path))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold others who would change the file back: two changes at once must not lose one. Makes its directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def replace(path: Path, text: str, check: Callable[[Path], object]) -> None:
    """Write with mode 0600, check and only then put in place. What `check` raises comes through, nothing is changed."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        check(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
