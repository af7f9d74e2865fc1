"""Laws of query filters: a caller's text is never in the SQL, and the shape of the SQL does not depend on it."""

import string
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from thumbstream.console.filter_sql import Parameters, condition
from thumbstream.console.filter_tree import RefusedQueryError, parse_filter
from thumbstream.console.request_columns import OPERATORS, TABLES, Column
from thumbstream.console.request_query import parse_query
from thumbstream.console.request_statements import Statements

MARK = "\u03a8"  # in every text that stands for a caller's own words, and nowhere in our SQL
SQL_CHARACTERS = set(string.printable)
ATTACKS = st.sampled_from(
    ["' OR 1=1 --", "{p0:String}", "') UNION ALL SELECT 1", "\\", "@key", "{{}}", "{p0:Identifier}"]
)
WORDS = st.builds(lambda a, b: f"{MARK}{a}{b}", st.one_of(ATTACKS, st.just("")), st.text(max_size=8))
OURS = sorted({name for columns in TABLES.values() if not isinstance(columns, Column) for name in columns})
NAMES = st.one_of(st.sampled_from([*TABLES, *OURS]), WORDS)
SIGNS = st.one_of(st.sampled_from(sorted({word for words in OPERATORS.values() for word in words})), WORDS)
SCALARS = st.one_of(WORDS, st.booleans(), st.integers(-10, 10), st.floats(allow_nan=False), st.none(), st.just("null"))


def leaves(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    comparisons = st.dictionaries(SIGNS, values, max_size=2)
    columns = st.dictionaries(
        NAMES, st.one_of(comparisons, st.dictionaries(NAMES, comparisons, max_size=2)), max_size=2
    )
    return st.one_of(st.just("all"), st.dictionaries(NAMES, columns, max_size=2), values)


def trees(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def branches(node: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        operators = st.sampled_from(["and", "or", f"{MARK}xor"])
        return st.fixed_dictionaries({"left": node, "operator": operators, "right": node})

    return st.recursive(leaf, branches, max_leaves=6)


@st.composite
def comparisons(draw: st.DrawFn) -> Any:
    """A leaf that is right: one comparison of a column of ours."""
    table = draw(st.sampled_from(sorted(TABLES)))
    columns = TABLES[table]
    name = None if isinstance(columns, Column) else draw(st.sampled_from(sorted(columns)))
    column = columns if isinstance(columns, Column) else columns[name or ""]
    values = {
        "text": WORDS.map(lambda text: text + "."),
        "number": st.floats(-9, 9),
        "boolean": st.booleans(),
        "time": st.datetimes().map(lambda time: time.isoformat()),
    }
    value = draw(st.one_of(values[column.kind], st.just("null")))
    signs = [sign for sign in OPERATORS[column.kind] if value != "null" or "equals" in sign]
    leaf: Any = {draw(st.sampled_from(signs)): value}
    if column.keyed:
        leaf = {draw(WORDS.filter(lambda text: "\0" not in text)): leaf}
    return {table: leaf if name is None else {name: leaf}}


@given(trees(leaves(SCALARS)))
def test_any_filter_is_refused_by_name_or_becomes_sql_without_the_callers_words(tree: Any) -> None:
    message = refusal(tree)
    if message is None:
        assert MARK not in condition(parse_filter(tree), Parameters())
    else:
        assert message.startswith("filter")


def refusal(tree: Any) -> str | None:
    try:
        parse_filter(tree)
    except RefusedQueryError as refused:
        return str(refused)
    return None


def no_nul(tree: Any) -> bool:
    return "\\x00" not in repr(tree)


@given(trees(comparisons()).filter(no_nul))
def test_a_right_filter_is_never_refused_and_its_words_are_parameters_only(tree: Any) -> None:
    if f"{MARK}xor" in repr(tree):
        return
    query = parse_query({"filter": tree})
    for statement in (Statements("v").page(MARK, query), Statements("v").count(MARK, query.filter)):
        assert MARK not in statement.sql
        assert set(statement.sql) <= SQL_CHARACTERS
        assert MARK in statement.parameters.values()


def reworded(tree: Any) -> Any:
    """The same filter about other things."""
    if isinstance(tree, dict):
        return {reworded(key): reworded(value) for key, value in tree.items()}
    return f"{MARK}other {tree[::-1]}." if isinstance(tree, str) and MARK in tree else tree


@given(trees(comparisons()).filter(no_nul))
def test_other_words_make_the_same_sql(tree: Any) -> None:
    if f"{MARK}xor" in repr(tree):
        return
    assert condition(parse_filter(tree), Parameters()) == condition(parse_filter(reworded(tree)), Parameters())
