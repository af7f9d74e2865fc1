"""What every producer of ours tells the Kafka client, and how an event becomes a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.codec import Codec
from schemas.events import AMEND, FeedbackEvent
from schemas.feedback_ids import event_key, event_partition

BY_KEY = -1

# What correctness rests on: nobody's pass-through settings may change these.
_FIXED = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",  # as the Java client, so that any producer meets the same partition
}
_DEFAULTS = {
    "compression.type": "lz4",
    "linger.ms": 3,
    "delivery.timeout.ms": 8_000,
    "message.max.bytes": 2 << 20,
    "socket.keepalive.enable": True,
    "reconnect.backoff.max.ms": 1_000,  # a broker that is back must be noticed soon
}


def producer_settings(bootstrap: str, extra: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a confluent_kafka.Producer: `own` are the caller's, `extra` what the user passes through."""
    return {**_DEFAULTS, **own, **extra, **_FIXED, "bootstrap.servers": bootstrap}


def message(codec: Codec, event: FeedbackEvent) -> tuple[bytes, bytes]:
    """(key, value) of an event. Raises ValueError or TypeError for an event that does not fit its schema."""
    return event_key(event), codec.encode(event)


def chosen_partition(event: FeedbackEvent, partitions: int) -> int:
    """The partition to name when producing: BY_KEY lets the client choose, but for amendments, whose key cannot say."""
    return event_partition(event, partitions) if event.kind == AMEND else BY_KEY
