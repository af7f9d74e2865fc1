"""What delivery makes of records that are no alerts, and of a broker that falls silent: nothing."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from schemas.codec import Codec
from schemas.topics import Topics
from sinks.batch import Source
from sinks.delivery.evaluation import Evaluation
from sinks.delivery.queue import Parcel, Queue
from sinks.delivery.reader import Options, Reader
from sinks.startup import Address, consumer_config
from sinks.startup import Options as SinkOptions
from tests.simulators.delivery import alert, receiver, source
from thumbstream.telemetry import Metrics

TOPICS = Topics("t.")
NOWHERE = {"log_level": "0"}
NO_ALERTS = [None, b"junk", b""]


@pytest.fixture
def reader() -> Iterator[Reader]:
    """A reader without a broker, to which partition 0 of the alerts is given by the tests."""
    made = Reader(Options("127.0.0.1:1", TOPICS, "g", "w", NOWHERE), receiver(), Queue(60), Codec())
    yield made
    made._consumer.close()


def parcels(reader: Reader, offset: int, value: bytes | None) -> list[Parcel]:
    return list(reader._parcels(Source(TOPICS.alerts.name, 0, offset, 9, b"k", value)))


@pytest.mark.parametrize("value", NO_ALERTS)
def test_what_is_no_alert_moves_the_offset_on_but_never_back(reader: Reader, value: bytes | None) -> None:
    reader.intake.assigned(0, 3, 3)
    assert [parcels(reader, offset, value) for offset in range(3)] == [[], [], []], "dealt with before"
    assert [parcel.commit for parcel in parcels(reader, 3, value)] == [4]


@pytest.mark.parametrize("value", NO_ALERTS)
def test_at_a_first_start_it_counts_as_dealt_with_only_after_what_is_open(reader: Reader, value: bytes | None) -> None:
    reader.intake.assigned(0, None, 2)
    opened = alert("a", 1)
    assert reader.intake.take(source(opened, 0), opened) == []
    assert parcels(reader, 1, value) == []
    told = parcels(reader, 2, value)
    assert [(parcel.record, parcel.commit) for parcel in told] == [(opened, None), (None, 2), (None, 3)]


class Broker:
    """Answers questions, but gives records of minutes only from `given`, one a poll."""

    def __init__(self, given: Sequence[Any], error: KafkaError | None = None) -> None:
        self._given, self._error = list(given), error

    def offsets_for_times(self, asked: Sequence[TopicPartition], **_: Any) -> list[Any]:
        return [SimpleNamespace(offset=0, error=self._error) for _ in asked]

    def committed(self, places: Sequence[TopicPartition], **_: Any) -> list[TopicPartition]:
        return [TopicPartition(place.topic, place.partition, 5) for place in places]

    def assign(self, _: Sequence[TopicPartition]) -> None:
        """Nothing to do."""

    def poll(self, _: float) -> Any:
        return self._given.pop(0) if self._given else None


def told(code: int) -> Any:
    return SimpleNamespace(error=lambda: KafkaError(code), offset=lambda: -1001)


def looking(broker: Broker) -> Evaluation:
    made = Evaluation(Options("127.0.0.1:1", TOPICS, "g", "w", NOWHERE), 300.0, Metrics(), Codec())
    made._consumer.close()
    made._consumer = broker  # type: ignore[assignment]  # as much of one as is asked
    return made


@pytest.mark.parametrize("given", [[], [told(KafkaError._TRANSPORT)]], ids=["silence", "an error"])
def test_a_broker_that_falls_silent_says_nothing_about_the_evaluation(given: list[Any]) -> None:
    with pytest.raises(KafkaException):
        looking(Broker(given))._waiting({0: (0, 10)})
    with pytest.raises(KafkaException):
        looking(Broker(given))._marks(100_000, 20_000, 10)


def test_neither_does_an_error_about_where_to_look() -> None:
    with pytest.raises(KafkaException):
        looking(Broker([], KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)))._marks(100_000, 20_000, 10)


def test_an_end_without_records_is_an_end() -> None:
    at_end = told(KafkaError._PARTITION_EOF)
    assert looking(Broker([at_end]))._waiting({0: (0, 10)}) == {}
    assert looking(Broker([at_end]))._marks(100_000, 20_000, 10).stream_time() is None


def test_no_setting_makes_the_sink_begin_at_the_end_of_a_log() -> None:
    options = SinkOptions("127.0.0.1:1", TOPICS, Address("http://c", "u", "p"), kafka={"auto.offset.reset": "latest"})
    assert consumer_config(options)["auto.offset.reset"] == "earliest"


def test_a_group_of_which_the_broker_does_not_say_where_it_was_does_not_start_anew(reader: Reader) -> None:
    unknown = SimpleNamespace(
        topic=TOPICS.alerts.name, partition=0, offset=-1001, error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    )
    broker: Any = SimpleNamespace(committed=lambda *_, **__: [unknown])
    with pytest.raises(KafkaException):
        reader._assigned(broker, [TopicPartition(TOPICS.alerts.name, 0)])
