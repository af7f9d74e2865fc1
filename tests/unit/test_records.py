"""A fault of ours must stop the sink at an accepted event; elsewhere a record of no sense is skipped with a letter."""

from typing import NoReturn

import pytest

from schemas.codec import Codec
from schemas.events import FeedbackEvent, MinuteCount
from schemas.feedback_ids import event_key, event_partition
from schemas.topics import Topics
from sinks.batch import Source
from sinks.records import Records, SkippedError

TOPICS, CODEC = Topics("t."), Codec()
EVENT = FeedbackEvent("e", "acme", "r", "vote", rating=True)


def test_an_accepted_event_is_never_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> NoReturn:
        raise ValueError("a fault of ours")

    monkeypatch.setattr("sinks.records.rows_of", broken)
    place = event_partition(EVENT, TOPICS.event_partitions)
    with pytest.raises(ValueError, match="a fault of ours"):
        Records(TOPICS, 1).rows(Source(TOPICS.events.name, place, 0, 1, event_key(EVENT), CODEC.encode(EVENT)))


def test_a_cell_whose_group_does_not_fit_its_rollup_is_skipped() -> None:
    value = CODEC.encode(MinuteCount("acme", "model", ("a", "b"), 0, 1000, 1, 1, 1, 1))
    with pytest.raises(SkippedError) as skipped:
        Records(TOPICS, 1).rows(Source(TOPICS.minutes.name, 0, 0, 1, b"k", value))
    assert skipped.value.reason == "undecodable"
