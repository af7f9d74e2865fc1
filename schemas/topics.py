"""Names, keys, partitioning and settings of all topics. Keys are UTF-8 text; `|` separates, `%` escapes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

_HOUR = 3_600_000
_DAY = 24 * _HOUR
LARGEST_EVENT = 2 << 20
LARGEST_MESSAGE = 4 << 20  # a dead letter holds a whole refused event and more
EPOCH_SHIFT = 48  # version = epoch * 2**48 + offset
PROGRESS_KEY = b"|progress|"  # no tenant is empty, so no group has this key
MONITORS_KEY = b"|monitors|"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: how many partitions, what its key says, and the broker settings that meaning depends on."""

    name: str
    key: str
    partitions: int
    config: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics under one prefix. `minutes` and `alerts` share a partition count, as do `events` and `latest`."""

    prefix: str = "feedback."
    event_partitions: int = 4
    minute_partitions: int = 4
    events: Topic = field(init=False)
    latest: Topic = field(init=False)
    minutes: Topic = field(init=False)
    alerts: Topic = field(init=False)
    dead_letters: Topic = field(init=False)

    def __post_init__(self) -> None:
        events, minutes = self.event_partitions, self.minute_partitions
        self._put(
            "events", "events", "tenant|request", events, _kept(30 * _DAY, largest=LARGEST_EVENT, append_time=True)
        )
        self._put("latest", "latest", "tenant|request", events, {**_COMPACTED, **_REPLACED_WITHIN})
        self._put("minutes", "minutes", "tenant|rollup|group", minutes, _kept(8 * _DAY, append_time=True))
        self._put("alerts", "high-negative-rate", "fingerprint", minutes, _COMPACTED)
        self._put("dead_letters", "dead-letters", "letter id", 1, _kept(30 * _DAY))

    def _put(self, attribute: str, suffix: str, key: str, partitions: int, config: Mapping[str, str]) -> None:
        object.__setattr__(self, attribute, Topic(self.prefix + suffix, key, partitions, config))

    def __iter__(self) -> Iterator[Topic]:
        return iter((self.events, self.latest, self.minutes, self.alerts, self.dead_letters))


def _kept(milliseconds: int, *, largest: int = LARGEST_MESSAGE, append_time: bool = False) -> dict[str, str]:
    config = {
        "cleanup.policy": "delete",
        "retention.ms": str(milliseconds),
        "segment.ms": str(_DAY),  # segments go as a whole: Kafka's own week would come on top of the retention
        "max.message.bytes": str(largest),
    }
    return {**config, "message.timestamp.type": "LogAppendTime"} if append_time else config


_COMPACTED = {
    "cleanup.policy": "compact",
    "min.compaction.lag.ms": str(_DAY),  # a zombie's older record is still beside the newer one when an owner re-reads
    "max.message.bytes": str(LARGEST_MESSAGE),
}
# Compaction alone waits until half of a partition is outdated: what an erasure replaced could stay for ever.
_REPLACED_WITHIN = {"segment.ms": str(12 * _HOUR), "max.compaction.lag.ms": str(36 * _HOUR)}


def gone_after(topic: Topic) -> int:
    """Milliseconds after which a record that is replaced (compacted topics) or just old (others) is off the disk.

    Holds where the topic has these settings. KeyError for a compacted topic that promises no such time.
    """
    config = topic.config
    if config["cleanup.policy"] == "compact":
        return int(config["max.compaction.lag.ms"])
    return int(config["retention.ms"]) + int(config["segment.ms"])


def escape(text: str) -> str:
    """A key part in which `|` cannot be mistaken for a separator."""
    return text.replace("%", "%25").replace("|", "%7C")


def request_key(tenant_id: str, request_id: str) -> bytes:
    """Key of an event and of its row."""
    return f"{escape(tenant_id)}|{escape(request_id)}".encode()


def group_key(values: Sequence[str]) -> str:
    """The values of a group as one text; empty for the tenant rollup."""
    return "|".join(map(escape, values))


def minute_key(tenant_id: str, rollup: str, values: Sequence[str]) -> bytes:
    """Key of a group's minutes: all of them lie on one partition."""
    return f"{escape(tenant_id)}|{rollup}|{group_key(values)}".encode()


def version_of(epoch: int, offset: int) -> int:
    """The version of whatever was computed from `offset` of the events topic in its `epoch`."""
    return (epoch << EPOCH_SHIFT) + offset


def source_partition_of(epoch: int, partition: int) -> int:
    """The number under which a source partition counts; a new epoch's partitions are new sources."""
    return epoch * 1000 + partition


def epoch_of(source_partition: int) -> int:
    """The epoch that a source partition's number tells."""
    return source_partition // 1000


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that every producer with `partitioner=murmur2_random` (and the Java client) chooses for `key`."""
    return partition_of_hash(murmur2(key), partitions)


def partition_of_hash(key_hash: int, partitions: int) -> int:
    """The same, where only murmur2 of the key is known."""
    return (key_hash & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2 of 32 bits with Kafka's seed."""
    length, mixer, mask = len(data), 0x5BD1E995, 0xFFFFFFFF
    state = 0x9747B28C ^ length
    whole = length & ~3
    for word in struct.unpack_from(f"<{whole // 4}I", data):
        mixed = word * mixer & mask
        state = (state * mixer & mask) ^ ((mixed ^ mixed >> 24) * mixer & mask)
    if whole < length:
        state = (state ^ int.from_bytes(data[whole:], "little")) * mixer & mask
    state = (state ^ state >> 13) * mixer & mask
    return state ^ state >> 15
