"""Laws of the audit: what the product makes of any history balances, and whatever is lost of it is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from processors.minutes import DayCells, published, rollup_name
from processors.pipeline import Partition
from schemas.codec import Codec
from schemas.events import FeedbackEvent, ResolvedFeedback
from schemas.topics import version_of
from tests.simulators.histories import ANY, BEGIN, ROLLUPS, log
from tests.simulators.memory import Memory, arrivals
from thumbstream.audit.cells import Cells
from thumbstream.audit.events import EventBook, Letters, Range
from thumbstream.audit.ledger import Ledger
from thumbstream.audit.rows import RowBook

Log = Sequence[tuple[int, FeedbackEvent]]
WHERE = Partition(0, 1, ROLLUPS)
COUNTED = frozenset(map(rollup_name, ROLLUPS))
CODEC = Codec()
SPREAD = 20_000  # a millisecond of the generated histories becomes so many, so that votes fall into several minutes


def stretched(events: Sequence[FeedbackEvent]) -> list[tuple[int, FeedbackEvent]]:
    """A log over real minutes."""

    def later(time: int | None) -> int | None:
        return None if time is None else BEGIN + (time - BEGIN) * SPREAD

    return [(later(at) or 0, replace(event, event_time=later(event.event_time))) for at, event in log(events)]


def product(history: Log, unseen: int | None = None) -> tuple[dict[bytes, ResolvedFeedback], DayCells, Letters]:
    """Rows, cells and letters of the product's own fold, which may miss one event."""
    memory, cells, letters = Memory(WHERE), DayCells(), Letters()
    for arrival in arrivals(history):
        if arrival.offset != unseen:
            folded = memory.run([arrival])
            cells.update(folded.cells)
            letters.resolve.update({f"events-0-{refused.offset}": why.reason for refused, why in folded.refused})
    return memory.rows, cells, letters


def audited(
    history: Log, rows: dict[bytes, ResolvedFeedback], cells: DayCells, letters: Letters, start: int = 0
) -> Ledger:
    """The audit of what is published, by the events from `start` on."""
    ledger, end = Ledger(), len(history)
    events = EventBook(Range("events", 0, 1, start, end, whole=start == 0), letters, ledger)
    for arrival in arrivals(history)[start:]:
        assert isinstance(arrival.event, FeedbackEvent)
        events.take(arrival.offset, arrival.append_time, arrival.key, arrival.event)
    book = RowBook(0, version_of(1, end), 1, CODEC, ledger)
    for key, row in rows.items():
        book.take(key, CODEC.encode(row), parked=False)
    counts = Cells({0: version_of(1, end)}, whole=True, counted=COUNTED)
    for place, cell in cells.items():
        counts.published(published(place, cell, 1000, version_of(1, max(end - 1, 0))), 0, parked=False)
    book.judge(events, counts)
    counts.judge_topic(ledger)
    return ledger


@given(ANY)
def test_whatever_the_product_makes_of_a_history_balances(events: list[FeedbackEvent]) -> None:
    history = stretched(events)
    assert audited(history, *product(history)).differences == []


@given(ANY, st.integers(0, 15))
def test_with_a_part_of_the_log_the_truth_balances_too(events: list[FeedbackEvent], start: int) -> None:
    history = stretched(events)
    assert audited(history, *product(history), start=min(start, len(history))).differences == []


@given(ANY, st.integers(0, 15))
def test_an_event_that_was_not_seen_is_found_unless_it_said_nothing(events: list[FeedbackEvent], unseen: int) -> None:
    history = stretched(events)
    truth, wrong = product(history), product(history, unseen)
    same = truth[0] == wrong[0] and truth[2] == wrong[2]
    assert audited(history, *wrong).balanced == same


@given(ANY, st.integers(0, 1000), st.sampled_from(["negative", "positive", "neutral"]))
def test_a_count_that_is_one_too_high_is_found(events: list[FeedbackEvent], which: int, name: str) -> None:
    history = stretched(events)
    rows, cells, letters = product(history)
    if not cells:
        return
    chosen = sorted(cells, key=repr)[which % len(cells)]
    setattr(cells[chosen], name, getattr(cells[chosen], name) + 1)
    assert [item.hop for item in audited(history, rows, cells, letters).differences] == ["minutes"]


@given(ANY, st.integers(0, 1000))
def test_a_user_who_is_counted_for_another_is_found(events: list[FeedbackEvent], which: int) -> None:
    history = stretched(events)
    rows, cells, letters = product(history)
    disliked = sorted((place for place in cells if cells[place].users), key=repr)
    if not disliked:
        return
    users = cells[disliked[which % len(disliked)]].users
    users["stranger"] = users.pop(next(iter(users)))
    found = audited(history, rows, cells, letters).differences
    assert [item.what for item in found] == ["top_negative_users differ from a recount"]
