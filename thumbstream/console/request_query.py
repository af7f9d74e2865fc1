"""The body of a query for requests: filter, page and order, or a refusal that names the field. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.constraints import MAX_ID_BYTES
from thumbstream.console.filter_tree import (
    MAX_KEY,
    Branch,
    Condition,
    Node,
    RefusedQueryError,
    parse_filter,
    shown,
)
from thumbstream.console.request_columns import SCORED, SORTS, Column

MAX_LIMIT = 1_000
MAX_OFFSET = 10_000
MAX_IDS = 1_000
DEFAULT_LIMIT = 10
_FIELDS = ("filter", "offset", "limit", "sort", "isCached", "includeInputs", "isPartOfExperiment", "isScored")
_NOT_KEPT = ("isCached", "isPartOfExperiment")  # no event tells, so true would find nothing: that is no answer


@dataclass(frozen=True, slots=True)
class Order:
    """What rows are ordered by; no column: by chance."""

    column: Column | None = SORTS["created_at"]
    key: str | None = None
    descending: bool = True


@dataclass(frozen=True, slots=True)
class RequestQuery:
    """A page of requests: those that `filter` takes, in `order`, from `offset` on."""

    filter: Node
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    order: Order = Order()


def parse_query(document: object) -> RequestQuery:
    """The query a body asks. RefusedQueryError says which field is wrong, and why."""
    body = _body(document, _FIELDS)
    if "filter" not in body:
        raise RefusedQueryError("filter", 'is required; "all" takes every request')
    tree = parse_filter(body["filter"])
    flags = {name: _flag(body, name) for name in _FIELDS[4:]}
    for name in _NOT_KEPT:
        if flags[name]:
            raise RefusedQueryError(name, "is not known here, so it cannot be asked for")
    if flags["isScored"]:
        tree = Branch("and", (tree, Condition(SCORED, "equals", True)))
    limit = _count(body, "limit", MAX_LIMIT, DEFAULT_LIMIT)
    return RequestQuery(tree, limit, _count(body, "offset", MAX_OFFSET, 0), _order(body.get("sort")))


def parse_ids(document: object) -> tuple[str, ...]:
    """The request ids of a `query-ids` body. RefusedQueryError as `parse_query`."""
    ids = _body(document, ("requestIds",)).get("requestIds")
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise RefusedQueryError("requestIds", "must be a list of texts")
    if len(ids) > MAX_IDS:
        raise RefusedQueryError("requestIds", f"more than {MAX_IDS}")
    if not all(is_id(each) for each in ids):
        raise RefusedQueryError("requestIds", f"each must have 1 to {MAX_ID_BYTES} bytes, none of them NUL")
    return tuple(ids)


def is_id(text: str) -> bool:
    """Whether a request can have this id at all."""
    return 0 < len(text.encode()) <= MAX_ID_BYTES and "\0" not in text


def _body(document: object, fields: tuple[str, ...]) -> Mapping[str, object]:
    if not isinstance(document, dict):
        raise RefusedQueryError("", "the body must be an object")
    for name in document:
        if name not in fields:
            raise RefusedQueryError(shown(name), f"there is no such field; there are {', '.join(fields)}")
    return document


def _flag(body: Mapping[str, object], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise RefusedQueryError(name, "must be true or false")
    return value is True


def _count(body: Mapping[str, object], name: str, most: int, default: int) -> int:
    """A whole number; JSON of JavaScript makes no difference between 10 and 10.0."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise RefusedQueryError(name, "must be a whole number")
    if not 0 <= value <= most:
        raise RefusedQueryError(name, f"must be between 0 and {most}")
    return int(value)


def _order(sort: object) -> Order:
    if sort is None or sort == {}:
        return Order()
    if not isinstance(sort, dict) or len(sort) > 1:
        raise RefusedQueryError("sort", 'must be an object with one entry, such as {"created_at": "desc"}')
    ((name, direction),) = sort.items()
    place = f"sort.{shown(name)}"
    if name == "random":
        if direction is not True:
            raise RefusedQueryError(place, "must be true")
        return Order(None)
    column = SORTS.get(name)
    if column is None:
        raise RefusedQueryError(place, f"there is no such order; there are {', '.join(SORTS)}, random")
    if column.keyed:
        return _keyed_order(column, direction, place)
    return Order(column, None, _descending(direction, place))


def _keyed_order(column: Column, entry: object, place: str) -> Order:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise RefusedQueryError(place, 'must be an object with one key, such as {"plan": "asc"}')
    ((key, direction),) = entry.items()
    if len(key) > MAX_KEY or "\0" in key:
        raise RefusedQueryError(place, f"a key must have at most {MAX_KEY} characters, none of them NUL")
    return Order(column, key, _descending(direction, f"{place}.{shown(key)}"))


def _descending(direction: object, place: str) -> bool:
    if direction not in ("asc", "desc"):
        raise RefusedQueryError(place, 'must be "asc" or "desc"')
    return direction == "desc"
