"""Make the topics, and check that what is there has the shape that meaning depends on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

# public, yet its package does not list it as exported
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    OffsetSpec,
    ResourceType,
)

from schemas.topics import Topic, Topics

_TIMEOUT = 15.0
_TRIES = 2
_POLL_SECONDS = 0.1
_LATE = (KafkaError._TIMED_OUT, KafkaError.REQUEST_TIMED_OUT)
_BINDING = ("cleanup.policy", "message.timestamp.type")


def client(bootstrap: str, options: Mapping[str, str] | None = None) -> AdminClient:
    """An admin client; connections are made at the first question."""
    return AdminClient({**(options or {}), "bootstrap.servers": bootstrap})


def create(admin: AdminClient, topics: Topics, replication: int) -> list[str]:
    """Create what is missing, and wait until clients can use it; the names that were made.

    KafkaException when the broker refuses, or is too slow twice.
    """
    made = _made(admin, {topic.name: _new(topic, replication) for topic in topics}, _TRIES)
    wait_for(admin, [topic.name for topic in topics])
    return made


def _made(admin: AdminClient, wanted: Mapping[str, NewTopic], tries: int) -> list[str]:
    made, late = [], {}
    for name, future in admin.create_topics(list(wanted.values()), request_timeout=_TIMEOUT).items():
        try:
            future.result()
            made.append(name)
        except KafkaException as exception:
            code = exception.args[0].code()
            if code in _LATE and tries > 1:  # it may be there by now
                late[name] = wanted[name]
            elif code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise
    return [*made, *_made(admin, late, tries - 1)] if late else made


def wait_for(admin: AdminClient, names: Sequence[str], seconds: float = _TIMEOUT) -> bool:
    """Wait until the leaders of all these topics answer: a moment after the broker said that they are made.

    False when `seconds` were not enough.
    """
    deadline = time.monotonic() + seconds
    while not _usable(admin, names):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _usable(admin: AdminClient, names: Sequence[str]) -> bool:
    known: Any = admin.list_topics(timeout=_TIMEOUT).topics
    if any(name not in known or not known[name].partitions for name in names):
        return False
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # not annotated
    asked = {TopicPartition(name, number): latest for name in names for number in known[name].partitions}
    # Only a leader answers this, and only once it knows that it is the leader.
    answers = admin.list_offsets(asked, request_timeout=_TIMEOUT).values()
    try:
        return all(answer.exception(_TIMEOUT) is None for answer in answers)
    except TimeoutError:
        return False


def _new(topic: Topic, replication: int) -> NewTopic:
    config = dict(topic.config)
    if replication > 1:
        config["min.insync.replicas"] = str(replication - 1)
    return NewTopic(topic.name, topic.partitions, replication, config=config)


def problems(admin: AdminClient, topics: Topics) -> list[str]:
    """One sentence for each thing that would make meaning go wrong; empty when all is well."""
    known: Any = admin.list_topics(timeout=_TIMEOUT).topics
    there = [topic for topic in topics if topic.name in known]
    missing = [f"topic {topic.name} is missing" for topic in topics if topic not in there]
    counts = [
        f"topic {topic.name} has {len(known[topic.name].partitions)} partitions, settings say {topic.partitions}"
        for topic in there
        if len(known[topic.name].partitions) != topic.partitions
    ]
    return missing + counts + list(_config_problems(admin, there))


def _config_problems(admin: AdminClient, topics: list[Topic]) -> Iterator[str]:
    asked = [ConfigResource(ResourceType.TOPIC, topic.name) for topic in topics]
    found = {resource.name: future for resource, future in admin.describe_configs(asked).items()} if asked else {}
    for topic in topics:
        actual = found[topic.name].result(timeout=_TIMEOUT)
        for name in _BINDING:
            if name in topic.config and actual[name].value != topic.config[name]:
                yield f"topic {topic.name} has {name}={actual[name].value}, it must be {topic.config[name]}"
