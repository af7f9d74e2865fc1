"""A zombie's late row must not outlive compaction: the owner reads its changelog's tail and writes its own again."""

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition

from processors.reading import read, reader
from processors.tail import Tail
from schemas.codec import Codec
from schemas.events import FeedbackEvent, ResolvedFeedback
from schemas.topics import Topics, partition_of, request_key
from tests.polling import wait_until
from thumbstream import topic_admin

pytestmark = pytest.mark.integration
KEY = request_key("acme", "r1")
PARTITION = partition_of(KEY, 4)
WORKER = """
    import sys
    from pathlib import Path
    from processors.app import WorkerOptions, resolve_app, run
    from schemas.topics import Topics
    from thumbstream.telemetry import Metrics, configure_logging
    bootstrap, prefix, directory = sys.argv[1:]
    configure_logging("resolve")
    options = WorkerOptions(bootstrap, Topics(prefix), prefix, Path(directory), tail_seconds=0.5)
    run(resolve_app(options, Metrics()))
"""


@pytest.fixture
def topics(kafka_bootstrap: str, unique: Callable[[str], str]) -> Topics:
    made = Topics(unique("tail") + ".")
    admin = topic_admin.client(kafka_bootstrap)
    topic_admin.create(admin, made, 1)
    wait_until(lambda: not topic_admin.problems(admin, made), 60, "topics are there")
    return made


@pytest.fixture
def worker(kafka_bootstrap: str, topics: Topics, tmp_path: Path) -> Iterator[None]:
    command = [sys.executable, "-c", textwrap.dedent(WORKER), kafka_bootstrap, topics.prefix, str(tmp_path)]
    with (tmp_path / "worker.log").open("w") as log:
        process = subprocess.Popen(command, stderr=log)
        yield
        process.terminate()
        assert process.wait(20) == 0


def rows(bootstrap: str, topics: Topics) -> list[ResolvedFeedback | None]:
    """Every record of the row's key, oldest first; None is a tombstone."""
    consumer, codec = reader(bootstrap, {}), Codec()
    try:
        end = consumer.get_watermark_offsets(TopicPartition(topics.latest.name, PARTITION), timeout=10)[1]
        found = [message for message in read(consumer, topics.latest.name, PARTITION, 0, end) if message.key() == KEY]
        values = [message.value() for message in found]
        return [codec.decode_as(ResolvedFeedback, value) if isinstance(value, bytes) else None for value in values]
    finally:
        consumer.close()


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("zombie", ["an older row", "a tombstone"])
def test_an_older_record_behind_the_owners_is_followed_by_the_owners_again(
    kafka_bootstrap: str, topics: Topics, zombie: str
) -> None:
    producer, codec = Producer({"bootstrap.servers": kafka_bootstrap, "partitioner": "murmur2_random"}), Codec()
    for number in (1, 2):
        event = FeedbackEvent("acme", "r1", f"e{number}", "vote", 10**12 + number, rating=number == 1)
        producer.produce(topics.events.name, codec.encode(event), KEY)
    producer.flush(10)
    wait_until(lambda: rows(kafka_bootstrap, topics), 60, "the row is published")
    owners = wait_until(lambda: settled(rows(kafka_bootstrap, topics)), 60, "both votes are folded")

    late = replace(owners, version=owners.version - 1) if zombie == "an older row" else None
    before = len(rows(kafka_bootstrap, topics))
    producer.produce(topics.latest.name, codec.encode(late) if late is not None else None, KEY, PARTITION)
    producer.flush(10)
    # Counted before the zombie wrote: the owner may answer it sooner than a reader opens.
    after = wait_until(lambda: rows(kafka_bootstrap, topics)[before + 1 :], 60, "the owner writes again")
    assert rows(kafka_bootstrap, topics)[before] == late
    assert after == [owners]


def settled(found: list[ResolvedFeedback | None]) -> ResolvedFeedback | None:
    """The owner's row once it holds the second vote, which is negative."""
    last = found[-1] if found else None
    return last if last is not None and last.vote is not None and last.vote.polarity < 0 else None


def test_a_tail_tells_the_last_and_the_greatest_version_of_each_key(kafka_bootstrap: str, topics: Topics) -> None:
    codec, producer = Codec(), Producer({"bootstrap.servers": kafka_bootstrap})
    row = ResolvedFeedback(0, False, None, "acme", "r1", first_seen=1, updated_at=1)
    for key, version in ((b"a", 5), (b"a", 9), (b"a", 7), (b"b", 3), (b"c", 4), (b"c", None)):
        value = None if version is None else codec.encode(replace(row, version=version))
        producer.produce(topics.latest.name, value, key, PARTITION)
    assert producer.flush(30) == 0
    last, greatest, end = Tail(kafka_bootstrap, {}, topics.latest.name).read(PARTITION, 1)
    assert (last, greatest, end) == ({b"a": 7, b"b": 3, b"c": -1}, {b"a": 9, b"b": 3, b"c": 4}, 6)
