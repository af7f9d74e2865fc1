"""Apache Kafka's jars: resolved once by Maven coordinate, verified, remembered in a cache directory.

The cache has one writer at a time (a lock file) and everything in it is ours, so a broken download is repaired by
deleting it. A manifest (file -> size) is written last: while it holds, nothing is resolved or even imported.
"""

import fcntl
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

KAFKA_VERSION = "4.3.1"
# Kafka logs through slf4j and declares no backend: without the second coordinate a broker fails without a word.
# Resolved apart, because asked for both at once the resolver leaves kafka-clients out.
_COORDINATES = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4")
_REQUIRED = {
    f"{name}-{KAFKA_VERSION}.jar"
    for name in (
        "kafka_2.13",
        "kafka-clients",
        "kafka-group-coordinator",
        "kafka-metadata",
        "kafka-raft",
        "kafka-server",
        "kafka-server-common",
        "kafka-storage",
        "kafka-transaction-coordinator",
    )
}
_FAILURES = (OSError, RuntimeError, ValueError)  # network, resolver and ourselves; requests' errors are OSErrors


class JarsError(RuntimeError):
    """Kafka's jars could not be resolved, or not completely."""


def cache_directory() -> Path:
    """Where the jars live: `$XDG_CACHE_HOME/thumbstream/kafka-<version>`, by default under `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "thumbstream" / f"kafka-{KAFKA_VERSION}"


def kafka_jars(
    say: Callable[[str], None],
    directory: Path | None = None,
    resolve: Callable[[Path], list[Path]] | None = None,
) -> list[Path]:
    """Give every jar a broker needs, resolving them if they are not cached; `say` hears what takes long.

    `resolve(directory)` loads the jars somewhere under `directory` and names them (by default from Maven Central).
    Raises `JarsError` when two attempts did not yield a complete set. Safe in several processes at once.
    """
    directory = directory or cache_directory()
    known = _remembered(directory)
    if known:
        return known
    with _only_writer(directory):
        # whoever held the lock before may have done the work
        return _remembered(directory) or _resolve_until_complete(directory, say, resolve or _from_maven_central)


@contextmanager
def _only_writer(directory: Path) -> Iterator[None]:
    directory.parent.mkdir(parents=True, exist_ok=True)
    # beside the directory, not in it: the directory is deleted while the lock is held
    with directory.with_name(directory.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _manifest(directory: Path) -> Path:
    return directory / "jars.json"


def _remembered(directory: Path) -> list[Path]:
    """Jars of the manifest if each still has its size, else nothing."""
    try:
        sizes: dict[str, int] = json.loads(_manifest(directory).read_text())
        intact = all((directory / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return []
    return [directory / name for name in sizes] if intact else []


def _remember(directory: Path, jars: list[Path]) -> None:
    sizes = {str(jar.relative_to(directory)): jar.stat().st_size for jar in jars}
    draft = _manifest(directory).with_suffix(".draft")
    draft.write_text(json.dumps(sizes, indent=1))
    draft.replace(_manifest(directory))


def _resolve_until_complete(
    directory: Path, say: Callable[[str], None], resolve: Callable[[Path], list[Path]]
) -> list[Path]:
    attempt = f"resolving Apache Kafka {KAFKA_VERSION}, 42 MB, first time only"
    say(attempt)
    try:
        return _resolve_anew(directory, resolve)
    except _FAILURES as error:
        say(f"{attempt} (again, because: {error})")
    try:
        return _resolve_anew(directory, resolve)
    except _FAILURES as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise JarsError(f"Apache Kafka {KAFKA_VERSION} could not be resolved: {error}") from error


def _resolve_anew(directory: Path, resolve: Callable[[Path], list[Path]]) -> list[Path]:
    # The resolver keeps half-made environments and half-loaded files, and takes them for good the next time.
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    jars = resolve(directory)
    _verify(jars)
    _remember(directory, jars)
    return jars


def _from_maven_central(directory: Path) -> list[Path]:
    from jgo.env import EnvironmentBuilder  # slow to import, needed once per machine
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=directory / "repository")
    builder = EnvironmentBuilder(context=context, cache_dir=directory / "environments")
    jars = [jar for coordinate in _COORDINATES for jar in builder.from_endpoint(coordinate).all_jars]
    return list({jar.name: jar for jar in jars}.values())


def _verify(jars: list[Path]) -> None:
    missing = _REQUIRED - {jar.name for jar in jars}
    if missing:
        raise JarsError(f"missing: {', '.join(sorted(missing))}")
    cut = [jar.name for jar in jars if not zipfile.is_zipfile(jar)]
    if cut:
        raise JarsError(f"incomplete: {', '.join(cut)}")
