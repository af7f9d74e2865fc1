"""Filters as data: what SQL each becomes, or why it is refused; and the limits that no example shows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from thumbstream.console.filter_sql import Parameters, condition
from thumbstream.console.filter_tree import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_KEY,
    MAX_TEXT,
    RefusedQueryError,
    parse_filter,
)


@dataclass(frozen=True)
class Case:
    filter: Any
    sql: str | None = None
    parameters: list[Any] = field(default_factory=list)
    refused: str | None = None

    def __post_init__(self) -> None:
        assert (self.sql is None) != (self.refused is None), self


CASES = [Case(**entry) for entry in yaml.safe_load(Path(__file__).with_name("query_filters.yaml").read_text("utf-8"))]


@pytest.mark.parametrize("case", [case for case in CASES if case.sql], ids=lambda case: str(case.filter)[:60])
def test_a_filter_becomes_a_condition_with_parameters(case: Case) -> None:
    parameters = Parameters()
    assert condition(parse_filter(case.filter), parameters) == case.sql
    assert parameters.values == {f"p{number}": value for number, value in enumerate(case.parameters)}
    for value, wanted in zip(parameters.values.values(), case.parameters, strict=True):
        assert type(value) is type(wanted)


@pytest.mark.parametrize("case", [case for case in CASES if case.refused], ids=lambda case: str(case.filter)[:60])
def test_a_filter_is_refused_by_name(case: Case) -> None:
    with pytest.raises(RefusedQueryError) as refused:
        parse_filter(case.filter)
    assert str(refused.value) == case.refused


def nested(depth: int) -> Any:
    tree: Any = {"request": {"id": {"equals": "r"}}}
    for _ in range(depth - 1):
        tree = {"left": tree, "operator": "and", "right": "all"}
    return tree


def test_a_filter_may_be_deep_but_not_deeper() -> None:
    parse_filter(nested(MAX_DEPTH))
    with pytest.raises(RefusedQueryError, match=f"^filter: nested deeper than {MAX_DEPTH} levels$"):
        parse_filter(nested(MAX_DEPTH + 1))


def test_a_filter_may_have_many_comparisons_but_not_more() -> None:
    keys = [f"k{number}" for number in range(MAX_CONDITIONS + 1)]
    parse_filter({"properties": {key: {"equals": "x"} for key in keys[:-1]}})
    with pytest.raises(RefusedQueryError, match=f"^filter: more than {MAX_CONDITIONS} comparisons$"):
        parse_filter({"properties": {key: {"equals": "x"} for key in keys}})


def test_texts_and_keys_have_a_longest() -> None:
    parse_filter({"properties": {"k" * MAX_KEY: {"equals": "x" * MAX_TEXT}}})
    with pytest.raises(RefusedQueryError, match=f"equals: longer than {MAX_TEXT} characters"):
        parse_filter({"properties": {"k": {"equals": "x" * (MAX_TEXT + 1)}}})
    with pytest.raises(RefusedQueryError, match=f"longer than {MAX_KEY} characters"):
        parse_filter({"properties": {"k" * (MAX_KEY + 1): {"equals": "x"}}})


def test_a_message_shows_only_the_begin_of_a_long_word() -> None:
    with pytest.raises(RefusedQueryError) as refused:
        parse_filter({"x" * 10_000: {}})
    assert len(str(refused.value)) < 250
