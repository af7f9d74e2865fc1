"""Kafka's jars: a broken or half-made set is never used, and never kept."""

import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from thumbstream.local.kafka_jars import KAFKA_VERSION, JarsError, kafka_jars

NAMES = (
    "kafka_2.13",
    "kafka-clients",
    "kafka-group-coordinator",
    "kafka-metadata",
    "kafka-raft",
    "kafka-server",
    "kafka-server-common",
    "kafka-storage",
    "kafka-transaction-coordinator",
    "scala-library",
)


def make_jars(directory: Path) -> list[Path]:
    jars = [directory / "jars" / f"{name}-{KAFKA_VERSION}.jar" for name in NAMES]
    jars[0].parent.mkdir(exist_ok=True)
    for jar in jars:
        with zipfile.ZipFile(jar, "w") as archive:
            archive.writestr("META-INF/MANIFEST.MF", "")
    return jars


def without_clients(directory: Path) -> list[Path]:
    return [jar for jar in make_jars(directory) if "clients" not in jar.name]


def cut_short(directory: Path) -> list[Path]:
    jars = make_jars(directory)
    jars[0].write_bytes(jars[0].read_bytes()[:10])
    return jars


def no_network(directory: Path) -> list[Path]:
    raise ConnectionError("no route to host")


def never(directory: Path) -> list[Path]:
    raise AssertionError("the cache was not used")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / f"kafka-{KAFKA_VERSION}"


def test_jars_are_resolved_once_and_said_so_once(cache: Path) -> None:
    said: list[str] = []
    first = kafka_jars(said.append, cache, make_jars)
    assert {jar.name for jar in first} == {f"{name}-{KAFKA_VERSION}.jar" for name in NAMES}
    assert said == [f"resolving Apache Kafka {KAFKA_VERSION}, 42 MB, first time only"]
    assert kafka_jars(said.append, cache, never) == first
    assert len(said) == 1


@pytest.mark.parametrize(
    ("broken", "reason"),
    [(without_clients, "missing: kafka-clients"), (cut_short, "incomplete: kafka_2.13"), (no_network, "no route")],
)
def test_a_broken_set_is_deleted_and_resolved_once_more(
    cache: Path, broken: Callable[[Path], list[Path]], reason: str
) -> None:
    attempts = iter([broken, make_jars])
    said: list[str] = []

    def resolve(directory: Path) -> list[Path]:
        assert list(directory.iterdir()) == [], "nothing of an earlier attempt is left"
        return next(attempts)(directory)

    assert len(kafka_jars(said.append, cache, resolve)) == len(NAMES)
    assert reason in said[1]


def test_a_set_that_stays_broken_is_an_error_and_not_kept(cache: Path) -> None:
    with pytest.raises(JarsError, match="missing: kafka-clients"):
        kafka_jars(lambda _line: None, cache, without_clients)
    assert not cache.exists()


def test_a_jar_that_was_damaged_later_is_resolved_again(cache: Path) -> None:
    jars = kafka_jars(lambda _line: None, cache, make_jars)
    jars[3].write_bytes(b"")
    assert kafka_jars(lambda _line: None, cache, make_jars)[3].stat().st_size > 0


def test_two_who_resolve_at_once_do_it_once(cache: Path) -> None:
    both_asked = threading.Barrier(2, timeout=10)
    calls: list[Path] = []

    def resolve(directory: Path) -> list[Path]:
        calls.append(directory)
        return make_jars(directory)

    def ask() -> None:
        both_asked.wait()
        found.append(kafka_jars(lambda _line: None, cache, resolve))

    found: list[list[Path]] = []
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(calls) == 1
    assert found[0] == found[1]
