"""The law of the sink: whatever is stored twice, late or out of order, the views end up the same.

It runs on the real engine, for it is the engine's merging that the law relies on.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from schemas.events import Alert, FeedbackEvent, MinuteCount, ResolvedFeedback, Stamp, Vote
from schemas.topics import version_of
from sinks.clickhouse import ClickHouseWriter
from sinks.rows import Position, Row, Table, rows_of
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.sink import database

pytestmark = pytest.mark.integration
_CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking would take minutes on an engine
NOON = 1_780_000_000_000 // 60_000 * 60_000
VIEWS = (
    "current_votes", "requests", "vote_history", "negative_rate_by_minute", "negative_rate_by_hour",
    "negative_rate_by_day", "coverage", "alert_history", "alerts_open",
)  # fmt: skip
Kept = FeedbackEvent | ResolvedFeedback | MinuteCount | Alert
Placed = tuple[Kept, Position]


def _event(offset: int, draw: st.DrawFn) -> FeedbackEvent:
    number = draw(st.integers(0, 3))  # the same number is the same event, sent again
    request = f"r{number % 2}"
    return FeedbackEvent("acme", request, f"e{number}", "vote", NOON + number, rating=bool(number % 3))


def _resolved(offset: int, draw: st.DrawFn, erased: set[str]) -> ResolvedFeedback:
    request = draw(st.sampled_from(("r0", "r1")))
    if request in erased or draw(st.integers(0, 7)) == 7:
        erased.add(request)
        return ResolvedFeedback(version_of(1, offset), True, None, "acme", request)
    vote = draw(st.sampled_from((None, Vote(-1), Vote(0), Vote(1))))
    implicit = draw(st.sampled_from((None, Vote(1))))
    time = NOON + draw(st.integers(-9, 9)) * 86_400_000
    return ResolvedFeedback(
        version_of(1, offset), False, time if vote else None, "acme", request, vote, implicit,
        model=draw(st.sampled_from((None, "m"))), first_seen=NOON, stamps=(Stamp(NOON, "e", ("implicit",)),),
    )  # fmt: skip


def _cell(offset: int, draw: st.DrawFn) -> MinuteCount:
    counts = draw(st.tuples(*[st.integers(0, 9)] * 3))
    minute = NOON + draw(st.integers(0, 1)) * 60_000
    group = draw(st.sampled_from((("tenant", ()), ("model", ("m",)))))
    return MinuteCount("acme", *group, minute, 1000 + draw(st.integers(0, 1)), version_of(1, offset), *counts)


def _alert(offset: int, draw: st.DrawFn) -> Alert:
    status, started = draw(st.sampled_from(("firing", "resolved"))), NOON + 60_000 * draw(st.integers(0, 1))
    return Alert(
        NOON + offset, f"a{offset}", draw(st.sampled_from("fg")), "acme", "m", "threshold", "warning", "tenant", {},
        status, started, NOON + offset, None, 15, 1, 2, 0.5, 0.2, 0.2, None, "why", offset,
    )  # fmt: skip


@st.composite
def logs(draw: st.DrawFn) -> list[Placed]:
    """Records as their writers publish them: ascending offsets, one content per version, erasure for good."""
    erased: set[str] = set()
    makers: tuple[Callable[[int], Kept], ...] = (
        lambda offset: _event(offset, draw),
        lambda offset: _resolved(offset, draw, erased),
        lambda offset: _cell(offset, draw),
        lambda offset: _alert(offset, draw),
    )
    # Few keys and many records, so that most keys have several versions for the order to get wrong.
    kinds = draw(st.lists(st.sampled_from((1, 2, 1, 2, 0, 3)), min_size=10, max_size=20))
    return [(makers[kind](at), Position(0, at, NOON + at)) for at, kind in enumerate(kinds)]


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Placed], list[list[Placed]]]:
    """A log, and batches that deliver all of it: slices again and again in between, everything in any order."""
    log = draw(logs())
    bounds = st.integers(0, len(log))
    extra = [log[slice(*sorted(draw(st.tuples(bounds, bounds))))] for _ in range(draw(st.integers(0, 2)))]
    whole = draw(st.permutations(log))
    cut = draw(bounds)
    return log, draw(st.permutations([*extra, whole[:cut], whole[cut:]]))


class _Place:
    def __init__(self, client: Client, writer: ClickHouseWriter, views: str) -> None:
        self.client, self.writer, self.views, self.tenants = client, writer, views, 0

    def content(self, batches: Sequence[Sequence[Placed]]) -> dict[str, list[tuple[Any, ...]]]:
        """What the views show after these batches, for a tenant that has nothing else (faster than empty tables)."""
        self.tenants += 1
        tenant = f"t{self.tenants}"
        for batch in batches:
            rows: dict[Table, list[Row]] = {}
            for record, position in batch:
                for table, row in rows_of(replace(record, tenant_id=tenant), position):
                    rows.setdefault(table, []).append(row)
            for table, some in rows.items():
                self.writer.insert(table, some)
        return {view: self._rows(view, tenant) for view in VIEWS}

    def _rows(self, view: str, tenant: str) -> list[tuple[Any, ...]]:
        query = f"SELECT * EXCEPT tenant_id FROM {self.views}.{view} WHERE tenant_id = '{tenant}'"
        return sorted((tuple(row) for row in self.client.query(query).result_rows), key=repr)


@pytest.fixture(scope="module")
def place(clickhouse: ClickHouse, unique: Callable[[str], str]) -> Iterator[_Place]:
    client, address, views = database(clickhouse, unique("replay"))
    writer = ClickHouseWriter(address)
    yield _Place(client, writer, views)
    for name in (views, address.database):
        client.command(f"DROP DATABASE {name}")
    writer.close()
    client.close()


@settings(max_examples=10, deadline=None, phases=_PHASES, suppress_health_check=_CHECKS)
@given(delivery=deliveries())
def test_any_delivery_of_a_log_gives_the_content_of_the_log(
    place: _Place, delivery: tuple[list[Placed], list[list[Placed]]]
) -> None:
    log, batches = delivery
    shown = place.content(batches)
    assert shown == place.content([log])
    newest = {row.request_id: row for row, _ in log if isinstance(row, ResolvedFeedback)}
    expected = {
        (request, (row.vote or row.implicit or Vote(9)).polarity)
        for request, row in newest.items()
        if not row.erased and (row.vote or row.implicit)
    }
    assert {(row[0], row[1]) for row in shown["current_votes"]} == expected
    gone = {request for request, row in newest.items() if row.erased}
    sent = {(event.request_id, event.event_id) for event, _ in log if isinstance(event, FeedbackEvent)}
    assert {(row[0], row[1]) for row in shown["vote_history"]} == {pair for pair in sent if pair[0] not in gone}


@settings(max_examples=3, deadline=None, phases=_PHASES, suppress_health_check=_CHECKS)
@given(log=logs())
def test_a_second_epoch_of_the_same_log_changes_no_event_twice(place: _Place, log: list[Placed]) -> None:
    again = [(record, position._replace(epoch=2)) for record, position in log if isinstance(record, FeedbackEvent)]
    once, twice = place.content([log]), place.content([log, again])
    assert [row[:3] for row in once["vote_history"]] == [row[:3] for row in twice["vote_history"]]
