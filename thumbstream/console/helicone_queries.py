"""Helicone's query endpoints: who asks, what is asked, what ClickHouse says, all in Helicone's envelope.

They live beside the gateway's feedback calls, so that a vendor's client keeps one base URL, and they share nothing with
them: while ClickHouse is out, these paths answer 503 and votes are taken as ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from producers import bodies
from producers.access import Access, KeyRing, Protection
from producers.bodies import DisconnectedError, ProblemError
from producers.dialects import helicone
from producers.dialects.exchange import Problem, Reply
from thumbstream.console.clickhouse_reader import Reader, ResultTooLargeError, UnreadableError
from thumbstream.console.filter_tree import RefusedQueryError
from thumbstream.console.query_slots import CrowdedError, Limits, Slots
from thumbstream.console.request_query import is_id, parse_ids, parse_query
from thumbstream.console.request_rows import request_row
from thumbstream.console.request_statements import Statement, Statements
from thumbstream.telemetry import Metrics

_BODY_SECONDS = 10.0
_BODIES_BYTES = 8 << 20
_DIALECT = "helicone-query"
_CLOSED = 499  # the client went away: nobody reads the status, the metric shows it

_log = structlog.get_logger(__name__)

Answer = Callable[[str, Request], Awaitable[object]]


class HeliconeQueries:
    """The endpoints over one reader; without one (`missing` says why) every query is answered 503."""

    def __init__(
        self,
        keys: KeyRing,
        metrics: Metrics,
        statements: Statements,
        reader: Reader | None,
        *,
        missing: str = "queries are not set up here",
        limits: Limits | None = None,
        protection: Protection | None = None,
    ) -> None:
        self._metrics, self._statements, self._reader, self._missing = metrics, statements, reader, missing
        self._access = Access(keys, protection or Protection())  # its own, so that queries use up no votes' rate
        self._slots = Slots(limits or Limits())
        self._memory = bodies.Memory(_BODIES_BYTES)

    def routes(self) -> list[BaseRoute]:
        """All paths."""
        posts = {
            "/v1/request/query": self._page,
            "/v1/request/query-clickhouse": self._page,
            "/v1/request/query-ids": self._by_ids,
            "/v1/request/count/query": self._count,
        }
        paths: list[BaseRoute] = [
            _Path(path, self._endpoint(answer), methods=["POST"]) for path, answer in posts.items()
        ]
        return [*paths, _Path("/v1/request/{request_id}", self._endpoint(self._one), methods=["GET"])]

    def _endpoint(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            began = time.monotonic()
            reply = await self._reply(answer, request)
            self._metrics.count("requests", dialect=_DIALECT, status=str(reply.status))
            self._metrics.observe("query_seconds", time.monotonic() - began)
            return _response(reply)

        return endpoint

    async def _reply(self, answer: Answer, request: Request) -> Reply:
        """What to answer, whatever happens."""
        try:
            data = await answer(self._tenant(request), request)
            written = await asyncio.to_thread(orjson.dumps, {"data": data, "error": None})  # may be megabytes
            return Reply(200, orjson.Fragment(written))
        except RefusedQueryError as refused:
            return _error(400, str(refused))
        except ResultTooLargeError:
            return _error(400, "limit: the rows are too large for one answer; ask for fewer at a time")
        except ProblemError as failed:
            return helicone.trouble(failed.problem)
        except CrowdedError as crowded:
            reason = "rate_limited" if crowded.own else "unavailable"
            return helicone.trouble(Problem(reason, "too many queries at once: ask again later"))
        except UnreadableError as failed:
            return helicone.trouble(Problem("unavailable", f"{failed}: ask again later"))
        except DisconnectedError:
            return _error(_CLOSED, "the body never came to its end")
        except Exception:  # noqa: BLE001 - a fault of ours must not leave a client without its own form of answer
            _log.exception("query_crashed")
            return helicone.trouble(Problem("internal", "something went wrong here"))

    def _tenant(self, request: Request) -> str:
        """Whose requests the key may read. ProblemError for one that is unknown, lacks the right, or asks too often."""
        caller = self._access.arrive(request.scope, request.headers)
        self._access.identify(caller, [helicone.HELICONE], request.headers, time.time())
        if caller.key is None or "query" not in caller.key.rights:
            raise ProblemError(Problem("forbidden", "this key does not have the right query"))
        return caller.key.tenant

    async def _page(self, tenant: str, request: Request) -> object:
        query = parse_query(await self._document(tenant, request))
        return await self._rows(tenant, self._statements.page(tenant, query)) if query.limit else []

    async def _by_ids(self, tenant: str, request: Request) -> object:
        ids = parse_ids(await self._document(tenant, request))
        return await self._rows(tenant, self._statements.by_ids(tenant, ids)) if ids else []

    async def _count(self, tenant: str, request: Request) -> object:
        tree = parse_query(await self._document(tenant, request)).filter
        (found,) = await self._ask(tenant, self._statements.count(tenant, tree))
        return int(found["total"])

    async def _one(self, tenant: str, request: Request) -> object:
        wanted = _path_id(request)
        found = await self._rows(tenant, self._statements.by_ids(tenant, (wanted,))) if wanted else []
        if not found:
            raise ProblemError(Problem("not_found", "Request not found"))
        return found[0]

    async def _document(self, tenant: str, request: Request) -> object:
        if request.headers.get("content-encoding", "identity") != "identity":
            raise ProblemError(Problem("unsupported_type", "compressed bodies are not supported"))
        with self._memory.hold(tenant) as share:
            body = bodies.parse(await bodies.read(request.receive, share, _BODY_SECONDS), lines=False)
        if body.many:
            raise RefusedQueryError("", "the body must be an object")
        return body.items[0].value

    async def _rows(self, tenant: str, statement: Statement) -> list[dict[str, Any]]:
        rows = await self._ask(tenant, statement)
        return await asyncio.to_thread(lambda: [request_row(row) for row in rows])

    async def _ask(self, tenant: str, statement: Statement) -> list[dict[str, Any]]:
        if self._reader is None:
            raise ProblemError(Problem("unavailable", self._missing))
        async with self._slots.hold(tenant):
            return await self._reader.rows(statement)


class _Path(Route):
    """Matches the path as it was sent, with or without a slash at its end: so an id may hold an encoded slash."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """FULL, PARTIAL for another method, or NONE."""
        sent = scope.get("raw_path", b"").decode("latin-1").removesuffix("/")
        return super().matches({**scope, "path": sent})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer in the vendor's envelope also what comes by another method."""
        methods = tuple(sorted(self.methods or ()))
        if scope["method"] in methods:
            await super().handle(scope, receive, send)
        else:
            problem = Problem("method_not_allowed", f"this path takes {', '.join(methods)}", methods)
            await _response(helicone.trouble(problem))(scope, receive, send)


def _response(reply: Reply) -> Response:
    headers = {"content-type": "application/json", **reply.headers}
    return Response(orjson.dumps(reply.document), reply.status, headers)


def _path_id(request: Request) -> str | None:
    """The id in the path. None when no request can have it."""
    text = unquote(request.path_params["request_id"])
    return text if is_id(text) else None


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"data": None, "error": message})
