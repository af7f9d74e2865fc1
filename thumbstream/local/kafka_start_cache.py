"""What a broker's JVM has loaded and linked once, kept for all later starts, which then take half the time.

It holds for one Java runtime and one set of jars; the JVM checks that itself, and starts as usual without it.
"""

import fcntl
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from thumbstream.local.kafka_jars import cache_directory


def use(cache: Path | None) -> list[str]:
    """JVM options for a start with what is kept."""
    return [] if cache is None else [f"-XX:AOTCache={cache}"]


def record(cache: Path) -> list[str]:
    """JVM options for a run at whose end, seconds after SIGTERM, `cache` is written."""
    return [f"-XX:AOTCacheOutput={cache}"]


def place(java: Path, jars: Sequence[Path], directory: Path | None = None) -> Path:
    """Where the cache for this runtime and these jars is, or would be."""
    image = (java.parent.parent / "lib" / "modules").stat()
    told = "\n".join([str(image.st_size), str(image.st_mtime_ns), *map(str, jars)])
    return (directory or cache_directory()) / f"start-{hashlib.sha256(told.encode()).hexdigest()[:16]}.aot"


def find(cache: Path) -> Path | None:
    """The cache, if it was made."""
    return cache if cache.exists() and cache.stat().st_size else None


def make(cache: Path, run: Callable[[Path], None], say: Callable[[str], None]) -> None:
    """Make the cache unless it is there; `run(file)` has to write it. Safe in several processes at once.

    Where that fails nothing is lost but time: an empty file then says that it need not be tried again.
    """
    if cache.exists():
        return
    with cache.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if cache.exists():  # whoever held the lock before has made it
            return
        say("starting Apache Kafka once to make its later starts quick, first time only")
        draft = cache.with_suffix(".draft")
        draft.unlink(missing_ok=True)
        try:
            run(draft)
        except (OSError, RuntimeError) as error:
            say(f"that did not work, so starts stay as they are: {error}")
            draft.write_bytes(b"")
        draft.touch()
        draft.replace(cache)
