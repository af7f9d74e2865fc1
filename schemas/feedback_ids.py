"""Feedback ids: UUIDs of version 8 under which a client may speak of its vote again, and where events belong.

    hhhhhhhh-nnnn-8nnn-bnnn-mmmmmmmmmmmm      32 bits of hash, 42 of chance, 48 of MAC

The hash is murmur2 of the request's key: enough to choose the partition without knowing the request. The MAC is the
gateways' affair; whoever reads events takes it as it is.
"""

from __future__ import annotations

import re

from schemas.events import AMEND, FeedbackEvent
from schemas.topics import escape, partition_of, partition_of_hash, request_key

NONCE_BITS = 42
MAC_BITS = 48
_FORM = re.compile(r"([0-9a-f]{8})-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def packed(key_hash: int, nonce: int, mac: int) -> str:
    """The id as text, in lower case. The arguments have 32, NONCE_BITS and MAC_BITS bits."""
    nonce_text = f"{nonce >> 26:04x}-8{nonce >> 14 & 0xFFF:03x}-{0x8000 | nonce & 0x3FFF:04x}"
    return f"{key_hash:08x}-{nonce_text}-{mac:012x}"


def split(feedback_id: str) -> tuple[str, str] | None:
    """(what the MAC is about, the MAC as text), or None for a text that is no such id."""
    return (feedback_id[:24], feedback_id[24:]) if _FORM.fullmatch(feedback_id) else None


def hash_in(feedback_id: str | None) -> int | None:
    """The hash of the request's key, or None for a text that is no such id."""
    found = _FORM.fullmatch(feedback_id or "")
    return int(found[1], 16) if found else None


def event_key(event: FeedbackEvent) -> bytes:
    """The key under which an event must be published. An amendment names no request: its key has one part more."""
    if event.kind == AMEND:
        return f"{escape(event.tenant_id)}||{escape(event.feedback_id or '')}".encode()
    return request_key(event.tenant_id, event.request_id)


def event_partition(event: FeedbackEvent, partitions: int) -> int:
    """The partition on which an event must be published: that of the request, also where only its hash is known."""
    key_hash = hash_in(event.feedback_id) if event.kind == AMEND else None
    return partition_of(event_key(event), partitions) if key_hash is None else partition_of_hash(key_hash, partitions)
