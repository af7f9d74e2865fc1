"""The embedded Kafka: real brokers that keep their word through kills and restarts."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.polling import wait_until
from thumbstream import topic_admin
from thumbstream.local import kafka
from thumbstream.local.kafka import Cluster, KafkaError
from thumbstream.local.ports import PortInUseError
from thumbstream.local.supervisor import Supervisor

pytestmark = pytest.mark.integration


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Start clusters that are stopped when the test ends."""
    clusters: list[Cluster] = []

    def start(data_dir: Path = tmp_path, **options: object) -> Cluster:
        clusters.append(kafka.start(data_dir, **options))  # type: ignore[arg-type]  # options are start's own
        return clusters[-1]

    yield start
    for cluster in clusters:
        cluster.stop(grace_seconds=2)


def make_topic(cluster: Cluster, name: str, replicas: int = 1) -> None:
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})  # its futures fail when it is collected
    admin.create_topics([NewTopic(name, 1, replicas)])[name].result(20)
    assert topic_admin.wait_for(admin, [name])


def publish(cluster: Cluster, topic: str, value: str, timeout: float = 30) -> None:
    failures: list[object] = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "log_level": 0})
    producer.produce(topic, value, on_delivery=lambda error, _message: failures.append(error) if error else None)
    assert producer.flush(timeout) == 0
    assert failures == []


def read(cluster: Cluster, topic: str, count: int) -> list[str]:
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "reader", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[str] = []

    def enough() -> bool:
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            values.append((message.value() or b"").decode())
        return len(values) >= count

    wait_until(enough, 60, f"{count} records in {topic}")
    consumer.close()
    return values


def test_one_broker_keeps_ports_and_records_through_kill_and_stop(running: Callable[..., Cluster]) -> None:
    first = running()
    make_topic(first, "kept")
    publish(first, "kept", "before the kill")
    first.kill(1)
    assert first.pids == {}
    first.restart(1)
    publish(first, "kept", "after the kill")
    first.stop()

    again = running()
    assert again.bootstrap == first.bootstrap
    assert read(again, "kept", 2) == ["before the kill", "after the kill"]
    again.stop()

    moved = running(ports="auto")
    assert moved.bootstrap != first.bootstrap
    assert read(moved, "kept", 2) == ["before the kill", "after the kill"], "advertised listeners follow the ports"


def test_three_brokers_keep_writing_when_one_is_killed(running: Callable[..., Cluster]) -> None:
    cluster = running(brokers=3)
    assert sorted(cluster.pids) == ["kafka-1", "kafka-2", "kafka-3"]
    make_topic(cluster, "replicated", replicas=3)
    publish(cluster, "replicated", "three")
    cluster.kill(1)
    publish(cluster, "replicated", "two", timeout=60)
    cluster.restart(1)
    assert read(cluster, "replicated", 2) == ["three", "two"]


def test_a_supervisor_brings_a_killed_broker_back(tmp_path: Path) -> None:
    unlucky = {"cluster_id": "-" + "A" * 20 + "w", "ports": []}  # one id in 64 begins like an option
    (tmp_path / "cluster.json").write_text(json.dumps(unlucky))
    plan = kafka.prepare(tmp_path)
    told: list[dict[str, int]] = []
    supervisor = Supervisor(kafka.child_specs(plan), on_change=lambda pids, up: told.append(pids) if up else None)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        wait_until(lambda: told, 60, "the broker is healthy")
        os.kill(told[0]["kafka-1"], signal.SIGKILL)
        wait_until(lambda: len(told) == 2, 60, "the broker is healthy again")
    finally:
        supervisor.stop()
        thread.join(15)
    assert told[0]["kafka-1"] != told[1]["kafka-1"]


def test_what_cannot_work_is_refused_with_the_reason(tmp_path: Path) -> None:
    kafka.prepare(tmp_path)
    with pytest.raises(KafkaError, match="holds a cluster of 1, not 3 brokers"):
        kafka.prepare(tmp_path, brokers=3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"{port} \(kafka-1\)"):
            kafka.prepare(tmp_path / "taken", ports=[port])
    with pytest.raises(KafkaError, match="3 brokers need 3 ports, not 1"):
        kafka.prepare(tmp_path / "few", brokers=3, ports=[port])


def test_the_jvm_takes_the_cache_that_makes_starts_quick(tmp_path: Path) -> None:
    kafka.quicken_starts()
    plan = kafka.prepare(tmp_path)
    java, *arguments = plan.format_command(plan.nodes[0])
    assert plan.start_cache is not None
    assert f"-XX:AOTCache={plan.start_cache}" in arguments
    subprocess.run([java, "-XX:AOTMode=on", *arguments], check=True, timeout=60)  # with "on", it must fit or fail
