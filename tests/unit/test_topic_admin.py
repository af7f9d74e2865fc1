"""Who makes the topics, and what becomes of them when a broker is slow. Fakes stand for Kafka's admin client."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, KafkaException

from schemas.topics import Topics
from thumbstream import topic_admin
from thumbstream.local import kafka
from thumbstream.local.kafka_settings import Node
from thumbstream.local.stack import Stack
from thumbstream.settings import Settings

TOPICS = Topics("t.", 1, 1)
NAMES = [topic.name for topic in TOPICS]


def failed(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


@dataclass(slots=True)
class Cluster:
    """Makes topics. `fails`: what it says of one instead, time after time. `late`: it makes that all the same."""

    fails: dict[str, list[int]] = field(default_factory=dict)
    late: bool = False
    there: set[str] = field(default_factory=set)

    def create_topics(self, wanted: Sequence[Any], **_: Any) -> dict[str, Future[None]]:
        return {topic.topic: self._create(topic.topic) for topic in wanted}

    def _create(self, name: str) -> Future[None]:
        told: Future[None] = Future()
        if name in self.there:
            told.set_exception(failed(KafkaError.TOPIC_ALREADY_EXISTS))
        elif codes := self.fails.get(name):
            told.set_exception(failed(codes.pop(0)))
            self.there |= {name} if self.late else set()
        else:
            self.there.add(name)
            told.set_result(None)
        return told

    def list_topics(self, **_: Any) -> Any:
        return SimpleNamespace(topics={name: SimpleNamespace(partitions={0: None}) for name in self.there})

    def list_offsets(self, asked: Any, **_: Any) -> dict[Any, Any]:
        return {place: SimpleNamespace(exception=lambda _: None) for place in asked}


def create(cluster: Cluster) -> list[str]:
    return topic_admin.create(cast("Any", cluster), TOPICS, 1)


def test_what_is_missing_is_made_and_told() -> None:
    cluster = Cluster(there={NAMES[0]})
    assert create(cluster) == NAMES[1:]
    assert cluster.there == set(NAMES)


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT])
@pytest.mark.parametrize("late", [False, True])
def test_a_topic_that_was_not_made_in_time_is_asked_for_again_or_found(code: int, late: bool) -> None:
    cluster = Cluster({NAMES[1]: [code]}, late)
    assert {*create(cluster), NAMES[1]} == set(NAMES)
    assert cluster.there == set(NAMES)


SLOW, REFUSED = KafkaError._TIMED_OUT, KafkaError.POLICY_VIOLATION


@pytest.mark.parametrize("codes", [[SLOW, SLOW], [SLOW, REFUSED], [REFUSED]])
def test_a_topic_that_cannot_be_made_is_an_error(codes: list[int]) -> None:
    with pytest.raises(KafkaException) as told:
        create(Cluster({NAMES[1]: [*codes]}))
    assert told.value.args[0].code() == codes[-1]


@dataclass(slots=True)
class Brokers:
    """The brokers of a stack, by address. `answers_after`: seconds; one that is not in it does not listen yet."""

    answers_after: dict[str, float]
    made: list[list[str]] = field(default_factory=list)

    def is_listening(self, port: int, _: float) -> bool:
        return f"127.0.0.1:{port}" in self.answers_after

    def client(self, settings: dict[str, Any]) -> Any:
        return SimpleNamespace(list_topics=lambda timeout: self._metadata(settings["bootstrap.servers"], timeout))

    def _metadata(self, address: str, timeout: float) -> Any:
        if self.answers_after[address] > timeout:
            raise failed(KafkaError._TRANSPORT)
        return SimpleNamespace(brokers={1: None, 2: None, 3: None})

    def create(self, _: Any, topics: Topics, replication: int) -> None:
        self.made.append([f"{topic.name} x{replication}" for topic in topics])


@pytest.mark.parametrize(
    ("answers_after", "times"),
    [((0.0, 0.0, 0.0), 1), ((4.0, 0.0, 0.0), 1), ((0.0, 4.0, 4.0), 1), ((0.0, None, 0.0), 0)],
    ids=["all are quick", "one is slow", "two are slow", "one is not there yet"],
)
def test_the_stack_s_topics_are_made_once_all_brokers_are_there_though_they_be_slow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers_after: tuple[float | None, ...], times: int
) -> None:
    """Nobody would make them later: the last broker to become healthy asks the others, who were so before."""
    nodes = tuple(Node(number, 9000 + number, 9100 + number, tmp_path) for number in (1, 2, 3))
    known = {node.address: seconds for node, seconds in zip(nodes, answers_after, strict=True) if seconds is not None}
    brokers = Brokers(known)
    monkeypatch.setattr(kafka, "is_listening", brokers.is_listening)
    monkeypatch.setattr(kafka, "AdminClient", brokers.client)
    monkeypatch.setattr(topic_admin, "client", lambda *_: None)
    monkeypatch.setattr(topic_admin, "create", brokers.create)
    plan = kafka.Plan("cluster", nodes, (), 256)
    stack = Stack(tmp_path, Settings(replication=3), plan, cast("Any", None), "key", {})
    stack._create_topics()
    assert brokers.made == [[f"{topic.name} x3" for topic in Settings().topics]] * times
