"""What every publisher promises, asked of the one in memory and of the one on Kafka."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import pytest

from producers.publisher import KafkaPublisher, MemoryPublisher, Outcomes, Publisher
from schemas.codec import Codec
from schemas.events import AMEND, Candidate, FeedbackEvent
from schemas.feedback_ids import event_partition, packed
from schemas.topics import Topics, murmur2, partition_of, request_key
from tests.fixtures.events import make_events_topic, stored_events
from thumbstream.telemetry import Metrics

BACKLOG = 50


class Stage(Protocol):
    """A publisher to test, and a look at what it has published."""

    publisher: Publisher

    def stored(self) -> list[tuple[bytes, FeedbackEvent]]: ...


class InMemory:
    """`MemoryPublisher` under test."""

    def __init__(self) -> None:
        self.memory = MemoryPublisher(backlog=BACKLOG)
        self.publisher: Publisher = self.memory

    def stored(self) -> list[tuple[bytes, FeedbackEvent]]:
        codec = Codec()
        return [(key, codec.decode_as(FeedbackEvent, value)) for key, value in self.memory.messages]


class OnKafka:
    """`KafkaPublisher` under test, with a topic of its own."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self.bootstrap, self.topics, self.metrics = bootstrap, topics, Metrics()
        self.publisher: Publisher = KafkaPublisher(bootstrap, topics.events, self.metrics, backlog=BACKLOG)

    def stored(self) -> list[tuple[bytes, FeedbackEvent]]:
        found = stored_events(self.bootstrap, self.topics)
        assert all(one.partition == event_partition(one.event, self.topics.events.partitions) for one in found)
        return [(one.key, one.event) for one in found]


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.integration)])
def stage(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> Iterator[Stage]:
    if request.param == "memory":
        yield InMemory()
        return
    bootstrap = request.getfixturevalue("kafka_bootstrap")
    on_kafka = OnKafka(bootstrap, make_events_topic(bootstrap, unique))
    yield on_kafka
    asyncio.run(on_kafka.publisher.close())


def event(number: int, **fields: Any) -> FeedbackEvent:
    return FeedbackEvent("a|b", f"r{number % 7}", f"e{number}", "vote", rating=True, **fields)


def publish(stage: Stage, *batches: list[FeedbackEvent]) -> list[Outcomes]:
    """All batches at once."""

    async def all_at_once() -> list[Outcomes]:
        return await asyncio.gather(*map(stage.publisher.publish, batches))

    return asyncio.run(all_at_once())


def test_what_is_acknowledged_is_there_with_every_field(stage: Stage) -> None:
    full = FeedbackEvent(
        "a|b", "r é", "e", "vote", event_time=1, rating=False, value=0.0, score=1.0, scale_min=0.0, scale_max=1.0,
        weight=0.5, comment="", correction="ü", reasons=("x",), tags=(), flagged=False, user_id="u", signal="implicit",
        metadata={"k": '"v"', "gone": None}, feedback_id="f", source="s", received_at=2, original=b"\x00\xff",
    )  # fmt: skip
    compared = FeedbackEvent("a|b", "r é", "p", "preference", preference=(Candidate("c", 1.0), Candidate("d", 0.0, "")))
    assert publish(stage, [full, compared]) == [[None, None]]
    assert stage.stored() == [("a%7Cb|r é".encode(), full), ("a%7Cb|r é".encode(), compared)]


def test_batches_at_once_all_arrive_and_each_request_keeps_its_order(stage: Stage) -> None:
    batches = [[event(10 * batch + number) for number in range(10)] for batch in range(4)]
    assert publish(stage, *batches) == [[None] * 10] * 4
    stored = [found.event_id for _, found in stage.stored()]
    assert sorted(stored) == sorted(f"e{number}" for number in range(40))
    for batch in batches:
        for request_id in {one.request_id for one in batch}:
            sent = [one.event_id for one in batch if one.request_id == request_id]
            assert [event_id for event_id in stored if event_id in sent] == sent


def test_an_amendment_lies_on_the_partition_of_its_vote(stage: Stage) -> None:
    votes = [
        replace(event(number), feedback_id=packed(murmur2(request_key("a|b", f"r{number}")), 0, 0))
        for number in range(7)
    ]
    amendments = [
        FeedbackEvent("a|b", "", f"m{one.event_id}", AMEND, value=1.0, feedback_id=one.feedback_id) for one in votes
    ]
    partitions = Topics().events.partitions
    assert [event_partition(one, partitions) for one in amendments] == [
        partition_of(request_key("a|b", one.request_id), partitions) for one in votes
    ]
    assert publish(stage, [*votes, *amendments]) == [[None] * 14]  # `stored` looks at partitions
    keys = {found.event_id: key for key, found in stage.stored()}
    assert {keys[f"m{one.event_id}"] for one in votes} == {f"a%7Cb||{one.feedback_id}".encode() for one in votes}


def test_nothing_published_is_nothing_answered(stage: Stage) -> None:
    assert publish(stage, []) == [[]]
    assert stage.stored() == []


def test_beyond_the_backlog_nothing_is_promised_and_the_room_comes_back(stage: Stage) -> None:
    (refused,) = publish(stage, [event(number) for number in range(BACKLOG + 1)])
    assert len(refused) == BACKLOG + 1
    assert all(refused)
    assert stage.stored() == []
    for _ in range(3):
        assert publish(stage, [event(number) for number in range(BACKLOG)]) == [[None] * BACKLOG]


def test_an_event_that_fits_no_schema_takes_its_whole_batch_along(stage: Stage) -> None:
    with pytest.raises((ValueError, TypeError)):
        publish(stage, [event(1), event(2, comment="\ud800")])
    assert stage.stored() == []
    assert publish(stage, [event(3)]) == [[None]]


def test_a_reachable_topic_is_no_trouble(stage: Stage) -> None:
    assert asyncio.run(stage.publisher.trouble()) is None
