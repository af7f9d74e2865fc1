"""The audit's books, entry by entry, without a broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import click
import pytest

from schemas.codec import Codec
from schemas.events import AMEND, FeedbackEvent, MinuteCount, ResolvedFeedback, Stamp, Vote
from schemas.feedback_ids import event_key, packed
from schemas.topics import murmur2, request_key, version_of
from thumbstream.audit import gauges
from thumbstream.audit.cells import ALWAYS, Cells, Name, largest
from thumbstream.audit.events import EventBook, Letters, Range, tenant_of
from thumbstream.audit.ledger import Ledger, hour_text
from thumbstream.audit.recount import Recount
from thumbstream.audit.report import lines
from thumbstream.audit.rows import RowBook, StoredRow
from thumbstream.audit.scope import Findings
from thumbstream.commands.audit import moment

HOUR = 3_600_000
NOON = 500_000 * HOUR
CUT = 10
CODEC = Codec()
GOOD = Vote(1, weight=1.0)


def vote(request: str = "r1", event_id: str = "e1", time: int = NOON) -> FeedbackEvent:
    return FeedbackEvent("acme", request, event_id, "vote", event_time=time, rating=True)


def row(request: str = "r1", offset: int = 0, **fields: object) -> ResolvedFeedback:
    vote = {"vote": GOOD, "stamps": (Stamp(NOON, "e1", ("vote",)),)}
    told = {"first_seen": NOON, "updated_at": NOON, **vote, **fields}
    return ResolvedFeedback(version_of(1, offset), False, NOON, "acme", request, **told)  # type: ignore[arg-type]  # as above


def event_book(ledger: Ledger, letters: Letters | None = None, *, whole: bool = True) -> EventBook:
    return EventBook(Range("events", 0, 1, 0, CUT, whole=whole), letters or Letters(), ledger)


def row_book(ledger: Ledger, *rows: ResolvedFeedback) -> RowBook:
    book = RowBook(0, version_of(1, CUT), 1, CODEC, ledger)
    for one in rows:
        book.take(request_key("acme", one.request_id), CODEC.encode(one), parked=False)
    return book


def found(ledger: Ledger) -> list[tuple[str, str, list[str]]]:
    return [(item.hop, item.what, item.examples) for item in ledger.differences]


def test_every_event_is_in_one_entry_of_its_hour() -> None:
    ledger = Ledger()
    letters = Letters({"events-0-1": "invalid", "events-0-6": "too_large"}, {"events-0-2": "unstorable"})
    book, key = event_book(ledger, letters), request_key("acme", "r1")
    book.take(0, NOON, key, vote())
    book.take(1, NOON, b"acme|other", vote())
    book.take(2, NOON, key, vote(event_id="parked"))
    book.take(3, NOON, request_key("acme", "gone"), vote("gone"))
    book.take(5, NOON + HOUR, key, vote(event_id="lost"))
    book.take(6, NOON, key, vote(event_id="large"))
    for offset in (0, 6):
        book.stored(offset)
    book.close(erased={request_key("acme", "gone")})
    assert ledger.totals() == {"accepted": 6, "stored": 1, "refused": 2, "parked": 1, "erased": 1, "missing": 1}
    assert [account["hour"] for account in ledger.accounts()] == [hour_text(NOON), hour_text(NOON + HOUR)]
    assert found(ledger) == [("clickhouse", "event missing in feedback_events", ["events-0-5"])]
    assert book.gaps == CUT - 6


OWN = packed(murmur2(request_key("acme", "r1")), 1, 0)


def change(event_id: str = "a1", feedback_id: str = OWN) -> FeedbackEvent:
    return FeedbackEvent("acme", "", event_id, AMEND, value=-1.0, feedback_id=feedback_id)


def test_an_amendment_of_an_erased_request_may_be_gone_and_another_one_may_not() -> None:
    ledger = Ledger()
    book, other = event_book(ledger), change("a2", packed(1, 2, 3))
    for offset, event in enumerate((change(), other)):
        book.take(offset, NOON, event_key(event), event)
    book.close(erased={request_key("acme", "r1")})
    assert found(ledger) == [("clickhouse", "event missing in feedback_events", ["events-0-1"])]
    assert ledger.totals()["erased"] == 1


@pytest.mark.parametrize("whole", [True, False])
def test_an_amendment_is_folded_only_where_all_that_came_before_is_known(whole: bool) -> None:
    book = event_book(Ledger(), whole=whole)
    cast = replace(vote(), feedback_id=OWN)
    for offset, event in enumerate((cast, change())):
        book.take(offset, NOON + offset, event_key(event), event)
    state = book.recount.get(request_key("acme", "r1"))
    assert state is not None
    assert state.offset == (1 if whole else 0)


def test_an_amendment_on_a_partition_that_is_not_its_vote_s_must_be_refused() -> None:
    ledger = Ledger()
    book = EventBook(
        Range("events", 1 - murmur2(request_key("acme", "r1")) % 2, 2, 0, CUT, whole=True), Letters(), ledger
    )
    book.take(0, NOON, event_key(change()), change())
    assert [what for _, what, _ in found(ledger)] == ["refused event without its dead letter"]


def test_an_event_of_too_large_a_row_is_not_folded() -> None:
    book = event_book(Ledger(), Letters({"events-0-0": "too_large"}))
    book.take(0, NOON, request_key("acme", "r1"), vote())
    assert request_key("acme", "r1") not in book.recount


def test_letters_and_refusals_must_match() -> None:
    ledger = Ledger()
    book = event_book(ledger, Letters({"events-0-0": "invalid"}))
    book.take(0, NOON, request_key("acme", "r1"), vote())
    book.take(1, NOON, b"junk", None)
    assert found(ledger) == [
        ("resolve", "dead letter of a valid event", ["events-0-0"]),
        ("resolve", "refused event without its dead letter", ["events-0-1"]),
    ]


def test_a_letter_that_retention_may_have_taken_is_not_missed() -> None:
    ledger = Ledger()
    book = event_book(ledger, Letters(since=NOON + 1))
    book.take(0, NOON, b"junk", None)
    assert ledger.balanced


def test_clickhouse_must_not_hold_what_was_refused_or_never_sent() -> None:
    ledger = Ledger()
    book = event_book(ledger, Letters({"events-0-1": "invalid"}))
    book.take(1, NOON, b"junk", None)
    book.stored(1)
    book.stored(4)
    assert [what for _, what, _ in found(ledger)] == ["row of a refused event", "row without a record on the topic"]


def judged(ledger: Ledger, rows: RowBook, *events: FeedbackEvent, whole: bool = True) -> list[str]:
    book = event_book(ledger, whole=whole)
    for offset, event in enumerate(events):
        book.take(offset, NOON, request_key("acme", event.request_id), event)
    rows.judge(book, Cells({0: version_of(1, CUT)}, whole=False))
    return [item.what for item in ledger.differences]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"offset": 1}, "version"),
        ({"first_seen": NOON - 1}, "first_seen"),
        ({"clamped": {"e1": 1}}, "clamped"),
        ({"vote": Vote(-1, weight=1.0)}, "register vote"),
        ({"stamps": (Stamp(NOON, "e2", ("vote",)),)}, "register vote"),
        ({"comment": "hidden", "stamps": (Stamp(NOON, "e1", ("comment", "vote")),)}, "register comment"),
        ({"model": "m"}, "model"),
    ],
)
def test_a_row_that_is_not_what_its_events_say(wrong: dict[str, object], says: str) -> None:
    ledger = Ledger()
    assert judged(ledger, row_book(ledger, row(**wrong)), vote()) == ["row differs from its events"]  # type: ignore[arg-type]  # as above
    assert says in ledger.differences[0].examples[0]
    assert "hidden" not in str(ledger.differences)


def test_a_row_without_events_is_wrong_only_when_the_log_is_whole() -> None:
    ledgers = [Ledger(), Ledger()]
    assert judged(ledgers[0], row_book(ledgers[0], row())) == ["row without an event"]
    assert judged(ledgers[1], row_book(ledgers[1], row()), whole=False) == []


def test_of_a_part_of_the_log_nothing_may_be_lost() -> None:
    ledgers = [Ledger(), Ledger()]
    assert judged(ledgers[0], row_book(ledgers[0], row()), vote(time=NOON - 5), whole=False) == []
    late = vote(event_id="e2")
    assert judged(ledgers[1], row_book(ledgers[1], row()), late, whole=False) == ["row differs from its events"]


def test_rows_that_newer_events_have_moved_are_not_judged() -> None:
    ledger = Ledger()
    assert judged(ledger, row_book(ledger, row(offset=5), row(offset=CUT)), vote()) == []
    assert ledger.unjudged == {"rows": 1}


def test_a_row_newer_than_the_log_is_found() -> None:
    ledger = Ledger()
    book = row_book(ledger, row(offset=CUT + 3))
    book.judge_end(version_of(1, CUT + 4))
    assert ledger.balanced
    book.judge_end(version_of(1, CUT + 3))
    assert found(ledger) == [("resolve", "row newer than the events topic", [f"acme|r1 of offset {CUT + 3}"])]


def test_clickhouse_holds_the_rows_of_the_topic() -> None:
    ledger = Ledger()
    stub = ResolvedFeedback(version_of(1, 3), True, None, "acme", "stub")
    gone = ResolvedFeedback(version_of(1, 4), True, None, "acme", "gone")
    book = row_book(ledger, row("same"), row("lost"), row("older", 2), stub, gone)

    def stored() -> Iterator[StoredRow]:
        yield from (StoredRow("acme", name, version_of(1, 0), NOON) for name in ("same", "older", "strange"))

    book.judge_store(stored(), {request_key("acme", "stub"): version_of(1, 3)})
    assert {(what, *examples) for _, what, examples in found(ledger)} == {
        ("row missing in feedback_latest", "acme|lost"),
        ("row of another version", "acme|older: offset 2 expected, 0 found"),
        ("row without a record on the topic", "acme|strange"),
        ("erasure missing in feedback_erased", "acme|gone"),
    }


def cells(*counts: MinuteCount, whole: bool = True) -> Cells:
    made = Cells({0: version_of(1, CUT)}, whole)
    for count in counts:
        made.published(count, 0, parked=False)
    return made


def count(offset: int, positive: int = 1, negative: int = 0) -> MinuteCount:
    return MinuteCount("acme", "tenant", (), NOON, 1000, version_of(1, offset), negative, positive, 0)


NAME = Name("acme", "tenant", "", NOON, 0)


def test_the_newest_version_of_a_cell_is_the_one_that_is_compared() -> None:
    ledger, made = Ledger(), cells(count(3), count(2, positive=9))
    made.vote(row(), 0)
    made.judge_topic(ledger)
    made.stored(ledger, NAME, version_of(1, 3), (0, 1, 0))
    made.judge_absent(ledger)
    assert ledger.balanced
    assert ledger.checked == {"cells": 1, "stored cells": 1}


def test_a_cell_may_be_absent_from_a_topic_that_lost_its_beginning_but_not_from_clickhouse() -> None:
    for whole in (True, False):
        ledger, made = Ledger(), cells(whole=whole)
        made.vote(row(), 0)
        made.judge_topic(ledger)
        assert ledger.balanced != whole
        made.judge_absent(ledger)
        assert next(what for _, what, _ in found(ledger)) == "cell missing"


@pytest.mark.parametrize(("version", "counts"), [(3, (0, 2, 0)), (2, (0, 1, 0)), (4, (0, 1, 0))])
def test_a_stored_cell_of_other_counts_or_version_is_found(version: int, counts: tuple[int, int, int]) -> None:
    ledger, made = Ledger(), cells(count(3))
    made.stored(ledger, NAME, version_of(1, version), counts)
    assert [what for _, what, _ in found(ledger)] == ["cell differs from the topic"]


def test_cells_that_newer_events_have_moved_are_not_judged() -> None:
    ledger, made = Ledger(), cells(count(CUT, positive=9))
    made.judge_topic(ledger)
    made.stored(ledger, NAME, version_of(1, CUT), (0, 9, 0))
    made.judge_absent(ledger)
    assert ledger.balanced
    assert ledger.unjudged == {"cells": 1, "stored cells": 1}
    assert made.moving == {("acme", NOON)}
    made.judge_end(ledger, {0: version_of(1, CUT)})
    assert [what for _, what, _ in found(ledger)] == ["cell newer than the events topic"]


def test_a_cell_of_clickhouse_that_no_event_can_have_made_is_found_and_one_that_moved_is_not() -> None:
    ledger, made = Ledger(), cells(count(CUT - 1))
    made.vote(row(offset=CUT - 1), 0)
    made.judge_topic(ledger)
    made.stored(ledger, NAME, version_of(1, CUT), (5, 1, 0))
    made.judge_stored_end(ledger, {0: version_of(1, CUT + 1)})
    assert ledger.balanced
    made.judge_stored_end(ledger, {0: version_of(1, CUT)})
    assert [(hop, what) for hop, what, _ in found(ledger)] == [("clickhouse", "cell newer than the events topic")]


def test_a_row_of_clickhouse_that_no_event_can_have_made_is_found_and_one_that_moved_is_not() -> None:
    ledger = Ledger()
    book = row_book(ledger, row(offset=CUT - 1))
    book.judge_store([StoredRow("acme", "r1", version_of(1, CUT), NOON)], {})
    book.judge_stored_end(version_of(1, CUT + 1))
    assert ledger.balanced
    book.judge_stored_end(version_of(1, CUT))
    assert found(ledger) == [("clickhouse", "row newer than the events topic", [f"acme|r1 of offset {CUT}"])]


def by_app(made: Cells) -> None:
    """Count a vote by a rollup that no built-in monitor has."""
    made.published(MinuteCount("acme", "app", ("web",), NOON + HOUR, 1000, version_of(1, 3), 0, 1, 0), 0, parked=False)


def test_a_rollup_of_a_monitor_may_have_begun_at_any_time_but_what_it_counts_is_right() -> None:
    for counted, checked in ((ALWAYS | {"app"}, 2), (ALWAYS, 1)):
        ledger, made = Ledger(), cells(count(3))
        made.counted = frozenset(counted)
        by_app(made)
        made.vote(replace(row(), app="web"), 0)  # an hour earlier: only the tenant counts it
        made.vote(replace(row(), vote_time=NOON + HOUR, app="web"), 0)
        made.judge_topic(ledger)
        (difference,) = ledger.differences  # only the tenant's cell of the second hour is owed
        assert difference.what == "cell absent from the topic"
        assert difference.examples[0].startswith(f"tenant| {NOON + HOUR} ")
        assert ledger.checked["cells"] == checked


def test_a_rollup_that_is_counted_no_more_is_compared_with_the_topic_only() -> None:
    ledger, made = Ledger(), cells()
    by_app(made)
    place = Name("acme", "app", "web", NOON + HOUR, 0)
    made.judge_topic(ledger)  # the vote has gone elsewhere since
    made.stored(ledger, place, version_of(1, 3), (0, 1, 0))
    assert ledger.balanced
    made.stored(ledger, place, version_of(1, 3), (0, 2, 0))
    assert [what for _, what, _ in found(ledger)] == ["cell differs from the topic"]


def test_only_the_sixteen_largest_users_are_published() -> None:
    users = {f"u{number:02}": number for number in range(20)}
    assert largest(users) == {f"u{number:02}": number for number in range(4, 20)}


def test_examples_are_few_and_counts_whole() -> None:
    ledger = Ledger()
    for number in range(25):
        ledger.lacks("resolve", "row", "acme", NOON + number, f"r{number}")
    (item,) = ledger.differences
    assert (item.expected, item.found, len(item.examples)) == (25, 0, 10)
    findings = Findings(ledger)
    assert list(lines(findings, 1.0))[-1] == "kinds of difference: 1 (1.0 s)"


def test_a_preference_alone_makes_no_row() -> None:
    recount = Recount()
    recount.take(b"k", FeedbackEvent("acme", "r1", "e1", "preference"), 0, NOON)
    assert b"k" not in recount


def test_tenants_are_read_from_keys() -> None:
    assert tenant_of(request_key("a|b%", "r")) == "a|b%"
    assert tenant_of(b"") == "?"


def test_since_is_a_time_or_a_span() -> None:
    assert moment("2026-05-01T00:00Z", 0.0) == 1_777_593_600_000
    assert moment("6h", 7 * 3600.0) == HOUR
    for text in ("yesterday", "2026-05-01", "6y"):
        with pytest.raises(click.BadParameter):
            moment(text, 0.0)


def test_the_gauges_say_what_differs_and_how_old_everything_is() -> None:
    findings = Findings(gaps={0: 2}, lag={"sink": 7}, mark_age=1.5)
    findings.ledger.account("acme", 1).add("stored")
    findings.ledger.account("acme", 2).add("missing")
    findings.ledger.lacks("resolve", "row", "acme", NOON, "r1")
    told = gauges.registry(findings, now=99.0)
    assert {
        (sample.name.removeprefix("thumbstream_audit_"), *sample.labels.values()): sample.value
        for metric in told.collect()
        for sample in metric.samples
        if sample.value
    } == {
        ("time_seconds",): 99,
        ("events", "acme", "accepted"): 2,
        ("events", "acme", "stored"): 1,
        ("events", "acme", "missing"): 1,
        ("differences", "resolve"): 1,
        ("offsets_without_a_record", "0"): 2,
        ("lag", "sink"): 7,
        ("newest_mark_age_seconds",): 1.5,
    }
    assert told.get_sample_value("thumbstream_audit_balanced") == 0
