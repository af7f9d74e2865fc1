"""The statement reader: what kind of statement, in which formats, and where an INSERT's rows begin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbstream.local.clickhouse.statements import read_statement

INSERTS = [  # (text, format, rows)
    (b"INSERT t VALUES (1)", "Values", b" (1)"),
    (b"INSERT INTO t (a) VALUES(1)", "Values", b"(1)"),
    (b"insert into db.values values (1)", "Values", b" (1)"),
    (b"INSERT INTO t FORMAT Native\n\x00\x01", "Native", b"\x00\x01"),
    (b"INSERT INTO t (format, values) FORMAT CSV\r\n1", "CSV", b"1"),
    (b"INSERT INTO t (a, s) FORMAT TSV 4\tq\n", "TSV", b"4\tq\n"),
    (b"INSERT INTO FUNCTION file('x', 'CSV', 'a Int') FORMAT CSV 1", "CSV", b"1"),
    (b"INSERT INTO t PARTITION BY a FORMAT X 1", "X", b"1"),
    (b"INSERT INTO t SETTINGS async_insert=0 FORMAT CSV\n1", "CSV", b"1"),
    (b"/* FORMAT x */ INSERT INTO t -- VALUES\n (a, s) FORMAT CSV\n1,a", "CSV", b"1,a"),
    (b"INSERT INTO `VALUES` (`FORMAT`) FORMAT CSV\n1", "CSV", b"1"),
    (b"INSERT INTO t", None, b""),
]


@pytest.mark.parametrize(("text", "form", "rows"), INSERTS)
def test_an_insert_is_cut_where_its_rows_begin(text: bytes, form: str | None, rows: bytes) -> None:
    statement = read_statement(text)
    assert (statement.first, statement.takes_data, statement.format) == ("INSERT", True, form)
    assert text[statement.data_at :] == rows
    assert text.startswith(statement.head)
    assert b"FORMAT CSV" not in statement.head


OTHERS = [  # (text, first word, format)
    (b"INSERT INTO t WITH 1 AS x SELECT x FORMAT Null", "INSERT", "Null"),
    (b"INSERT INTO t SELECT * FROM (VALUES (1))", "INSERT", None),
    (b"INSERT INTO t (SELECT 1)", "INSERT", None),
    (b"WITH 1 AS format SELECT format", "WITH", None),
    (b"SELECT format FROM t", "SELECT", None),
    (b"SELECT 1 AS format", "SELECT", None),
    (b"SELECT 1 FORMAT JSON SETTINGS max_threads=1", "SELECT", "JSON"),
    (b"SELECT 1 FORMAT JSON;", "SELECT", "JSON"),
    (b"SELECT 'FORMAT JSON'", "SELECT", None),
    (b"(SELECT 1) UNION ALL (SELECT 2) FORMAT CSV -- x", "SELECT", "CSV"),
    (b"/* INSERT */ SELECT 1", "SELECT", None),
    (b"CREATE TABLE t (a Int) ENGINE=Memory AS SELECT 1 FORMAT Null", "CREATE", "Null"),
    (b"", "", None),
    (b"-- nothing", "", None),
]


@pytest.mark.parametrize(("text", "first", "form"), OTHERS)
def test_any_other_statement_is_left_whole(text: bytes, first: str, form: str | None) -> None:
    statement = read_statement(text)
    assert (statement.first, statement.takes_data, statement.format) == (first, False, form)
    assert statement.head == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"SELECT 1 INTO OUTFILE 'x'", "INTO OUTFILE"),
        (b"SELECT 1 INTO/**/OUTFILE 'x'", "INTO OUTFILE"),
        (b"INSERT INTO t FROM INFILE 'x' FORMAT CSV", "FROM INFILE"),
        (b"INSERT INTO t SELECT 1 INTO OUTFILE 'x'", "INTO OUTFILE"),
        (b"system -- x\n shutdown", "SYSTEM SHUTDOWN"),
        (b"SELECT 'INTO OUTFILE', `a` FROM t", None),
        (b"INSERT INTO t FORMAT CSV\nSYSTEM SHUTDOWN", None),
    ],
)
def test_forbidden_pairs_of_words_are_found_outside_quotes_and_rows(text: bytes, words: str | None) -> None:
    assert read_statement(text).forbidden == words


@given(rows=st.binary(max_size=200), gap=st.sampled_from([b"\n", b" \t\r\n", b"\r\n"]))
def test_rows_of_any_bytes_come_out_as_they_went_in(rows: bytes, gap: bytes) -> None:
    text = b"INSERT INTO feedback.t (a, `b c`) FORMAT Native" + gap + rows
    assert text[read_statement(text).data_at :] == rows


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(text: bytes) -> None:
    assert text.startswith(read_statement(text).head)
