"""One batch of one partition: what is refused, skipped, merged and counted, and the dead letter of what is refused."""

from dataclasses import replace
from typing import Any

import pytest

from processors.deduplicate import Arrival, Refusal
from processors.merge import merge
from processors.minutes import Cell, Group
from processors.pipeline import Partition, days_needed, fold, letter
from schemas.codec import Codec
from schemas.events import FeedbackEvent, ResolvedFeedback
from schemas.topics import request_key, version_of
from tests.simulators.memory import Memory

DAY = 86_400_000
NOW = 20_000 * DAY
WHERE = Partition(0, 1, ((), ("model",)), epoch=2)
TENANT = Group("acme", (), ())


def arrival(offset: int, event_id: str = "e1", request: str = "r1", at: int = NOW, **fields: Any) -> Arrival:
    fields = {"rating": True, "event_time": at, **fields}
    event = FeedbackEvent("acme", request, event_id, fields.pop("kind", "vote"), **fields)
    return Arrival(offset, at, request_key("acme", request), event)


def test_versions_carry_the_epoch_and_the_offset() -> None:
    folded = Memory(WHERE).run([arrival(7)])
    assert [row.version for row in folded.rows.values()] == [version_of(2, 7)]
    assert WHERE.source == 2_000


def test_events_at_or_below_the_rows_version_are_skipped() -> None:
    memory = Memory(WHERE)
    memory.run([arrival(7)])
    assert memory.fold([arrival(6, "zz", rating=False), arrival(7, "zz", rating=False)]).rows == {}
    assert len(memory.fold([arrival(8, "zz", rating=False)]).rows) == 1


def test_later_events_of_a_batch_see_the_rows_of_earlier_ones() -> None:
    folded = Memory(WHERE).run([arrival(0), arrival(1, "e2", rating=False), arrival(2, "e3", "r2")])
    assert folded.cells[TENANT, NOW] == Cell(1, 1, 0, {"": 1})
    assert len(folded.rows) == 2


def test_refused_events_are_set_aside_and_the_rest_goes_on() -> None:
    undecodable = Arrival(1, NOW, b"x", Refusal("undecodable", "no"))
    misrouted = replace(arrival(2), key=b"acme|other")
    folded = Memory(WHERE).run([arrival(0), undecodable, misrouted, arrival(3, value=99.0), arrival(4, request="r4")])
    assert [refusal.reason for _arrival, refusal in folded.refused] == ["undecodable", "misrouted", "invalid"]
    assert folded.verdicts == [True, False, False, False, True]
    assert len(folded.rows) == 2


def test_a_batch_may_touch_the_day_of_the_standing_vote_and_the_days_of_its_events() -> None:
    memory = Memory(WHERE)
    memory.run([arrival(0, event_time=NOW - 3 * DAY)])
    batch = [arrival(1, "e2", at=NOW + 5, event_time=NOW - DAY), arrival(2, "e3", at=NOW + DAY, event_time=None)]
    assert days_needed(batch, memory.lookup) == {19_997, 19_999, 20_001}
    assert days_needed([Arrival(3, NOW, b"?", Refusal("undecodable", ""))], memory.lookup) == set()


def test_a_clock_ahead_may_count_on_the_day_of_the_first_arrival() -> None:
    # The id comes twice, with another meaning the second time: the vote counts on day 20,000, not on its own.
    context = arrival(0, kind="context", rating=None, comment="hi", event_time=NOW + 9 * DAY)
    vote = arrival(1, at=NOW + DAY, event_time=NOW + 9 * DAY)
    memory = Memory(WHERE)
    memory.run([context])
    assert days_needed([vote], memory.lookup) == {20_000, 20_001}
    assert memory.run([vote]).cells[TENANT, NOW] == Cell(0, 1)


def test_a_batch_whose_days_are_not_at_hand_fails_instead_of_counting_wrong() -> None:
    with pytest.raises(KeyError):
        fold(WHERE, [arrival(0)], Memory(WHERE).lookup, {})


def test_nothing_that_is_admitted_makes_a_row_that_cannot_be_encoded() -> None:
    half = arrival(0, metadata={"model": '"\\ud800"'})  # half of a surrogate pair: JSON text, but no UTF-8
    whole = arrival(1, metadata={"model": '"\\ud83d\\ude00"'})
    folded = Memory(WHERE).run([half, whole])
    assert [refusal.reason for _arrival, refusal in folded.refused] == ["invalid"]
    assert [row.model for row in folded.rows.values()] == ["\U0001f600"]
    for row in folded.rows.values():
        Codec().encode(row)


def test_a_letter_names_its_source_so_that_a_replay_writes_it_again() -> None:
    bad = arrival(41)
    made = letter(bad, Refusal("invalid", "why"), "feedback.events", 3, b"bytes", {"h": b"v"})
    assert (made.letter_id, made.stage, made.reason, made.message) == (
        "feedback.events-3-41",
        "resolve",
        "invalid",
        "why",
    )
    assert (made.tenant_id, made.key, made.original, made.headers) == ("acme", b"acme|r1", b"bytes", {"h": b"v"})
    assert (made.topic, made.partition, made.offset, made.failed_at) == ("feedback.events", 3, 41, NOW)
    stranger = letter(Arrival(1, NOW, b"", Refusal("undecodable", "")), Refusal("undecodable", ""), "t", 0, None, {})
    assert stranger.tenant_id is None


def test_the_stored_row_is_asked_for_once_it_is_not_in_the_batch() -> None:
    known = merge(None, FeedbackEvent("acme", "r1", "e0", "vote", NOW - 5, rating=False), version_of(2, 1), NOW)
    assert isinstance(known, ResolvedFeedback)
    folded = Memory(WHERE, {request_key("acme", "r1"): known}).run([arrival(9)])
    assert folded.cells[TENANT, NOW - 60_000] == Cell()
    assert folded.cells[TENANT, NOW] == Cell(0, 1)
