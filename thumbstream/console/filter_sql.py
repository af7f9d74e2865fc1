"""A filter's tree to a condition of SQL and its parameters. Pure.

The text is put together from `request_columns` and from words of this file; whatever a caller sent is a parameter that
the server binds to a typed placeholder. An absent value satisfies no comparison, and `not-...` is the exact opposite of
its counterpart, so it holds for an absent value.
"""

from __future__ import annotations

from collections.abc import Iterable

from thumbstream.console.filter_tree import Branch, Condition, Node
from thumbstream.console.request_columns import Column

_TYPES = {"text": "String", "number": "Float64", "boolean": "Bool", "time": "Int64"}
_COMPARISONS = {
    "equals": "{} = {}",
    "gte": "{} >= {}",
    "lte": "{} <= {}",
    "lt": "{} < {}",
    "gt": "{} > {}",
    "like": "like({}, {})",
    "ilike": "ilike({}, {})",
    "contains": "positionCaseInsensitiveUTF8({}, {}) > 0",  # a substring, so % and _ are characters like any other
}
_OPPOSITES = {"not-equals": "equals", "not-contains": "contains"}

Parameter = str | int | float | bool | tuple[str, ...]


class Parameters:
    """Values by the name of their placeholder, as they are collected for one statement."""

    def __init__(self) -> None:
        self.values: dict[str, Parameter] = {}

    def add(self, value: Parameter, kind: str) -> str:
        """The placeholder, `{p0:String}`, that stands for a value from now on."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{kind}}}"


def condition(node: Node, parameters: Parameters) -> str:
    """SQL that is 1 for the rows a filter takes and 0 for all others, never NULL."""
    if isinstance(node, Condition):
        return _comparison(node, parameters)
    return _joined(node, (condition(part, parameters) for part in node.parts))


def _joined(branch: Branch, parts: Iterable[str]) -> str:
    word = " AND " if branch.operator == "and" else " OR "
    return f"({word.join(parts)})" if branch.parts else "1"


def _comparison(asked: Condition, parameters: Parameters) -> str:
    expression = expression_of(asked.column, asked.key, parameters)
    if asked.value is None:
        return f"{'isNull' if asked.operator == 'equals' else 'isNotNull'}({expression})"
    placeholder = parameters.add(asked.value, _TYPES[asked.column.kind])
    operator = _OPPOSITES.get(asked.operator, asked.operator)
    held = f"ifNull({_COMPARISONS[operator].format(expression, placeholder)}, 0)"
    return held if operator == asked.operator else f"NOT {held}"


def expression_of(column: Column, key: str | None, parameters: Parameters) -> str:
    """A column's expression; the key of a map is a parameter, too."""
    if key is None:
        return column.sql
    return column.sql.replace("@key", parameters.add(column.prefix + key, "String"))
