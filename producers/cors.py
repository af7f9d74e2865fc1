"""Cross-origin requests (CORS): what a browser is told about whose pages may call. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MAX_AGE = 7_200  # seconds; browsers keep no answer longer
_NAMES = re.compile(r"[A-Za-z0-9_-]+( *, *[A-Za-z0-9_-]+)*")
_MAX_NAMES = 1_024  # characters
VARY = {"Vary": "Origin"}  # on every answer, also on those without permission: a cache must not mix them up


def response_headers(origin: str) -> dict[str, str]:
    """What lets a page of `origin` read an answer."""
    return {**VARY, "Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After"}


def preflight_headers(origin: str, methods: Iterable[str], asked: str) -> dict[str, str]:
    """What lets a page of `origin` send a request with the headers it `asked` for, and ask again in two hours only."""
    headers = {
        **VARY,
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Max-Age": str(_MAX_AGE),
    }
    if len(asked) <= _MAX_NAMES and _NAMES.fullmatch(asked):
        headers["Access-Control-Allow-Headers"] = asked
    return headers
