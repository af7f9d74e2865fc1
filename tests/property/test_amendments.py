"""The laws of amendments. That rows and cells equal a recount, in any batches and replays, test_latest_wins shows."""

from collections.abc import Sequence

import hypothesis.strategies as st
from hypothesis import given, settings

from processors.minutes import DayCells
from schemas.events import AMEND, FeedbackEvent
from schemas.feedback_ids import hash_in
from schemas.topics import murmur2, request_key
from tests.simulators import recount
from tests.simulators.histories import AMENDED, WHERE, feedback_id, log
from tests.simulators.memory import Memory, arrivals, counted

REQUESTS = ("r0", "r1|", "r2")
_VALUES = st.sampled_from([-1.0, 0.0, 2.0])
_CHANGES = st.fixed_dictionaries(
    {"value": _VALUES},
    optional={
        "weight": st.sampled_from([0.0, 1.0]),
        "comment": st.sampled_from(["x", "y"]),
        "metadata": st.just({"model": '"m"'}),
    },
)


@st.composite
def conversations(draw: st.DrawFn) -> list[FeedbackEvent]:
    """What a vendor's client says: votes under ids of their own, and changes of votes that it has cast before."""
    events: list[FeedbackEvent] = []
    ids: list[str] = []
    for number, step in enumerate(draw(st.lists(st.integers(0, 5), min_size=1, max_size=14))):
        event_id = f"{draw(st.sampled_from('ae'))}{number}"
        if step < 3 or not ids:
            request = REQUESTS[step % 3]
            ids.append(feedback_id(request, number))
            fields = {"value": draw(_VALUES), "feedback_id": ids[-1], "source": "portkey"}
            events.append(FeedbackEvent("acme", request, event_id, "vote", **fields))
        elif step == 3:
            kind = draw(st.sampled_from(["retract", "retract", "retract", "erase"]))
            events.append(FeedbackEvent("acme", draw(st.sampled_from(REQUESTS)), event_id, kind))
        else:
            named = draw(st.sampled_from(ids))
            events.append(FeedbackEvent("acme", "", event_id, AMEND, feedback_id=named, **draw(_CHANGES)))
    return events


def contents(memory: Memory) -> dict[bytes, dict[str, object]]:
    return {key: recount.content(row) for key, row in memory.rows.items()}


def folded(records: Sequence[tuple[int, FeedbackEvent]]) -> Memory:
    memory = Memory(WHERE)
    for arrival in arrivals(records):
        memory.run([arrival])
    return memory


@settings(max_examples=100)
@given(st.data(), conversations())
def test_an_amendment_whose_record_comes_again_changes_nothing(
    data: st.DataObject, events: list[FeedbackEvent]
) -> None:
    records = log(events)
    amendments = [record for record in records if record[1].kind == AMEND]
    for time, event in data.draw(st.lists(st.sampled_from(amendments), max_size=4)) if amendments else []:
        last = records[-1][0]
        records.append((data.draw(st.integers(time, last)) + 1, event))
        records.sort(key=lambda record: record[0])
    again, once = folded(records), folded(log(events))
    assert contents(again) == contents(once)
    assert counted(held(again)) == counted(held(once))


def held(memory: Memory) -> DayCells:
    """Give the cells as they were moved from event to event."""
    for row in memory.rows.values():
        if row.vote_time is not None:
            memory.day(row.vote_time // WHERE.grain.day)
    return {place: cell for cells in memory.days.values() for place, cell in cells.items()}


@settings(max_examples=100)
@given(conversations())
def test_a_change_takes_effect_exactly_while_its_vote_stands(events: list[FeedbackEvent]) -> None:
    memory = Memory(WHERE)
    for arrival in arrivals(log(events)):
        before = dict(memory.rows)
        standing = {row.vote.feedback_id: key for key, row in before.items() if row.vote is not None}
        run = memory.run([arrival])
        assert isinstance(arrival.event, FeedbackEvent)
        if arrival.event.kind != AMEND:
            continue
        key = standing.get(arrival.event.feedback_id)
        assert run.unanswered == (key is None)
        assert set(run.rows) == ({key} if key is not None else set())
        if key is not None:
            vote, old = memory.rows[key].vote, before[key].vote
            assert vote is not None
            assert old is not None
            assert (vote.value, vote.feedback_id) == (arrival.event.value, old.feedback_id)
            assert memory.rows[key].vote_time == arrival.append_time


@settings(max_examples=100)
@given(AMENDED, st.sampled_from(REQUESTS))
def test_amendments_by_ids_of_one_request_touch_no_other(events: list[FeedbackEvent], request: str) -> None:
    own = murmur2(request_key("acme", request))
    records = log(events)
    without = [record for record in records if record[1].kind != AMEND or hash_in(record[1].feedback_id) != own]
    with_all, left = folded(records), folded(without)
    key = request_key("acme", request)
    assert {name: row for name, row in contents(with_all).items() if name != key} == {
        name: row for name, row in contents(left).items() if name != key
    }
