"""Helicone's filter, from JSON to a small typed tree, or a refusal that names the place. Pure.

    node := "all" | {} | leaf | {"left": node, "operator": "and" | "or", "right": node}
    leaf := {table: {column: {operator: value}}}

All tables, columns and operators of a leaf are ANDed. What is unknown is refused: taken for "matches everything", as
the vendor's server takes it, a misspelt filter would hand out everybody's rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from thumbstream.console.request_columns import (
    OPERATORS,
    RATING_SCORE,
    SCORE,
    SCORE_OF_RATING,
    TABLES,
    Column,
)

MAX_DEPTH = 32
MAX_CONDITIONS = 64
MAX_TEXT = 1_024  # characters of one value
MAX_KEY = 128  # characters, as in the metadata of an event
NULL = "null"  # this text, compared with equals or not-equals, stands for "no value"
_SHOWN = 48
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BRANCH = ("left", "operator", "right")


class RefusedQueryError(ValueError):
    """A query that cannot be answered; the message begins with the place, such as `filter.left.request.id`."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}" if place else reason)


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. `value` is None for the text "null", microseconds for a time; `key` names an entry of a map."""

    column: Column
    operator: str
    value: str | float | bool | None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """Conditions joined; `and` of none is true."""

    operator: Literal["and", "or"]
    parts: tuple[Node, ...]


Node = Condition | Branch
EVERYTHING = Branch("and", ())


def parse_filter(document: object) -> Node:
    """The tree of a filter. RefusedQueryError names what is wrong with it, and where."""
    return _Parser().node(document, "filter", 1)


class _Parser:
    """Counts conditions while it reads, so that a filter which is too large is not read to its end."""

    def __init__(self) -> None:
        self._conditions = 0

    def node(self, document: object, place: str, depth: int) -> Node:
        if document == "all":
            return EVERYTHING
        if not isinstance(document, dict):
            raise RefusedQueryError(place, 'must be "all" or an object')
        if depth > MAX_DEPTH:
            raise RefusedQueryError("filter", f"nested deeper than {MAX_DEPTH} levels")
        if any(name in document for name in _BRANCH):
            return self._branch(document, place, depth)
        return Branch("and", tuple(self._leaf(document, place)))

    def _branch(self, document: Mapping[str, Any], place: str, depth: int) -> Branch:
        if set(document) != set(_BRANCH):
            raise RefusedQueryError(place, "must have left, operator and right, and nothing else")
        operator = document["operator"]
        if operator not in ("and", "or"):
            raise RefusedQueryError(f"{place}.operator", 'must be "and" or "or"')
        left = self.node(document["left"], f"{place}.left", depth + 1)
        return Branch(operator, (left, self.node(document["right"], f"{place}.right", depth + 1)))

    def _leaf(self, document: Mapping[str, Any], place: str) -> Iterator[Node]:
        for table, content in document.items():
            here = f"{place}.{shown(table)}"
            columns = TABLES.get(table)
            if columns is None:
                raise RefusedQueryError(here, f"there is no such table; there are {', '.join(TABLES)}")
            if isinstance(columns, Column):
                yield from self._keyed(columns, content, here)
            else:
                yield from self._table(columns, content, here)

    def _table(self, columns: Mapping[str, Column], content: object, place: str) -> Iterator[Node]:
        for name, comparisons in _object(content, place, "columns"):
            here, column = f"{place}.{shown(name)}", columns.get(name)
            if column is None:
                raise RefusedQueryError(here, f"there is no such column; there are {', '.join(columns)}")
            if column.keyed:
                yield from self._keyed(column, comparisons, here)
            else:
                yield from self._comparisons(column, None, comparisons, here)

    def _keyed(self, column: Column, content: object, place: str) -> Iterator[Node]:
        for key, comparisons in _object(content, place, "keys"):
            here = f"{place}.{shown(key)}"
            _check_text(key, here, MAX_KEY)
            if column is SCORE and key == SCORE_OF_RATING:
                yield from self._comparisons(RATING_SCORE, None, comparisons, here)
            else:
                yield from self._comparisons(column, key, comparisons, here)

    def _comparisons(self, column: Column, key: str | None, content: object, place: str) -> Iterator[Node]:
        for operator, value in _object(content, place, "operators"):
            here = f"{place}.{shown(operator)}"
            if operator not in OPERATORS[column.kind]:
                known = ", ".join(OPERATORS[column.kind])
                raise RefusedQueryError(here, f"there is no such operator for a {column.kind}; there are {known}")
            self._conditions += 1
            if self._conditions > MAX_CONDITIONS:
                raise RefusedQueryError("filter", f"more than {MAX_CONDITIONS} comparisons")
            yield Condition(column, operator, _value(column, operator, value, here), key)


def shown(text: str) -> str:
    """A caller's word for a message: cut, on one line."""
    return "".join(c if c.isprintable() else "?" for c in text[:_SHOWN]) + ("..." if len(text) > _SHOWN else "")


def _object(content: object, place: str, what: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict):
        raise RefusedQueryError(place, f"must be an object of {what}")
    yield from content.items()


def _value(column: Column, operator: str, value: object, place: str) -> str | float | bool | None:
    if value == NULL and operator in ("equals", "not-equals"):
        return None
    match column.kind:
        case "text":
            return _text(operator, value, place)
        case "number":
            return _number(column, value, place)
        case "boolean":
            if not isinstance(value, bool):
                raise RefusedQueryError(place, "must be true or false")
            return value
        case "time":
            return _time(value, place)


def _text(operator: str, value: object, place: str) -> str:
    if not isinstance(value, str):
        raise RefusedQueryError(place, "must be a text")
    _check_text(value, place, MAX_TEXT)
    if operator in ("like", "ilike") and (len(value) - len(value.rstrip("\\"))) % 2:
        raise RefusedQueryError(place, "a pattern must not end with a single backslash, which escapes nothing")
    return value


def _check_text(text: str, place: str, longest: int) -> None:
    if len(text) > longest:
        raise RefusedQueryError(place, f"longer than {longest} characters")
    if "\0" in text:
        raise RefusedQueryError(place, "must not contain NUL")


def _number(column: Column, value: object, place: str) -> float:
    if isinstance(value, str) and column in (SCORE, RATING_SCORE):  # the vendor's own schema has scores as text
        value = _parsed(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RefusedQueryError(place, "must be a number")
    return float(value)  # JSON's integers end at 64 bits here, so they all have one


def _parsed(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _time(value: object, place: str) -> int:
    """Microseconds since 1970. A time without an offset is UTC, as all times in the answers."""
    try:
        time = datetime.fromisoformat(value if isinstance(value, str) else "")
        return ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
    except (ValueError, OverflowError):
        raise RefusedQueryError(place, "must be a time such as 2026-03-02T10:00:00Z") from None
