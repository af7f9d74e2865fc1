"""Changes of a vote by its feedback id, case by case; the laws for all cases are in tests/property."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from processors.amendments import FeedbackIndex, answers
from processors.deduplicate import MAX_CLAMPED, Arrival
from processors.minutes import Cell, Group
from processors.pipeline import Folded, Partition, days_needed
from schemas.codec import Codec
from schemas.events import AMEND, FeedbackEvent, ResolvedFeedback, Vote
from schemas.feedback_ids import event_key, packed
from schemas.topics import murmur2, request_key
from tests.simulators.memory import Memory

DAY = 86_400_000
NOW = 20_000 * DAY
WHERE = Partition(0, 1, ((),))
TENANT = Group("acme", (), ())
KEY = request_key("acme", "r1")


def feedback_id(request: str = "r1", number: int = 1) -> str:
    return packed(murmur2(request_key("acme", request)), number, 0)


OWN = feedback_id()


def vote(event_id: str = "b", request: str = "r1", **fields: Any) -> FeedbackEvent:
    given = {"value": -1.0, "weight": 0.5, "feedback_id": feedback_id(request), "source": "portkey/x", **fields}
    return FeedbackEvent("acme", request, event_id, "vote", **given)


def put(event_id: str = "c", **fields: Any) -> FeedbackEvent:
    given = {"feedback_id": OWN, "source": "portkey/y", **fields}
    return FeedbackEvent("acme", "", event_id, AMEND, **given)


def at(offset: int, event: FeedbackEvent, time: int) -> Arrival:
    return Arrival(offset, time, event_key(event), event)


def log(events: Sequence[FeedbackEvent], first: int = 0) -> list[Arrival]:
    """One event a second."""
    return [at(first + number, event, NOW + 1_000 * number) for number, event in enumerate(events)]


def row(*events: FeedbackEvent) -> ResolvedFeedback:
    """The row of r1 after all events, each in a batch of its own."""
    memory = Memory(WHERE)
    for arrival in log(events):
        memory.run([arrival])
    return memory.rows[KEY]


def test_a_new_value_replaces_the_old_one_and_what_is_not_said_stays() -> None:
    before = vote(comment="meh", user_id="ann", metadata={"model": '"m"', "x": "1"})
    after = row(before, put(value=4.0))
    assert after.vote == Vote(1, 4.0, weight=0.5, feedback_id=OWN, source="portkey/y")
    assert (after.vote_time, after.updated_at, after.version) == (NOW + 1_000, NOW + 1_000, (1 << 48) + 1)
    assert (after.comment, after.user_id, after.model, after.metadata["x"]) == ("meh", "ann", "m", "1")
    assert (after.first_seen, after.request_id) == (NOW, "r1")


def test_a_new_weight_keeps_the_value() -> None:
    after = row(vote(), put(weight=1.0)).vote
    assert after == Vote(-1, -1.0, weight=1.0, feedback_id=OWN, source="portkey/y")


def test_what_says_nothing_of_the_vote_leaves_its_minute_alone() -> None:
    after = row(vote(), put(comment="now", user_id="bob", metadata={"model": '"n"', "gone": None}))
    assert (after.vote, after.vote_time) == (row(vote()).vote, NOW)
    assert (after.comment, after.user_id, after.model) == ("now", "bob", "n")


def test_a_vote_of_another_kind_loses_its_score_with_a_new_value() -> None:
    starred = vote(value=None, score=1.0, scale_min=1.0, scale_max=5.0)
    assert row(starred, put(value=2.0)).vote == Vote(1, 2.0, weight=0.5, feedback_id=OWN, source="portkey/y")
    kept = row(starred, put(weight=0.0)).vote
    assert kept is not None
    assert (kept.polarity, kept.score, kept.scale_max, kept.weight) == (-1, 1.0, 5.0, 0.0)


def test_a_later_vote_is_not_touched_by_the_id_of_an_earlier_one() -> None:
    later = vote("d", value=3.0, feedback_id=feedback_id(number=2))
    assert row(vote(), later, put(value=-9.0)).vote == row(vote(), later).vote
    assert row(vote(), later, put("e", feedback_id=feedback_id(number=2), weight=0.0)).vote == Vote(
        1, 3.0, weight=0.0, feedback_id=feedback_id(number=2), source="portkey/y"
    )


def test_an_amended_vote_can_be_amended_again_and_be_replaced() -> None:
    twice = row(vote(), put(value=4.0), put("d", value=-2.0))
    assert twice.vote is not None
    assert (twice.vote.value, twice.vote_time) == (-2.0, NOW + 2_000)
    assert row(vote(), put(value=4.0), vote("x", value=0.0, feedback_id=None)).vote == Vote(
        0, 0.0, weight=0.5, source="portkey/x"
    )


@pytest.mark.parametrize("kind", ["retract", "erase"])
def test_what_was_taken_back_or_erased_does_not_come_back(kind: str) -> None:
    gone = FeedbackEvent("acme", "r1", "d", kind)
    assert row(vote(), gone, put(value=4.0, comment="x")) == row(vote(), gone)


def test_an_implicit_signal_has_nothing_to_amend() -> None:
    implied = vote(signal="implicit")
    assert row(implied, put(value=4.0)) == row(implied)


def test_whoever_uses_an_id_made_for_another_request_is_not_found_by_it() -> None:
    foreign = vote(feedback_id=feedback_id("other"))
    assert row(foreign, put(value=4.0, feedback_id=feedback_id("other"))) == row(foreign)
    assert not answers(KEY, row(foreign), put(feedback_id=feedback_id("other")))


def test_another_tenant_s_amendment_is_none() -> None:
    stranger = replace(put(value=4.0), tenant_id="other")
    assert row(vote(), stranger) == row(vote())


@pytest.mark.parametrize("event_id", ["a", "z"])
@pytest.mark.parametrize("back", [0, 5_000])
def test_an_amendment_counts_after_its_vote_whatever_the_broker_s_clock_says(event_id: str, back: int) -> None:
    memory = Memory(WHERE)
    memory.run([at(0, vote(), NOW)])
    memory.run([at(1, put(event_id, value=4.0), NOW - back)])
    after = memory.rows[KEY]
    assert after.vote is not None
    assert after.vote.value == 4.0
    assert after.vote_time == (NOW if (back, event_id) == (0, "z") else NOW + 1)


def test_a_record_that_comes_twice_is_one_amendment_whatever_came_between() -> None:
    first, second = put("c", value=4.0), put("d", value=-2.0)
    assert row(vote(), first, second, first).vote == row(vote(), first, second).vote
    assert row(vote(), first, first).vote_time == NOW + 1_000


def test_the_memory_for_that_is_bounded() -> None:
    many = row(vote(), *(put(f"p{number:03}", value=float(number % 9)) for number in range(100)))
    assert sorted(many.clamped) == [f"p{number:03}" for number in range(100 - MAX_CLAMPED, 100)]


def test_a_replayed_amendment_counts_where_it_belonged() -> None:
    replayed = put("c", value=4.0, event_time=NOW + 500)
    assert row(vote(), replayed).vote_time == NOW + 500
    newer = put("d", value=-2.0)
    assert row(vote(), newer, replayed).vote == row(vote(), newer).vote
    assert row(vote(), replayed, newer, replayed).vote == row(vote(), replayed, newer).vote


def test_counts_move_from_the_old_minute_to_the_new_one() -> None:
    memory = Memory(WHERE)
    memory.run([at(0, vote(user_id="ann"), NOW)])
    folded = memory.run([at(1, put(value=2.0), NOW + 61_000)])
    assert folded.cells == {(TENANT, NOW): Cell(), (TENANT, NOW + 60_000): Cell(0, 1)}


def test_a_vote_and_its_amendments_may_come_in_one_batch() -> None:
    folded = Memory(WHERE).run(
        log([vote(), put(value=4.0), put("d", weight=1.0), vote("e", "r2"), put("f", value=0.0)])
    )
    vote_now = folded.rows[KEY].vote
    assert vote_now == Vote(0, 0.0, weight=1.0, feedback_id=OWN, source="portkey/y")
    assert (folded.unanswered, folded.verdicts) == (0, [True] * 5)


def test_what_nothing_answers_to_is_counted_and_changes_nothing() -> None:
    folded = Memory(WHERE).run(log([put(value=1.0), vote(), put(value=1.0, feedback_id=feedback_id(number=9))]))
    assert (folded.unanswered, folded.verdicts, folded.refused) == (2, [True] * 3, [])
    assert folded.rows[KEY].version == (1 << 48) + 1


def test_a_replay_over_rows_that_are_ahead_changes_nothing() -> None:
    events = log(
        [vote(), put(value=4.0), vote("d", value=-3.0, feedback_id=feedback_id(number=2)), put("e", value=9.0)]
    )
    memory = Memory(WHERE)
    memory.run(events)
    for begin in range(4):
        again = memory.fold(events[begin:])
        assert (again.rows, again.cells) == ({}, {})


@pytest.mark.parametrize("key", [b"acme|r1", b"acme||" + feedback_id(number=7).encode(), b"acme|", b""])
def test_a_key_that_is_not_the_amendment_s_is_misrouted(key: bytes) -> None:
    folded = Memory(WHERE).run([Arrival(0, NOW, key, put(value=1.0))])
    assert [refusal.reason for _, refusal in folded.refused] == ["misrouted"]


def test_a_partition_that_is_not_the_vote_s_is_misrouted() -> None:
    home = murmur2(KEY) % 0x80000000 % 5

    def fold(number: int) -> Folded:
        memory = Memory(Partition(number, 5, ()))
        return memory.run(log([put(value=1.0)]))

    assert [number for number in range(5) if not fold(number).refused] == [home]


def test_an_amendment_that_a_full_row_has_no_room_for_is_refused() -> None:
    full = [
        FeedbackEvent(
            "acme", "r1", f"m{number}", "context", metadata={f"k{number}-{index}": "1" for index in range(64)}
        )
        for number in range(15)
    ]
    folded = Memory(WHERE).run(log([vote(), *full, put(metadata={f"n{index}": "1" for index in range(64)})]))
    assert [refusal.reason for _, refusal in folded.refused] == ["too_large"]
    assert folded.verdicts[-1] is False


def test_the_days_of_an_amendment_are_those_of_its_append_time_and_of_its_vote() -> None:
    memory = Memory(WHERE)
    memory.run([at(0, vote(event_time=NOW - 3 * DAY), NOW)])
    assert days_needed([at(1, put(value=1.0), NOW + DAY)], memory.lookup) == {19_997, 20_001}
    memory.run([at(1, vote("z", value=2.0, feedback_id=OWN, event_time=NOW + DAY - 1), NOW + DAY)])
    tie = at(2, put("a", value=1.0), NOW)  # counts a millisecond after its vote, which is the next day
    assert days_needed([tie], memory.lookup) == {20_000, 20_001}
    assert memory.run([tie]).rows[KEY].vote_time == NOW + DAY


def test_the_index_finds_rows_by_their_bytes_and_no_others() -> None:
    index, codec = FeedbackIndex(), Codec()
    named, plain = row(vote()), row(vote(feedback_id=None))
    index.note(b"other", codec.encode(plain))
    assert index.keys(murmur2(KEY)) == ()
    for key in (KEY, KEY, b"another key"):
        index.note(key, codec.encode(named))
    assert index.keys(murmur2(KEY)) == (KEY,)


def test_keys_with_the_same_hash_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    own = murmur2(KEY)
    monkeypatch.setattr("processors.amendments.murmur2", lambda key: own)
    index, named = FeedbackIndex(), Codec().encode(row(vote()))
    for key in (KEY, b"b", b"c", KEY, b"b"):
        index.note(key, named)
    assert index.keys(own) == (KEY, b"b", b"c")


def test_a_text_that_looks_like_an_id_hides_none() -> None:
    decoy = packed(7, 7, 7)
    index = FeedbackIndex()
    confused = row(vote(source=f"{decoy} {decoy}", metadata={"_user": f'"{decoy}"', "d": f'"x{packed(8, 8, 8)}"'}))
    index.note(KEY, Codec().encode(confused))
    assert index.keys(murmur2(KEY)) == (KEY,)
    assert index.keys(7) == index.keys(8) == (), "ids of other keys, which anybody may write into a text, take no room"
