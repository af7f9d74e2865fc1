"""Migrations: once, in order, never a changed one, and a login that reaches the views and nothing else."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from sinks.clickhouse import Address, connect
from sinks.migrate import MigrationError, create_analyst, migrate, migrations
from sinks.rows import TABLES
from tests.fixtures.clickhouse import ClickHouse

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def client(clickhouse: ClickHouse) -> Iterator[Client]:
    made = connect(Address(clickhouse.url, *clickhouse.admin))
    yield made
    made.close()


@pytest.fixture
def names(client: Client, unique: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    name = unique("migrate").replace("-", "_")
    yield f"t_{name}", f"v_{name}"
    for prefix in "vt":
        client.command(f"DROP DATABASE IF EXISTS {prefix}_{name}")


def _column(client: Client, query: str) -> list[Any]:
    return [row[0] for row in client.query(query).result_rows]


def test_the_second_run_applies_nothing(client: Client, names: tuple[str, str]) -> None:
    assert migrate(client, *names) == [item.name for item in migrations()]
    assert migrate(client, *names) == []
    assert set(_column(client, f"SELECT name FROM {names[0]}.applied_migrations")) == {m.name for m in migrations()}


def test_every_table_of_the_sink_has_its_columns_and_replaces_by_version(
    client: Client, names: tuple[str, str]
) -> None:
    migrate(client, *names)
    for table in TABLES:
        assert set(_column(client, f"DESCRIBE TABLE {names[0]}.{table.name}")) == set(table.columns)
        made = _column(client, f"SHOW CREATE TABLE {names[0]}.{table.name}")[0]
        assert "ReplacingMergeTree" in made
        assert "non_replicated_deduplication_window = 0" in made


def test_a_changed_file_is_refused_and_a_new_one_applied(
    client: Client, names: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE IF NOT EXISTS {tables}.a (x UInt8) ENGINE = Memory;\n")
    assert migrate(client, *names, folder=tmp_path) == ["0001_a"]
    view = "CREATE OR REPLACE VIEW {views}.b AS SELECT ';' AS x, y FROM\n(SELECT 1 AS y);\n\nSELECT 1;"
    (tmp_path / "0002_b.sql").write_text(view)
    assert migrate(client, *names, folder=tmp_path) == ["0002_b"]
    assert client.query(f"SELECT * FROM {names[1]}.b").result_rows == [(";", 1)]
    (tmp_path / "0001_a.sql").write_text("CREATE TABLE IF NOT EXISTS {tables}.a (x UInt16) ENGINE = Memory;\n")
    with pytest.raises(MigrationError, match="0001_a was changed"):
        migrate(client, *names, folder=tmp_path)


def test_a_file_that_fails_is_applied_again_next_time(client: Client, names: tuple[str, str], tmp_path: Path) -> None:
    good = "CREATE TABLE IF NOT EXISTS {tables}.a (x UInt8) ENGINE = Memory;\n"
    (tmp_path / "0001_a.sql").write_text(good + "CREATE TABLE nonsense;\n")
    with pytest.raises(ClickHouseError):
        migrate(client, *names, folder=tmp_path)
    (tmp_path / "0001_a.sql").write_text(good)
    assert migrate(client, *names, folder=tmp_path) == ["0001_a"]


@pytest.mark.parametrize("name", ["a b", "a;DROP", "", "1a", "a`b", "ä"])
def test_a_name_that_is_no_name_is_refused(client: Client, name: str) -> None:
    with pytest.raises(MigrationError, match="no name"):
        migrate(client, name, "views")


def test_the_analyst_gets_the_views_and_no_password_leaves_in_clear() -> None:
    told = Mock(spec=Client)
    create_analyst(told, "analytics", "ann", "it's secret")
    statements = [call.args[0] for call in told.command.call_args_list]
    assert [s for s in statements if s.startswith("GRANT")] == ["GRANT SELECT, SHOW ON analytics.* TO ann"]
    assert "secret" not in " ".join(statements)
    with pytest.raises(MigrationError):
        create_analyst(told, "analytics", "ann TO bob", "x")


def test_the_statements_for_the_analyst_are_statements(client: Client) -> None:
    told = Mock(spec=Client)
    create_analyst(told, "analytics", "ann", "secret")
    for call in told.command.call_args_list:  # the embedded engine has no logins to create, but it can parse
        assert client.query("SELECT formatQuery({sql:String})", parameters={"sql": call.args[0]}).result_rows


def test_analysts_read_the_views_and_not_the_tables(client: Client, clickhouse: ClickHouse) -> None:
    if clickhouse.analyst == clickhouse.admin:
        pytest.skip("this ClickHouse has no separate analyst")
    migrate(client, "feedback", "analytics")
    analyst = connect(Address(clickhouse.url, *clickhouse.analyst))
    assert analyst.query("SELECT count() >= 0 FROM analytics.current_votes").result_rows == [(1,)]
    for statement in ("SELECT 1 FROM feedback.feedback_latest", "DROP VIEW analytics.requests"):
        with pytest.raises(ClickHouseError):
            analyst.command(statement)
    analyst.close()
