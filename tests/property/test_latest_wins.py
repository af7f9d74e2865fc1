"""The laws of rows and cells: any order, any re-send, any batches, any replay give the same content."""

from collections.abc import Sequence
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given, settings

from processors.minutes import DayCells
from schemas.codec import Codec, row_head
from schemas.events import FeedbackEvent
from schemas.topics import request_key, version_of
from tests.simulators import recount
from tests.simulators.histories import ANY, APPENDED, GRAIN, PAST, ROLLUPS, SAFE, VOTES, WHERE, log
from tests.simulators.memory import Memory, all_cells, arrivals, counted

CODEC = Codec()
SPLITS = st.lists(st.integers(1, 5), max_size=16)


def folded(events: Sequence[FeedbackEvent]) -> Memory:
    """Give the memory after each event came in a batch of its own."""
    memory = Memory(WHERE)
    for arrival in arrivals(log(events)):
        memory.run([arrival])
    return memory


def contents(memory: Memory) -> dict[bytes, dict[str, object]]:
    return {key: recount.content(row) for key, row in memory.rows.items()}


def held(memory: Memory) -> DayCells:
    """Give the cells as they were moved from event to event, day by day."""
    for row in memory.rows.values():
        if row.vote_time is not None:
            memory.day(row.vote_time // GRAIN.day)
    return {key: cell for cells in memory.days.values() for key, cell in cells.items()}


def truth(events: Sequence[FeedbackEvent]) -> dict[tuple[str, str], recount.Truth]:
    return recount.rows(log(events))


@settings(max_examples=150)
@given(st.data(), PAST)
def test_any_order_and_any_resend_give_the_same_rows_and_cells(
    data: st.DataObject, events: list[FeedbackEvent]
) -> None:
    again = data.draw(st.lists(st.sampled_from(events), max_size=5)) if events else []
    shuffled = data.draw(st.permutations(events + again))
    one, other = folded(events), folded(shuffled)
    assert contents(one) == contents(other)
    assert counted(held(one)) == counted(held(other))


@settings(max_examples=150)
@given(ANY)
def test_rows_and_cells_equal_a_plain_recount(events: list[FeedbackEvent]) -> None:
    memory, wanted = folded(events), truth(events)
    assert contents(memory) == {request_key(*name): row.content() for name, row in wanted.items()}
    assert counted(held(memory)) == recount.cells(wanted, ROLLUPS, GRAIN.minute)


@settings(max_examples=150)
@given(ANY)
def test_cells_equal_the_count_over_the_final_rows(events: list[FeedbackEvent]) -> None:
    memory = folded(events)
    assert counted(held(memory)) == counted(all_cells(memory.rows.values(), ROLLUPS, WHERE))


@settings(max_examples=150)
@given(st.data(), SAFE.filter(bool))
def test_a_resend_changes_nothing_however_late_and_whatever_the_clients_clock(
    data: st.DataObject, events: list[FeedbackEvent]
) -> None:
    records = log(events)
    for place in data.draw(st.lists(st.integers(0, len(events) - 1), max_size=4)):
        after = data.draw(st.integers(place, len(events) - 1))
        records.append((log(events)[after][0] + 1, events[place]))  # the first arrivals keep their append times
    memory, plain = Memory(WHERE), folded(events)
    for arrival in arrivals(sorted(records, key=lambda record: record[0])):
        memory.run([arrival])
    assert contents(memory) == contents(plain)
    assert counted(held(memory)) == counted(held(plain))


@settings(max_examples=150)
@given(ANY, SPLITS)
def test_any_split_into_batches_gives_the_same_rows_and_cells(events: list[FeedbackEvent], sizes: list[int]) -> None:
    memory, single, rest = Memory(WHERE), folded(events), arrivals(log(events))
    for size in [*sizes, len(rest) + 1]:
        memory.run(rest[:size])
        rest = rest[size:]
    assert memory.rows == single.rows  # versions and times of update too
    assert held(memory) == held(single)


@settings(max_examples=150)
@given(st.data(), ANY)
def test_replaying_any_suffix_changes_nothing(data: st.DataObject, events: list[FeedbackEvent]) -> None:
    memory = folded(events)
    again = memory.fold(arrivals(log(events))[data.draw(st.integers(0, len(events))) :])
    assert again.rows == {}
    assert again.cells == {}


@settings(max_examples=150)
@given(st.data(), ANY)
def test_a_batch_that_is_folded_but_not_committed_changes_no_memory(
    data: st.DataObject, events: list[FeedbackEvent]
) -> None:
    cut = data.draw(st.integers(0, len(events)))
    memory, records = folded(events[:cut]), arrivals(log(events))
    before = (dict(memory.rows), counted(held(memory)))
    memory.fold(records[cut:])
    assert (memory.rows, counted(held(memory))) == before


@settings(max_examples=150)
@given(st.data(), PAST, st.sampled_from(["r0", "r1|", "r2"]))
def test_an_erasure_absorbs_whatever_comes_before_and_after(
    data: st.DataObject, events: list[FeedbackEvent], request_id: str
) -> None:
    erasure = FeedbackEvent("acme", request_id, "forget", "erase", event_time=APPENDED)
    place = data.draw(st.integers(0, len(events)))
    memory = folded([*events[:place], erasure, *events[place:]])
    erased = memory.rows[request_key("acme", request_id)]
    assert recount.content(erased) == {"erased": True}
    assert erased.version <= version_of(WHERE.epoch, place)  # an erasure among the events may have come first
    assert counted(held(memory)) == recount.cells(truth([*events, erasure]), ROLLUPS, GRAIN.minute)


@settings(max_examples=150)
@given(st.data(), PAST, VOTES)
def test_an_implicit_signal_changes_no_vote_and_no_count(
    data: st.DataObject, events: list[FeedbackEvent], vote: FeedbackEvent
) -> None:
    implicit = replace(vote, event_id="implied", signal="implicit", user_id=None, metadata={})
    place = data.draw(st.integers(0, len(events)))
    memory, without = folded([*events[:place], implicit, *events[place:]]), folded(events)
    assert counted(held(memory)) == counted(held(without))
    for key, row in without.rows.items():
        assert (memory.rows[key].vote, memory.rows[key].vote_time) == (row.vote, row.vote_time)


@settings(max_examples=100)
@given(ANY)
def test_every_row_survives_its_bytes_and_shows_its_head(events: list[FeedbackEvent]) -> None:
    for row in folded(events).rows.values():
        payload = CODEC.encode(row)
        assert CODEC.decode(payload) == row
        assert row_head(payload) == (row.version, row.erased, row.vote_time)
