"""The cache for quick starts of a broker: made once, and no trouble where it cannot be made."""

import threading
from pathlib import Path

from thumbstream.local import kafka_start_cache


def write(file: Path) -> None:
    file.write_bytes(b"classes")


def fail(file: Path) -> None:
    file.write_bytes(b"cla")
    raise RuntimeError("no room")


def never(file: Path) -> None:
    raise AssertionError(f"{file} is made again")


def test_it_is_made_once(tmp_path: Path) -> None:
    cache, said = tmp_path / "start.aot", list[str]()
    assert kafka_start_cache.find(cache) is None
    kafka_start_cache.make(cache, write, said.append)
    kafka_start_cache.make(cache, never, said.append)
    assert kafka_start_cache.find(cache) == cache
    assert len(said) == 1


def test_where_it_cannot_be_made_nobody_uses_it_or_tries_again(tmp_path: Path) -> None:
    cache, said = tmp_path / "start.aot", list[str]()
    kafka_start_cache.make(cache, fail, said.append)
    kafka_start_cache.make(cache, never, said.append)
    assert kafka_start_cache.find(cache) is None
    assert "no room" in said[-1]


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    cache, ran = tmp_path / "start.aot", list[Path]()
    both = threading.Barrier(2)

    def run(file: Path) -> None:
        ran.append(file)
        write(file)

    def make() -> None:
        both.wait()
        kafka_start_cache.make(cache, run, lambda _: None)

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) == 1


def test_other_jars_or_another_runtime_have_another_cache(tmp_path: Path) -> None:
    java, image = tmp_path / "bin" / "java", tmp_path / "lib" / "modules"
    image.parent.mkdir()
    image.write_text("one")
    places = [kafka_start_cache.place(java, [Path(f"/jars/{jar}")], tmp_path) for jar in ("a.jar", "b.jar", "a.jar")]
    image.write_text("another")
    places.append(kafka_start_cache.place(java, [Path("/jars/a.jar")], tmp_path))
    assert (places[0] == places[2], len(set(places))) == (True, 3)
