"""Does the events topic still hold what the stored versions were computed from? Pure."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.topics import EPOCH_SHIFT

SHORTER = "the events topic is shorter than the state: was it re-created?"


def complaint(newest: Mapping[int, int], ends: Mapping[int, int], epoch: int) -> str | None:
    """Why a sink must not start, or None.

    `newest`: source partition -> greatest stored version; `ends`: partition of the events topic -> its next offset.
    A topic that was re-created counts its offsets from 0 again: its events would look older than what is stored.
    """
    for source_partition, version in sorted(newest.items()):
        stored_epoch, partition = divmod(source_partition, 1000)
        offset = version & ((1 << EPOCH_SHIFT) - 1)
        if stored_epoch > epoch:
            return f"epoch {stored_epoch} is stored already, but the settings say epoch {epoch}"
        if stored_epoch == epoch and offset >= ends.get(partition, 0):
            end = ends.get(partition, 0)
            return f"{SHORTER} (partition {partition} ends at {end}, offset {offset} is stored)"
    return None
