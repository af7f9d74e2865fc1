"""What embedded brokers are told."""

from pathlib import Path

import pytest

from thumbstream.local.kafka_settings import Node, broker_properties, java_command


def settings(brokers: int) -> dict[str, str]:
    nodes = [Node(n, 20_000 + n, 21_000 + n, Path(f"/data/kafka-{n}")) for n in range(1, brokers + 1)]
    return dict(line.split("=", 1) for line in broker_properties(nodes[0], nodes).splitlines())


@pytest.mark.parametrize(("brokers", "replicas", "in_sync"), [(1, "1", "1"), (3, "3", "2")])
def test_three_brokers_keep_three_copies_and_insist_on_two(brokers: int, replicas: str, in_sync: str) -> None:
    told = settings(brokers)
    assert told["offsets.topic.replication.factor"] == replicas
    assert told["transaction.state.log.replication.factor"] == replicas
    assert told["transaction.state.log.min.isr"] == in_sync
    assert told["min.insync.replicas"] == in_sync


def test_clients_are_sent_to_loopback_and_topics_are_never_made_by_accident() -> None:
    told = settings(3)
    assert told["advertised.listeners"] == "PLAINTEXT://127.0.0.1:20001"
    assert told["controller.quorum.voters"] == "1@127.0.0.1:21001,2@127.0.0.1:21002,3@127.0.0.1:21003"
    assert told["auto.create.topics.enable"] == "false"


def test_the_cleaner_can_hold_the_keys_of_a_full_segment_of_small_records() -> None:
    told = settings(1)
    keys = int(told["log.cleaner.dedupe.buffer.size"]) * 0.9 / 24
    assert keys > int(told["log.segment.bytes"]) / 75, "a record of 75 bytes on disk is smaller than any of ours"


def test_the_heap_is_bounded() -> None:
    command = java_command(Path("/jre/java"), [Path("/a.jar"), Path("/b.jar")], "kafka.Kafka", 256, Path("/log4j2"))
    assert "-Xmx256m" in command
    assert command[-3:] == ["-cp", "/a.jar:/b.jar", "kafka.Kafka"]
