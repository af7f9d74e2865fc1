"""The one producer of a worker: records go out in order, and a barrier says when all of them are durable."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from schemas.topics import LARGEST_MESSAGE
from thumbstream.telemetry import die

Keyed = tuple[bytes, bytes]  # key, value
BY_KEY = -1
_FLUSH_SECONDS = 10.0


class Outputs:
    """Idempotent, acknowledged by all in-sync replicas. Any failure ends the process: nothing was committed yet."""

    def __init__(self, bootstrap: str, options: Mapping[str, str] | None = None) -> None:
        self._failures: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": 5,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 500_000,
                "message.max.bytes": LARGEST_MESSAGE,
                **(options or {}),
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "delivery.timeout.ms": 8_000,  # below the group's session timeout: a zombie gives up before it is one
                "request.timeout.ms": 5_000,
                "delivery.report.only.error": True,
                "on_delivery": self._failed,
            }
        )

    def _failed(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(f"{message.topic()}: {error}")

    def send(self, topic: str, records: list[Keyed], partition: int = BY_KEY) -> None:
        """Queue records for `topic`, by their keys or all for one partition. Waits only for room in the queue."""
        waiting: list[Any] = [{"key": key, "value": value} for key, value in records]
        while waiting:
            try:
                taken = self._producer.produce_batch(topic, waiting, partition)
            except BufferError:
                taken = 0
            if taken == len(waiting):
                return
            waiting = [record for record in waiting if self._must_wait(record.pop("_error", None), topic)]
            self._producer.poll(0.05)

    def send_one(self, topic: str, record: Keyed, partition: int, headers: Mapping[str, str]) -> None:
        """Queue one record with headers. For what is rare: batches take none."""
        key, value = record
        pairs: dict[str, str | bytes | None] = dict(headers)
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=pairs)
            except BufferError:
                self._producer.poll(0.05)
            else:
                return

    @staticmethod
    def _must_wait(error: KafkaError | None, topic: str) -> bool:
        """Whether a record found no room. Any other error would come again for ever."""
        if error is not None and error.code() != KafkaError._QUEUE_FULL:
            die(f"cannot publish to {topic}: {error}")
        return error is not None

    async def barrier(self) -> None:
        """Return when everything sent so far is durable; end the process when that fails."""
        if len(self._producer):
            left = await asyncio.get_running_loop().run_in_executor(None, self._producer.flush, _FLUSH_SECONDS)
            if left:
                die(f"{left} records were not acknowledged within {_FLUSH_SECONDS:.0f} s")
        else:
            self._producer.poll(0)
        if self._failures:
            die(f"delivery failed: {self._failures[:3]}")

    def partitions(self, topic: str) -> int:
        """How many partitions `topic` has. KafkaException when the broker does not answer."""
        return len(self._producer.list_topics(topic, timeout=10).topics[topic].partitions or ())
