"""Owners read the tail of their own changelog: a zombie's last write may come after the owner's, with no rebalance to
show it, and compaction would keep the zombie's.

    owner:   row v7 ............... reads its tail, sees v5 last, writes v7 again
    zombie:          row v5 (late)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import KafkaException, TopicPartition

from processors.reading import TIMEOUT, read, reader
from processors.tables import GONE, VersionedTable
from schemas.codec import version_in

_log = structlog.get_logger(__name__)

Versions = dict[bytes, int]  # by key


@dataclass(frozen=True, slots=True)
class Tail:
    """Reads one changelog topic, outside the consumer group and without committing."""

    bootstrap: str
    options: Mapping[str, str]
    topic: str

    def read(self, partition: int, start: int) -> tuple[Versions, Versions, int]:
        """Each key's last and its greatest version from `start` on, and the end of the partition. Blocks."""
        with closing(reader(self.bootstrap, self.options)) as consumer:
            lowest, end = consumer.get_watermark_offsets(TopicPartition(self.topic, partition), timeout=TIMEOUT)
            last: Versions = {}
            greatest: Versions = {}
            for message in read(consumer, self.topic, partition, max(start, lowest), end):
                key, value = message.key(), message.value()
                if isinstance(key, bytes):
                    last[key] = version_in(value) if isinstance(value, bytes) else GONE
                    greatest[key] = max(last[key], greatest.get(key, GONE))
            return last, greatest, end


async def heal(app: Any, table: VersionedTable, tail: Tail) -> None:
    """Read the tails of all partitions that `table` holds, and write newest rows again where an older one is last."""
    for partition in sorted(table.parts):
        if app.rebalancing:
            return
        rows = table.parts.get(partition)
        if rows is None:
            continue  # a whole rebalance came and went while another tail was read
        epoch, start = table.epoch[partition], table.applied_until(partition)
        try:
            last, greatest, end = await asyncio.get_running_loop().run_in_executor(None, tail.read, partition, start)
        except KafkaException as error:
            _log.warning("tail not read", partition=partition, error=str(error))  # next time, long before compaction
            return
        async with table.writing:  # no batch is half published now, so memory holds whatever this worker wrote
            if table.parts.get(partition) is rows and table.epoch[partition] == epoch and not app.rebalancing:
                await table.heal_tail(partition, last, greatest, end)
