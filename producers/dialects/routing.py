"""Which dialect a request speaks: method and path first, then, where vendors' paths collide, headers and body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from producers.dialects import cohere3, helicone_legacy
from producers.dialects.browser import BROWSER, TOKENS
from producers.dialects.cohere import GENERATE, PREFERENCE
from producers.dialects.exchange import Body, Dialect, Problem
from producers.dialects.helicone import HELICONE, SESSION
from producers.dialects.helicone_context import PROPERTY, SCORE
from producers.dialects.helicone_log import TRACE, log
from producers.dialects.native import ERASURE, NATIVE
from producers.dialects.portkey import AMENDMENT, API_KEY, PORTKEY
from producers.dialects.requesty import REQUESTY

Headers = Mapping[str, str]


def _always(headers: Headers, body: Body) -> bool:  # noqa: ARG001 - the default claims every request
    return True


def _segments(path: str) -> list[str]:
    return path.split("/")[1:]


@dataclass(frozen=True, slots=True)
class Route:
    """One method and path template (`{name}` takes one segment; its dialect refuses one that is empty).

    Several routes may match a request: the first one that `claims` it speaks, so the most general comes last. Until
    the body is read, `sign` tells: the name of a header (lower case) that only this dialect's clients send.
    """

    method: str
    template: str
    dialect: Dialect
    claims: Callable[[Headers, Body], bool] = _always
    sign: str | None = None

    def path(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The placeholders' values, or None when the path is another one. `segments` are percent-encoded."""
        wanted = _segments(self.template)
        if len(wanted) != len(segments):
            return None
        values: dict[str, str] = {}
        for name, segment in zip(wanted, segments, strict=True):
            if name.startswith("{"):
                # bytes that are no UTF-8 become lone surrogates, which validation refuses like any other
                values[name[1:-1]] = unquote(segment, errors="surrogateescape")
            elif name != segment:
                return None
        return values


ROUTES: tuple[Route, ...] = (
    Route("POST", "/v1/events", NATIVE),
    Route("DELETE", "/v1/requests/{request_id}", ERASURE),
    Route("POST", "/v1/feedback-tokens", TOKENS),
    Route("POST", "/v1/token-feedback", BROWSER),
    Route("POST", "/v1/request/{request_id}/feedback", HELICONE),
    Route("POST", "/v1/session/{session_id}/feedback", SESSION),
    Route("PUT", "/v1/request/{request_id}/property", PROPERTY),
    Route("POST", "/v1/request/{request_id}/score", SCORE),
    Route("POST", "/custom/v1/log", log("custom")),
    Route("POST", "/oai/v1/log", log("openai")),
    Route("POST", "/anthropic/v1/log", log("anthropic")),
    Route("POST", "/googleapis/v1/log", log("google")),
    Route("POST", "/v1/trace/custom/v1/log", TRACE),
    Route("POST", "/v1/trace/custom/log", TRACE),
    Route("POST", "/v1/feedback", helicone_legacy.HELICONE_LEGACY, helicone_legacy.claims, sign="helicone-auth"),
    Route("POST", "/v1/feedback/generate", GENERATE),
    Route("POST", "/v1/feedback/generate/preference", PREFERENCE),
    Route("POST", "/feedback/{request_id}", REQUESTY),
    Route("POST", "/v1/feedback", PORTKEY),
    Route("PUT", "/v1/feedback/{feedback_id}", AMENDMENT),
    Route("PUT", "/feedback/{feedback_id}", AMENDMENT),
    Route("POST", "/feedback", PORTKEY, lambda headers, _body: API_KEY in headers, sign=API_KEY),
    Route("POST", "/feedback", cohere3.COHERE_3, cohere3.claims),
    Route("POST", "/check-api-key", cohere3.KEY_CHECK),
)

Candidates = tuple[tuple[Route, dict[str, str]], ...]


class Router:
    """Finds the routes of a request: one look for a path that is spelt out, else only templates of its length."""

    def __init__(self, routes: Sequence[Route] = ROUTES) -> None:
        self._spelt_out: dict[str, list[tuple[Route, dict[str, str]]]] = {}
        self._templates: dict[int, list[Route]] = {}
        for route in routes:
            if "{" in route.template:
                self._templates.setdefault(len(_segments(route.template)), []).append(route)
            else:
                self._spelt_out.setdefault(route.template, []).append((route, {}))

    def match(self, method: str, raw_path: str) -> Candidates | Problem:
        """Every route for a request with its placeholders, in order, or a problem for 404 and 405.

        `raw_path` is the path as sent, without the query; one trailing slash more or less is the same path. A path that
        is spelt out is never a placeholder's.
        """
        found = self.at(raw_path)
        if not found:
            return Problem("not_found", "there is nothing at this path")
        allowed = tuple(pair for pair in found if pair[0].method == method)
        if not allowed:
            methods = tuple(dict.fromkeys(route.method for route, _ in found))
            return Problem("method_not_allowed", f"this path takes {', '.join(methods)}", methods)
        return allowed

    def at(self, raw_path: str) -> Candidates:
        """Every route of a path, whatever the method, in order."""
        path = raw_path.removesuffix("/")
        return tuple(self._spelt_out.get(path) or self._by_template(_segments(path)))

    def _by_template(self, segments: Sequence[str]) -> list[tuple[Route, dict[str, str]]]:
        templates = self._templates.get(len(segments), ())
        return [(route, values) for route in templates if (values := route.path(segments)) is not None]


def speaker(candidates: Candidates, headers: Headers) -> Dialect:
    """Whose form of answer to use while the body is unknown: the first whose sign is there, else the most general."""
    signed = (route.dialect for route, _ in candidates if route.sign in headers)
    return next(signed, candidates[-1][0].dialect)
