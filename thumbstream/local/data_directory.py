"""One `thumbstream up` at a time may use a data directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DataDirectoryInUseError(RuntimeError):
    """Another process works in this data directory."""


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Hold `data_dir` (made if need be, for its owner only); raises `DataDirectoryInUseError` naming the holder's pid.

    The kernel lets go when this process ends, however it ends; children do not inherit the hold.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise DataDirectoryInUseError(f"{data_dir} is in use by process {lock.read().strip() or '?'}") from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
