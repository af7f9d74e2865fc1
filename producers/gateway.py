"""The HTTP gateway: a 2xx leaves only after the broker has acknowledged every event that it speaks of."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import structlog
import uuid_utils
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as Page
from starlette.types import ASGIApp, Receive, Scope, Send

from producers import bodies
from producers.access import Access, Caller, KeyRing, Protection
from producers.bodies import Answer, DisconnectedError, ProblemError
from producers.dialects.exchange import (
    Body,
    Call,
    Dialect,
    FeedbackIds,
    Problem,
    Reply,
    Result,
    TenantRules,
    permitted,
)
from producers.dialects.native import NATIVE, NDJSON
from producers.dialects.routing import ROUTES, Candidates, Route, Router, speaker
from producers.feedback_ids import unshared_ids
from producers.publisher import Publisher
from schemas.constraints import Violation
from schemas.events import FeedbackEvent
from thumbstream.telemetry import Metrics

_BODY_SECONDS = 30.0
_BODIES_BYTES = 32 << 20  # parsed, a body takes about ten times its size
_STRANGERS_BYTES = 4 << 20  # the same for bodies of which nobody knows yet who sends them: they must not crowd out keys
_STRANGER_BYTES = 16 << 10
_STRANGER_SECONDS = 10.0  # what pages send is small
_MAX_CLIENT = 64
_ARRIVAL = "thumbstream.arrival"  # where a scope holds it

_log = structlog.get_logger(__name__)


def now_ms() -> int:
    """The gateway's clock, epoch milliseconds: for audit only."""
    return time.time_ns() // 1_000_000


def new_event_id() -> str:
    """A UUIDv7."""
    return str(uuid_utils.uuid7())


class Arrival(NamedTuple):
    """A request of which only the headers are known. `dialect` is the form of answers until its body tells.

    `preflight` is the method that a browser asks about before it sends that, else empty.
    """

    headers: Mapping[str, str]
    candidates: Candidates
    dialect: Dialect
    caller: Caller
    preflight: str


class Ingest:
    """The endpoints that take feedback, as one raw ASGI application over all dialects.

    What is on no path of a dialect goes on to `pages`: who asks for a page can wait, who floods us with votes must not
    cost more than needed.
    """

    def __init__(
        self,
        publisher: Publisher,
        keys: KeyRing,
        metrics: Metrics,
        *,
        clock: Callable[[], int] = now_ms,
        new_id: Callable[[], str] = new_event_id,
        routes: Sequence[Route] = ROUTES,
        feedback_ids: FeedbackIds | None = None,
        body_seconds: float = _BODY_SECONDS,
        bodies_bytes: int = _BODIES_BYTES,
        protection: Protection | None = None,
        rules: Mapping[str, TenantRules] | None = None,
    ) -> None:
        self.pages: ASGIApp = self.nowhere
        self._publisher, self._metrics = publisher, metrics
        self._access = Access(keys, protection or Protection())
        self._rules = rules or {}
        self._clock, self._new_id, self._router = clock, new_id, Router(routes)
        self._ids = feedback_ids or unshared_ids()
        self._failing = False
        self._body_seconds, self._memory = body_seconds, bodies.Memory(bodies_bytes)
        self._strangers = bodies.Memory(_STRANGERS_BYTES)

    def answer_at_once(self, scope: Scope) -> Answer | None:
        """The answer to a request for which its headers are enough; None: call the application with this scope.

        Takes neither a task nor the body, so that a flood of refusals leaves the processor to everybody else.
        """
        arrival = scope[_ARRIVAL] = self._arrival(scope)
        if arrival is None:
            return None
        headers, caller, dialect = arrival.headers, arrival.caller, arrival.dialect
        if arrival.preflight:
            return self._encoded(dialect, self._access.preflight(caller, dialect, arrival.preflight, headers), {})
        try:
            dialects = [route.dialect for route, _ in arrival.candidates]
            self._access.identify(caller, dialects, headers, self._clock() / 1000)
        except Exception as failure:  # noqa: BLE001 - a fault of ours must not look like one of the client
            return self._refusal(arrival, failure)
        return None

    def turn_away(self, scope: Scope) -> Answer:
        """The answer when there are too many connections, in the form of a dialect that has the path."""
        dialect = self._speaker(scope)
        problem = Problem("unavailable", "too many connections at once: send all of it again later")
        if self._router.at(_path(scope)):
            self._metrics.count("events_refused", dialect=dialect.name, reason=problem.reason)
        return self._encoded(dialect, dialect.trouble(problem), {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Whatever goes wrong, the client gets JSON in its dialect's form."""
        answer = None if _ARRIVAL in scope else self.answer_at_once(scope)
        arrival: Arrival | None = scope[_ARRIVAL]
        if arrival is None:
            return await self.pages(scope, receive, send)
        if answer is None:
            try:
                answer = await self._answer(arrival, receive)
            except DisconnectedError:
                return None
        return await _send(send, answer)

    async def nowhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer where there is neither a dialect nor a page, in the form of a dialect that has the path."""
        del receive
        if scope["type"] == "http":
            problem = self._find(scope["method"], scope)
            assert isinstance(problem, Problem), "what a dialect takes does not come here"
            dialect = self._speaker(scope)
            await _send(send, self._encoded(dialect, dialect.trouble(problem), {}))

    def _speaker(self, scope: Scope) -> Dialect:
        """Whose form of answer a path asks for, also with another method; our own where there is none."""
        found = self._find(scope["method"], scope)
        routes = self._router.at(_path(scope)) if isinstance(found, Problem) else found
        return speaker(routes, _headers(scope)) if routes else NATIVE

    def _arrival(self, scope: Scope) -> Arrival | None:
        if scope["type"] != "http":
            return None
        headers = _headers(scope)
        preflight = headers.get("access-control-request-method", "") if scope["method"] == "OPTIONS" else ""
        found = self._find(preflight or scope["method"], scope)
        if isinstance(found, Problem):
            return None
        return Arrival(headers, found, speaker(found, headers), self._access.arrive(scope, headers), preflight)

    def _find(self, method: str, scope: Scope) -> Candidates | Problem:
        return self._router.match(method, _path(scope))

    def _refusal(self, arrival: Arrival, failure: Exception) -> Answer:
        caller, dialect = arrival.caller, arrival.dialect
        if not isinstance(failure, ProblemError):
            _log.error("request_failed", dialect=dialect.name, exc_info=failure)
            problem = Problem("internal", "something went wrong here; nothing is promised")
            return self._told(caller, dialect, dialect.trouble(problem))
        problem = failure.problem
        self._metrics.count("events_refused", dialect=dialect.name, reason=problem.reason)
        answer = self._told(caller, dialect, dialect.trouble(problem))
        if not self._access.still_waits(caller, problem):
            return answer
        return answer._replace(again=partial(self._again, arrival, problem, str(answer.status)))

    def _again(self, arrival: Arrival, problem: Problem, status: str) -> bool:
        if not self._access.still_waits(arrival.caller, problem):
            return False
        self._metrics.count("events_refused", dialect=arrival.dialect.name, reason=problem.reason)
        self._metrics.count("requests", dialect=arrival.dialect.name, status=status)
        return True

    def _told(self, caller: Caller, dialect: Dialect, reply: Reply) -> Answer:
        return self._encoded(dialect, reply, self._access.response_headers(caller, dialect))

    def _encoded(self, dialect: Dialect, reply: Reply, more: Mapping[str, str]) -> Answer:
        self._metrics.count("requests", dialect=dialect.name, status=str(reply.status))
        return bodies.encode(reply, more)

    async def _answer(self, arrival: Arrival, receive: Receive) -> Answer:
        caller = arrival.caller
        known = caller.key is not None and caller.grant is None  # tokens are in everybody's hands
        memory, size = (self._memory, bodies.REQUEST) if known else (self._strangers, _STRANGER_BYTES)
        seconds = self._body_seconds if known else min(self._body_seconds, _STRANGER_SECONDS)
        try:
            with memory.hold(self._access.owner(caller), size) as share:
                body = await self._body(arrival, receive, share, seconds)
                route, path = next(
                    (pair for pair in arrival.candidates if pair[0].claims(arrival.headers, body)),
                    arrival.candidates[-1],
                )
                arrival = arrival._replace(dialect=route.dialect)  # refusals are in its form from here on
                return await self._reply(arrival, path, body)
        except DisconnectedError:
            raise
        except Exception as failure:  # noqa: BLE001 - a fault of ours must not leave a client without an answer
            return self._refusal(arrival, failure)

    async def _body(self, arrival: Arrival, receive: Receive, share: bodies.Share, seconds: float) -> Body:
        headers, dialect = arrival.headers, arrival.dialect
        content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        refused = dialect.refuse_type(content_type)
        if headers.get("content-encoding", "identity") != "identity":
            refused = Problem("unsupported_type", "compressed bodies are not supported")
        if refused is not None:
            raise ProblemError(refused)
        body = await bodies.read(receive, share, seconds, dialect.max_body)
        return bodies.parse(body, lines=content_type in NDJSON) if dialect.reads_body else Body(())

    async def _reply(self, arrival: Arrival, path: Mapping[str, str], body: Body) -> Answer:
        headers, dialect, caller, now = arrival.headers, arrival.dialect, arrival.caller, self._clock()
        key = self._access.identify_by_body(caller, dialect, body, now / 1000)
        call = Call(
            path, headers, body, key.tenant, _source(dialect.name, headers.get("user-agent", "")), now,
            self._new_id, self._ids, self._rules.get(key.tenant, TenantRules()), key_id=key.id, origins=key.origins,
            grant=caller.grant, sign=self._access.sign,
        )  # fmt: skip
        results = [permitted(result, key.rights) for result in dialect.results(call)]
        self._access.charge(caller, len(results))
        if not await self._publish(dialect, results):
            failed = Problem("unavailable", "nothing is promised: send all of it again")
            return self._told(caller, dialect, dialect.trouble(failed))
        return self._told(caller, dialect, dialect.reply(call, results))

    async def _publish(self, dialect: Dialect, results: Sequence[Result]) -> bool:
        """True when every event among the results is durable. Counts what is accepted and what is refused."""
        events = [result for result in results if isinstance(result, FeedbackEvent)]
        if events:
            outcomes = await self._publisher.publish(events)
            problem = next((outcome for outcome in outcomes if outcome is not None), None)
            self._note(problem)
            if problem is not None:
                return False
            self._metrics.count("events_accepted", len(events), dialect=dialect.name)
        for result in results:
            if isinstance(result, Violation):
                self._metrics.count("events_refused", dialect=dialect.name, reason=result.reason)
        return True

    def _note(self, problem: str | None) -> None:
        """Log when publishing begins to fail and when it works again: once, not once a request."""
        if problem is not None and not self._failing:
            _log.error("publish_failed", problem=problem)
        if problem is None and self._failing:
            _log.info("publish_works_again")
        self._failing = problem is not None


async def _send(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def _path(scope: Scope) -> str:
    path: bytes = scope["raw_path"]
    return path.decode("latin-1")


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _source(dialect: str, user_agent: str) -> str:
    """`native/python-httpx`: the dialect and the client's own name, without its version."""
    client = "".join(filter(str.isprintable, user_agent.partition(" ")[0].partition("/")[0]))[:_MAX_CLIENT]
    return f"{dialect}/{client}" if client else dialect


def create_app(
    publisher: Publisher,
    keys: KeyRing,
    metrics: Metrics,
    *,
    clock: Callable[[], int] = now_ms,
    new_id: Callable[[], str] = new_event_id,
    routes: Sequence[Route] = ROUTES,
    feedback_ids: FeedbackIds | None = None,
    more: Sequence[BaseRoute] = (),
    closing: Sequence[Callable[[], Awaitable[None]]] = (),
    body_seconds: float = _BODY_SECONDS,
    bodies_bytes: int = _BODIES_BYTES,
    rules: Mapping[str, TenantRules] | None = None,
    protection: Protection | None = None,
) -> Ingest:
    """The whole application: feedback, /healthz, /readyz, /metrics, and `more` pages of whoever composes it.

    The application owns `publisher` and closes it at the end, then it calls each of `closing`. `feedback_ids` are those
    that all gateways share; without them ids are good for this process only. `body_seconds` bounds how long a body may
    take, `bodies_bytes` how much of all bodies is held at once, `protection` adds tokens, pages and limits. `rules` are
    what tenants have settled, by tenant.
    """
    ingest = Ingest(
        publisher,
        keys,
        metrics,
        clock=clock,
        new_id=new_id,
        routes=routes,
        feedback_ids=feedback_ids,
        body_seconds=body_seconds,
        bodies_bytes=bodies_bytes,
        rules=rules,
        protection=protection,
    )
    pages = _pages(publisher, metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await publisher.close()
            for close in closing:
                await close()

    site = Starlette(routes=[*pages, *more], lifespan=lifespan)
    # What is nowhere is answered as it was sent; a Mount would leave out paths with a line break in them.
    site.router.redirect_slashes, site.router.default = False, ingest.nowhere
    ingest.pages = site
    return ingest


def _pages(publisher: Publisher, metrics: Metrics) -> list[BaseRoute]:
    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        trouble = await publisher.trouble()
        if trouble is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": trouble}, 503)

    async def scrape(_: Request) -> Response:
        return Response(metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Page("/healthz", healthz), Page("/readyz", readyz), Page("/metrics", scrape)]
