"""What the publisher on Kafka does when there is no broker to ask."""

import asyncio
from typing import Any

from confluent_kafka import KafkaError

from producers.publisher import KafkaPublisher
from schemas.events import FeedbackEvent
from schemas.topics import Topics
from thumbstream.local.ports import free_ports
from thumbstream.telemetry import Metrics


def unreachable(metrics: Metrics, **options: Any) -> KafkaPublisher:
    (port,) = free_ports(1)
    extra = {"log_level": 0, "delivery.timeout.ms": 1_000}
    return KafkaPublisher(f"127.0.0.1:{port}", Topics().events, metrics, extra=extra, **options)


def event(comment: str = "c") -> FeedbackEvent:
    return FeedbackEvent("t", "r", "e", "context", comment=comment)


def test_a_fatal_client_ends_the_process_and_a_passing_fault_does_not() -> None:
    reasons: list[str] = []
    publisher = unreachable(Metrics(), on_fatal=reasons.append)
    publisher._client_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "away"))
    assert reasons == []
    publisher._client_error(KafkaError(KafkaError._FATAL, "fenced", True))
    assert reasons == ["the Kafka producer cannot go on: fenced"]
    asyncio.run(publisher.close())


def test_an_answer_comes_in_its_time_and_the_backlog_is_given_back_later() -> None:
    metrics = Metrics()
    publisher = unreachable(metrics, answer_seconds=0.05)

    async def scenario() -> None:
        assert await publisher.publish([event(), event()]) == ["the broker did not acknowledge in time"] * 2
        assert metrics.value("publish_backlog") == 2
        async with asyncio.timeout(10):
            while metrics.value("publish_backlog"):  # noqa: ASYNC110 - a gauge tells nobody
                await asyncio.sleep(0.02)
        await publisher.close()

    asyncio.run(scenario())


def test_the_backlog_is_bounded_in_bytes_too() -> None:
    publisher = unreachable(Metrics(), backlog_bytes=1_000, answer_seconds=0.05)

    async def scenario() -> None:
        late, full = await asyncio.gather(publisher.publish([event("x" * 600)]), publisher.publish([event("x" * 600)]))
        assert "in time" in str(late)
        assert "full" in str(full)
        await publisher.close()

    asyncio.run(scenario())


def test_the_absence_of_the_broker_is_trouble() -> None:
    metrics = Metrics()
    publisher = unreachable(metrics)

    async def scenario() -> None:
        assert "does not answer" in str(await publisher.trouble())
        await publisher.close()

    asyncio.run(scenario())
    assert metrics.value("broker_up") == 0
