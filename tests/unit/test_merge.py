"""One event into one row, case by case; the laws for all cases are in tests/property/test_latest_wins.py."""

from dataclasses import replace
from typing import Any

import pytest

from processors.merge import holders, merge, registers
from schemas.events import FeedbackEvent, ResolvedFeedback, Vote

NOW = 1_700_000_000_000


def event(kind: str = "vote", event_id: str = "e1", time: int | None = NOW - 1_000, **fields: Any) -> FeedbackEvent:
    if kind == "vote" and not fields.keys() & {"rating", "value", "score"}:
        fields["rating"] = True
    return FeedbackEvent("acme", "r1", event_id, kind, event_time=time, **fields)


def merged(*events: FeedbackEvent) -> ResolvedFeedback:
    row = None
    for offset, one in enumerate(events):
        row = merge(row, one, offset, NOW + offset) or row
    assert row is not None
    return row


def test_the_first_vote_makes_a_row() -> None:
    row = merged(event(value=0.0, user_id="ann", metadata={"model": '"m1"'}))
    assert row.vote == Vote(0, 0.0, weight=1.0)
    assert (row.vote_time, row.first_seen, row.updated_at, row.version) == (NOW - 1_000, NOW - 1_000, NOW, 0)
    assert (row.model, row.user_id) == ("m1", "ann")


def test_a_newer_vote_wins_and_an_older_one_does_not() -> None:
    new, old = event(event_id="new", time=NOW - 1, rating=False), event(event_id="old", time=NOW - 2)
    assert merged(old, new).vote == merged(new, old).vote == Vote(-1, weight=1.0)


def test_a_vote_without_a_time_counts_when_the_broker_appended_it() -> None:
    row = merged(event(time=None), event(event_id="e0", time=None, rating=False))
    assert (row.vote_time, row.vote) == (NOW + 1, Vote(-1, weight=1.0))


def test_at_the_same_time_the_greater_id_wins_and_then_the_greater_value() -> None:
    assert merged(event(event_id="b"), event(event_id="a", rating=False)).vote == Vote(1, weight=1.0)
    one, other = event(comment="x"), event(comment="y")
    assert merged(one, other).comment == merged(other, one).comment == "y"


def test_an_event_that_changes_nothing_gives_no_row() -> None:
    row = merged(event())
    assert merge(row, event(), 1, NOW + 1) is None
    assert merge(row, event("preference"), 2, NOW + 2) is None


def test_a_losing_vote_still_gives_what_nobody_newer_has_set() -> None:
    newer = event(event_id="new", time=NOW - 1, metadata={"model": '"m2"'})
    older = event(event_id="old", time=NOW - 9, rating=False, comment="bad", metadata={"model": '"m1"', "app": '"a"'})
    row = merged(newer, older)
    assert row.vote == Vote(1, weight=1.0)
    assert (row.model, row.app, row.comment, row.first_seen) == ("m2", "a", "bad", NOW - 9)


@pytest.mark.parametrize("vote_first", [True, False])
def test_context_may_come_before_or_after_the_vote(vote_first: bool) -> None:
    vote, context = event(), event("context", "c", NOW - 5, metadata={"model": '"m"', "cost": "0"})
    row = merged(*((vote, context) if vote_first else (context, vote)))
    assert (row.vote, row.model, row.metadata) == (Vote(1, weight=1.0), "m", {"model": '"m"', "cost": "0"})


def test_removed_metadata_is_gone_but_absent_metadata_stays() -> None:
    first = event(metadata={"model": '"m"', "app": '"a"'})
    row = merged(first, event("context", "e2", NOW - 1, metadata={"model": None}))
    assert (row.model, row.app, row.metadata) == (None, "a", {"app": '"a"'})
    assert merge(row, event("context", "e0", NOW - 9, metadata={"model": '"old"'}), 5, NOW) is None


def test_a_retraction_takes_back_what_was_said_and_keeps_what_is_known() -> None:
    said: dict[str, Any] = {"comment": "c", "reasons": ("r",), "flagged": True, "tags": ("t",), "user_id": "ann"}
    voted = event(**said, correction="better", metadata={"model": '"m"'})
    row = merged(voted, event("retract", "e2", NOW - 1))
    assert (row.vote, row.vote_time, row.comment, row.correction, row.reasons, row.flagged) == (None,) * 6
    assert (row.tags, row.user_id, row.model) == (("t",), "ann", "m")


def test_a_late_retraction_of_an_older_vote_does_not_take_the_newer_one_back() -> None:
    row = merged(event(time=NOW - 10), event(event_id="e2", time=NOW - 1), event("retract", "e3", NOW - 5))
    assert row.vote == Vote(1, weight=1.0)


def test_an_early_retraction_takes_back_the_vote_that_comes_later() -> None:
    row = merged(event("retract", "e2", NOW - 1), event(time=NOW - 10))
    assert (row.vote, row.vote_time) == (None, None)


def test_implicit_and_explicit_signals_have_registers_of_their_own() -> None:
    explicit, implicit = event(), event(event_id="e2", time=NOW - 1, rating=False, signal="implicit")
    row = merged(explicit, implicit)
    assert (row.vote, row.implicit, row.vote_time) == (Vote(1, weight=1.0), Vote(-1, weight=1.0), NOW - 1_000)
    without = merged(explicit, implicit, event("retract", "e3", NOW, signal="implicit"))
    assert (without.vote, without.implicit) == (Vote(1, weight=1.0), None)


def test_an_implicit_signal_alone_is_no_vote() -> None:
    assert merged(event(signal="implicit")).vote_time is None


@pytest.mark.parametrize("when", [NOW - 99_999, NOW, None])
def test_an_erased_request_is_a_stub_whatever_comes(when: int | None) -> None:
    stub = merged(event(comment="secret"), event("erase", "x", when))
    assert stub == ResolvedFeedback(1, True, None, "acme", "r1", updated_at=NOW + 1)
    assert merge(stub, event(event_id="later", time=None), 2, NOW + 2) is None


def test_false_zero_and_empty_text_are_values() -> None:
    row = merged(event(value=0.0, weight=0.0, comment="", flagged=False, reasons=(), user_id=""))
    assert row.vote == Vote(0, 0.0, weight=0.0)
    assert (row.comment, row.flagged, row.reasons, row.user_id) == ("", False, (), "")
    later = event("context", "e2", NOW - 1, comment="now")
    assert merged(event(comment=""), later).comment == "now"


def test_absent_fields_leave_registers_alone() -> None:
    assert registers(event("context", metadata={"a": "1"})) == {"metadata.a": "1"}
    assert "comment" not in registers(event())


def test_a_clock_that_runs_ahead_is_cut_and_its_resend_is_harmless() -> None:
    ahead = event(event_id="ahead", time=NOW + 60_000, rating=False)
    fresh = event(event_id="fresh", time=None)
    row = merged(ahead, fresh)
    assert (row.vote, row.clamped) == (Vote(1, weight=1.0), {"ahead": NOW})
    assert merge(row, ahead, 9, NOW + 120_000) is None


def test_one_id_with_two_times_is_never_counted_later_than_it_came() -> None:
    honest, ahead = event(), event(time=NOW + 60_000, rating=False)
    row = merged(honest, ahead)
    assert merge(row, honest, 9, NOW + 9) is None  # its time lies before the cut one, so the re-send loses as before


def test_dimensions_are_bare_text_of_bounded_length() -> None:
    row = merged(event(metadata={"model": '"' + "m" * 999 + '"', "app": "7", "environment": '""', "prompt_id": "true"}))
    assert (row.model, row.app, row.environment, row.prompt_id) == ("m" * 256, "7", None, "true")


def test_stamps_name_the_holder_of_every_register_in_an_order_of_content() -> None:
    one = event("context", "a", NOW - 5, metadata={"x": "1"})
    other = event("context", "b", NOW - 3, tags=("t",), metadata={"y": "2"})
    row = merged(one, other)
    assert row.stamps == merged(other, one).stamps
    assert holders(row) == {"metadata.x": (NOW - 5, "a"), "tags": (NOW - 3, "b"), "metadata.y": (NOW - 3, "b")}


def test_an_older_event_that_only_shows_an_earlier_first_sight_is_kept() -> None:
    row = merged(event(), event(event_id="old", time=NOW - 5_000, rating=False))
    assert (row.first_seen, row.vote, row.version) == (NOW - 5_000, Vote(1, weight=1.0), 1)


def test_the_row_that_comes_in_is_not_changed() -> None:
    row = merged(event(metadata={"a": "1"}))
    copy = replace(row, metadata=dict(row.metadata))
    merge(row, event(event_id="e2", time=NOW, metadata={"a": "2", "b": "3"}), 1, NOW)
    assert row == copy
