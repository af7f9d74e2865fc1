"""Whole SQL statements over the view `requests`, always of one tenant, with the parameters they need. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from thumbstream.console.filter_sql import Parameter, Parameters, condition, expression_of
from thumbstream.console.filter_tree import Node
from thumbstream.console.request_query import Order, RequestQuery

_IDS_AT_ONCE = 200  # ClickHouse takes at most 128 KiB as one field of a form
# The vote on a session is a row, too, and no request.
_SESSION = "startsWith(request_id, 'session:') AND metadata['target'] = 'session'"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Names of their own, for an alias equal to a column's name would take its place in WHERE. Times in milliseconds.
_ROW = (
    "request_id AS id, polarity AS vote, signal AS kind, comment AS words, nullIf(user_id, '') AS user,"
    " nullIf(model, '(none)') AS model_name, nullIf(prompt_id, '(none)') AS prompt,"
    " nullIf(prompt_version, '(none)') AS version, metadata AS entries, toUnixTimestamp64Milli(voted_at) AS voted_ms,"
    " toUnixTimestamp64Milli(first_seen) AS first_ms, toUnixTimestamp64Milli(updated_at) AS updated_ms"
)


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with typed placeholders, and the value of each."""

    sql: str
    parameters: Mapping[str, Parameter]


class Statements:
    """The questions that can be asked of one database of views."""

    def __init__(self, views: str) -> None:
        """ValueError unless `views` is a plain name: it is the one name in the SQL that comes from the settings."""
        if not _NAME.match(views):
            raise ValueError(f"{views!r} is no name for a database: letters, digits and _ only")
        self._view = f"{views}.requests"

    def page(self, tenant: str, query: RequestQuery) -> Statement:
        """Rows of one page. Ids come first, from few columns: long texts are read for the page's rows alone."""
        parameters = Parameters()
        order = _order(query.order, parameters)
        ids = (
            f"SELECT request_id FROM {self._matching(tenant, query.filter, parameters)} ORDER BY {order}"  # noqa: S608 - names of ours
            f" LIMIT {parameters.add(query.limit, 'UInt32')} OFFSET {parameters.add(query.offset, 'UInt32')}"
        )
        return self._rows(tenant, f"request_id IN ({ids})", order, parameters)

    def count(self, tenant: str, tree: Node) -> Statement:
        """One row `total`: how many requests a filter takes."""
        parameters = Parameters()
        return Statement(f"SELECT count() AS total FROM {self._matching(tenant, tree, parameters)}", parameters.values)  # noqa: S608 - names of ours

    def by_ids(self, tenant: str, ids: tuple[str, ...]) -> Statement:
        """Rows of the requests among `ids` that exist, newest first."""
        parameters = Parameters()
        parts = (ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE))
        wanted = " OR ".join(f"request_id IN ({parameters.add(part, 'Array(String)')})" for part in parts)
        return self._rows(tenant, f"({wanted})", _order(Order(), parameters), parameters)

    def _matching(self, tenant: str, tree: Node, parameters: Parameters) -> str:
        owned, again = (f"tenant_id = {parameters.add(tenant, 'String')}" for _ in range(2))
        # Not simply `NOT`: that would read all metadata, prompts included, of the tenant.
        sessions = f"SELECT request_id FROM {self._view} WHERE {again} AND {_SESSION}"  # noqa: S608 - names of ours
        requests = f"(NOT startsWith(request_id, 'session:') OR request_id NOT IN ({sessions}))"
        return f"{self._view} WHERE {owned} AND {requests} AND {condition(tree, parameters)}"

    def _rows(self, tenant: str, wanted: str, order: str, parameters: Parameters) -> Statement:
        owned = f"tenant_id = {parameters.add(tenant, 'String')} AND NOT ({_SESSION})"
        sql = f"SELECT {_ROW} FROM {self._view} WHERE {owned} AND {wanted} ORDER BY {order}"  # noqa: S608 - names of ours
        return Statement(sql, parameters.values)


def _order(order: Order, parameters: Parameters) -> str:
    """Requests without the value come last; the id decides among equals, so that pages do not overlap."""
    if order.column is None:
        return "rand()"
    direction = "DESC" if order.descending else "ASC"
    return f"{expression_of(order.column, order.key, parameters)} {direction} NULLS LAST, request_id"
