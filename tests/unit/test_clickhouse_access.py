"""The access gate, with the engine's parser replaced by its answers."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbstream.local.clickhouse.access import (
    ANALYST_LIMITS,
    ANALYST_SETTINGS,
    LOWERABLE,
    analyst_limits,
    check_settings,
    check_statement,
    names_file,
)
from thumbstream.local.clickhouse.errors import ClickHouseError
from thumbstream.local.clickhouse.logins import Login, Logins
from thumbstream.local.clickhouse.statements import read_statement

ADMIN, ANALYST = Login("admin", "", "admin"), Login("analyst", "", "analyst")


@dataclass
class ParserSays:
    kind: str = "READ_ONLY"
    count: int = 1
    rewritten: str | None = "SELECT 1"

    def classify(self, sql: bytes, database: str) -> tuple[str, int]:
        return self.kind, self.count

    def rewrite(self, sql: bytes) -> str | None:
        return self.rewritten


@pytest.mark.parametrize(
    ("login", "parser", "sql", "read_only", "code"),
    [
        (ANALYST, ParserSays("INSERT"), b"INSERT INTO t VALUES (1)", False, 164),
        (ANALYST, ParserSays("OTHER"), b"SET readonly = 0", False, 164),
        (ANALYST, ParserSays(count=2), b"SELECT 1; SELECT 2", False, 62),
        (ANALYST, ParserSays(rewritten=None), b"SELECT", False, 62),
        (ANALYST, ParserSays(rewritten="SELECT file('x')"), b"SELECT `f\\x69le`('x')", False, 497),
        (ANALYST, ParserSays(), b"SELECT '\xff'", False, 62),
        (ANALYST, ParserSays(), b"SELECT 1\0, file('x')", False, 62),
        (ADMIN, ParserSays("OTHER"), b"DROP TABLE t", True, 164),
        (ADMIN, ParserSays(count=2), b"SELECT 1; SELECT 2", False, 62),
        (ADMIN, ParserSays(), b"SELECT 1 INTO OUTFILE 'x'", False, 497),
    ],
)
def test_the_gate_refuses(login: Login, parser: ParserSays, sql: bytes, read_only: bool, code: int) -> None:
    with pytest.raises(ClickHouseError) as refused:
        check_statement(login, read_statement(sql), parser, "default", read_only=read_only)
    assert refused.value.code == code


def test_the_gate_tells_reading_from_writing() -> None:
    select, drop = read_statement(b"SELECT 1"), read_statement(b"DROP TABLE t")
    assert check_statement(ANALYST, select, ParserSays(), "default", read_only=False)
    assert check_statement(ADMIN, select, ParserSays(), "default", read_only=True)
    assert not check_statement(ADMIN, drop, ParserSays("OTHER"), "default", read_only=False)


@pytest.mark.parametrize(
    "sql", ["SELECT file('x')", 'SELECT "file"(1)', "SELECT `a'`, FILE(1), `'`", "SELECT '\\'', file(1)"]
)
def test_the_word_file_is_found_outside_literals(sql: str) -> None:
    assert names_file(sql)


@pytest.mark.parametrize(
    "sql", ["SELECT 'file'", "SELECT profile, files FROM t", "SELECT 1 AS `a'b`, 'file'", "SELECT '''file('"]
)
def test_literals_and_longer_words_are_not_the_word_file(sql: str) -> None:
    assert not names_file(sql)


_PIECES = st.sampled_from(["'a'", "'it''s'", "'\\''", "`q'`", '"q\'"', "x", "1", "'file('"])


@given(before=st.lists(_PIECES), after=st.lists(_PIECES))
def test_no_quoting_around_it_hides_the_function(before: list[str], after: list[str]) -> None:
    assert not names_file("SELECT " + ", ".join([*before, *after]))
    assert names_file("SELECT " + ", ".join([*before, "file('secret')", *after]))


def test_analysts_may_send_only_listed_settings() -> None:
    check_settings(ANALYST, dict.fromkeys(ANALYST_SETTINGS, "1"))
    check_settings(ADMIN, {"max_execution_time": "1000"})
    for name in ("max_rows_to_read", "readonly", "format_schema", "additional_result_filter"):
        with pytest.raises(ClickHouseError, match="readonly mode"):
            check_settings(ANALYST, {name: "1"})


def test_analysts_may_lower_their_limits_and_never_raise_them() -> None:
    check_settings(ANALYST, {name: ANALYST_LIMITS[name] for name in LOWERABLE})
    for value in ("31", "0", "-1", "1e1", "", "5 ", "\u0665"):
        with pytest.raises(ClickHouseError, match="max_execution_time"):
            check_settings(ANALYST, {"max_execution_time": value})
    assert analyst_limits({"log_comment": "x"}) == ANALYST_LIMITS
    lowered = analyst_limits({"max_execution_time": "5", "max_threads": "1"})
    assert lowered == {**ANALYST_LIMITS, "max_execution_time": "5", "max_threads": "1"}


@pytest.fixture
def logins_file(tmp_path: Path) -> Path:
    path = tmp_path / "logins.json"
    digest = hashlib.sha256(b"right").hexdigest()
    path.write_text(json.dumps({"ann": {"password_sha256": digest, "kind": "analyst"}}))
    return path


def test_only_the_right_password_enters(logins_file: Path) -> None:
    logins = Logins(logins_file)
    assert logins.authenticate("ann", "right").role == "r_analyst"
    messages = set()
    for name, password in (("ann", "wrong"), ("ann", ""), ("bob", "right")):
        with pytest.raises(ClickHouseError) as refused:
            logins.authenticate(name, password)
        messages.add(refused.value.message.removeprefix(name))
    assert len(messages) == 1, "a refusal must not tell whether the name exists"


@pytest.mark.parametrize("text", ["", "[]", "{}x", '{"a": {}}', '{"a": {"password_sha256": "x", "kind": "root"}}'])
def test_a_file_that_is_no_list_of_logins_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "logins.json"
    path.write_text(text)
    with pytest.raises(SystemExit, match=r"logins\.json"):
        Logins(path)
