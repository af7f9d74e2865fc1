"""What an erasure means where, and by when: computed from the topics' settings. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from schemas.topics import Topics, gone_after
from thumbstream.dead_letters import time_text

_DAY = 86_400_000
_OLD_PARTS = 1_200_000  # ClickHouse keeps parts that were replaced for 8 minutes; an idle table's cleaner sleeps 10
NOW = "now"


class Due(NamedTuple):
    """One place that held content of an erased request: where, and by when (UTC) it is gone."""

    where: str
    when: str


def erase_event(request_id: str, event_id: str, time: int) -> bytes:
    """A native event as JSON. With its own id and time (epoch ms), so that sending it twice is sending it once."""
    event = {"request_id": request_id, "kind": "erase", "event_id": event_id, "event_time": time}
    return json.dumps(event, ensure_ascii=False).encode()


def report(topics: Topics, erased_at: int, *, purged: bool) -> Iterator[Due]:
    """Every place, soonest first. `erased_at` is epoch ms; `purged`: ClickHouse has deleted already.

    The dates of topics hold where the topics have the settings of this release.
    """
    yield Due("views, rates and alerts", NOW)
    yield Due("ClickHouse's files", time_text(erased_at + _OLD_PARTS + (0 if purged else _DAY)))
    for topic in (topics.latest, topics.minutes, topics.events, topics.dead_letters):
        yield Due(f"topic {topic.name}", time_text(erased_at + gone_after(topic)))
    yield Due("ClickHouse's dead letters", time_text(erased_at + gone_after(topics.dead_letters)))
