"""An operator's command reads every partition to its end, whichever tells its end first, or twice."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException

from thumbstream.whole_topic import _places, _to_the_end


def message(partition: int, value: bytes | None = None, error: int | None = None) -> Any:
    told = None if error is None else KafkaError(error)
    return SimpleNamespace(error=lambda: told, value=lambda: value, partition=lambda: partition)


def end(partition: int) -> Any:
    return message(partition, error=KafkaError._PARTITION_EOF)


def read(*messages: Any, partitions: int = 2) -> list[bytes]:
    polls = iter(messages)
    consumer = cast("Consumer", SimpleNamespace(poll=lambda _: next(polls, None)))
    return [found.value() or b"" for found in _to_the_end(consumer, range(partitions))]


def test_a_partition_that_grows_and_ends_twice_ends_no_other() -> None:
    assert read(end(0), message(0, b"a"), end(0), message(1, b"b"), end(1)) == [b"a", b"b"]


def test_tombstones_are_no_records() -> None:
    assert read(message(0), message(0, b"a"), end(0), partitions=1) == [b"a"]


@pytest.mark.parametrize("last", [None, message(1, error=KafkaError._TRANSPORT)])
def test_silence_and_errors_are_no_end(last: Any) -> None:
    with pytest.raises(KafkaException):
        read(end(0), *filter(None, [last]))


def test_a_topic_that_cannot_be_described_is_no_empty_one() -> None:
    described = SimpleNamespace(partitions={}, error=None)
    listed = SimpleNamespace(topics={"t": described})
    with pytest.raises(KafkaException):
        _places(cast("Consumer", SimpleNamespace(list_topics=lambda timeout: listed)), "t")
