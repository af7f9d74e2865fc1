"""One suite for every store of the sink: ClickHouse itself, and the one in memory that stands for it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from schemas.events import FeedbackEvent, MinuteCount, ResolvedFeedback, Vote
from schemas.topics import version_of
from sinks.clickhouse import ClickHouseWriter, meaning
from sinks.memory import MemoryWriter
from sinks.rows import (
    ERASED,
    EVENTS,
    FEEDBACK_IDS,
    LATEST,
    MINUTES,
    Position,
    Row,
    Table,
    event_row,
    latest_row,
    minute_row,
)
from sinks.writer import MisconfiguredError, UnavailableError, UnfitRowsError, Writer
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.sink import database
from tests.polling import wait_until


class Store(Protocol):
    """A writer under test and what a reader sees behind it."""

    @property
    def writer(self) -> Writer: ...

    @property
    def away(self) -> Writer:
        """The same, out of reach."""

    def read(self, table: Table, column: str) -> list[Any]:
        """Values of one column, one per key, in ascending order."""


class _Memory:
    def __init__(self) -> None:
        self.writer, self.away = MemoryWriter(), MemoryWriter()
        self.away.away = {"*"}

    def read(self, table: Table, column: str) -> list[Any]:
        return sorted(row[table.columns.index(column)] for row in self.writer.stored(table))


class _ClickHouse:
    def __init__(self, clickhouse: ClickHouse, name: str) -> None:
        self.client, self.address, self.views = database(clickhouse, name)
        self.writer = ClickHouseWriter(self.address)
        self.away = ClickHouseWriter(replace(self.address, url="http://127.0.0.1:9"))

    def read(self, table: Table, column: str) -> list[Any]:
        query = f"SELECT {column} FROM {self.address.database}.{table.name} FINAL ORDER BY 1"
        return [row[0] for row in self.client.query(query).result_rows]

    def drop(self) -> None:
        for name in (self.views, self.address.database):
            self.client.command(f"DROP DATABASE {name}")
        self.writer.close()
        self.client.close()


@pytest.fixture(params=["memory", pytest.param("clickhouse", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> Iterator[Store]:
    if request.param == "memory":
        yield _Memory()
        return
    real = _ClickHouse(request.getfixturevalue("clickhouse"), unique("writer"))
    yield real
    real.drop()


def _event(request: str, offset: int, partition: int = 0) -> Row:
    event = FeedbackEvent("acme", request, f"{request}-{offset}", "vote", rating=True, original=b"\xff\x00")
    return event_row(event, Position(partition, offset, 1_780_000_000_000))


def _amendment(feedback_id: str, offset: int, tenant: str = "acme") -> Row:
    event = FeedbackEvent(tenant, "", str(offset), "amend", value=1.0, feedback_id=feedback_id)
    return event_row(event, Position(0, offset, 1_780_000_000_000))


def _latest(request: str, offset: int, polarity: int) -> Row:
    row = ResolvedFeedback(version_of(1, offset), False, 5, "acme", request, Vote(polarity))
    return latest_row(row, Position(0, 0, 0))


def test_what_is_inserted_can_be_read(store: Store) -> None:
    store.writer.insert(EVENTS, [_event("a", 1), _event("b", 2)])
    assert store.read(EVENTS, "request_id") == ["a", "b"]


def test_a_second_insert_of_the_same_rows_changes_nothing(store: Store) -> None:
    for _ in range(3):
        store.writer.insert(EVENTS, [_event("a", 1), _event("b", 2)])
    store.writer.insert(EVENTS, [_event("b", 2)])
    assert store.read(EVENTS, "event_id") == ["a-1", "b-2"]


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1)])
def test_the_newest_version_wins_in_any_order(store: Store, order: tuple[int, ...]) -> None:
    for offset in order:
        store.writer.insert(LATEST, [_latest("a", offset, 1 if offset == 3 else -1)])
    assert store.read(LATEST, "polarity") == [1]


def test_the_newest_version_is_told_per_source_partition(store: Store) -> None:
    assert dict(store.writer.newest_versions()) == {}
    store.writer.insert(EVENTS, [_event("a", 7), _event("b", 3), _event("c", 4, partition=2)])
    assert dict(store.writer.newest_versions()) == {1000: version_of(1, 7), 1002: version_of(1, 4)}


def test_an_unfit_row_is_said_to_be_unfit_and_the_rest_can_follow(store: Store) -> None:
    good, bad = (minute_row(MinuteCount("acme", "app", (n,), 0, 1000, v, 0, 0, 0)) for n, v in (("a", 1), ("b", -1)))
    with pytest.raises(UnfitRowsError):
        store.writer.insert(MINUTES, [good, bad])
    with pytest.raises(UnfitRowsError):
        store.writer.insert(ERASED, [("acme", "r", 1)])
    store.writer.insert(MINUTES, [good])
    assert store.read(MINUTES, "group_key") == ["a"]


def test_a_purge_takes_what_erased_requests_left_and_nothing_else(store: Store) -> None:
    store.writer.insert(EVENTS, [_event("a", 1), _event("b", 2), _event("a", 3)])
    store.writer.insert(LATEST, [_latest("a", 3, 1), _latest("b", 2, 1)])
    store.writer.purge_erased()
    assert store.read(EVENTS, "event_id") == ["a-1", "a-3", "b-2"]
    store.writer.insert(ERASED, [("acme", "a", version_of(1, 4), 0)])
    store.writer.purge_erased()
    wait_until(lambda: store.read(EVENTS, "event_id") == ["b-2"], 60, "the events are gone")
    wait_until(lambda: store.read(LATEST, "request_id") == ["b"], 60, "the row is gone")
    assert store.read(ERASED, "request_id") == ["a"]


def test_a_purge_takes_the_amendments_of_an_erased_request_though_its_votes_are_gone(store: Store) -> None:
    ids = [("acme", "fa", "a", version_of(1, 1)), ("acme", "fb", "b", version_of(1, 2)), ("other", "fa", "a", 1)]
    store.writer.insert(FEEDBACK_IDS, ids)
    store.writer.insert(EVENTS, [_amendment("fa", 3), _amendment("fb", 4), _amendment("unknown", 5)])
    store.writer.insert(EVENTS, [_amendment("fa", 6, tenant="other")])
    store.writer.insert(ERASED, [("acme", "a", version_of(1, 2), 0)])
    store.writer.purge_erased()
    wait_until(lambda: store.read(EVENTS, "event_id") == ["4", "5", "6"], 60, "the amendment is gone")


def test_a_missing_table_needs_a_person(store: Store) -> None:
    with pytest.raises(MisconfiguredError):
        store.writer.insert(Table("no_such_table", ("a",)), [(1,)])


def test_a_store_that_is_away_is_unavailable(store: Store) -> None:
    with pytest.raises(UnavailableError):
        store.away.insert(EVENTS, [_event("a", 1)])
    with pytest.raises(UnavailableError):
        store.away.newest_versions()


@pytest.mark.integration
def test_a_missing_column_or_a_wrong_password_needs_a_person(
    clickhouse: ClickHouse, unique: Callable[[str], str]
) -> None:
    real = _ClickHouse(clickhouse, unique("writer"))
    with pytest.raises(MisconfiguredError, match="login refused"):
        ClickHouseWriter(replace(real.address, password="wrong")).newest_versions()
    real.client.command(f"ALTER TABLE {real.address.database}.feedback_erased DROP COLUMN erased_at")
    with pytest.raises(MisconfiguredError, match="erased_at"):
        real.writer.insert(ERASED, [("acme", "r", 1, 0)])
    real.drop()


@pytest.mark.parametrize(("code", "kind"), [
    *((code, UnavailableError) for code in (159, 202, 209, 210, 241, 242, 252, 319, 999, 12345)),
    *((code, MisconfiguredError) for code in (516, 60, 16, 81, 497)),
    *((code, UnfitRowsError) for code in (6, 26, 27, 38, 41, 53, 70, 72, 117)),
])  # fmt: skip
def test_every_error_code_has_one_meaning(code: int, kind: type[Exception]) -> None:
    assert type(meaning(DatabaseError(f"Received ClickHouse exception, code: {code}, server response"))) is kind
    assert type(meaning(DatabaseError("x", code=code))) is kind


def test_a_connection_that_breaks_is_unavailable() -> None:
    assert type(meaning(ConnectionResetError())) is UnavailableError
    assert type(meaning(TimeoutError())) is UnavailableError
