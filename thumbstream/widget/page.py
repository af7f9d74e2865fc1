"""`GET /widget.js`: the file as it is in this package, cacheable and compressed."""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

PATH = "/widget.js"
_HOUR = 3600
_HEADERS = {
    "Cache-Control": f"public, max-age={_HOUR}, stale-while-revalidate={24 * _HOUR}",
    "Vary": "Accept-Encoding",
    # any page may load it, as a module, with an integrity hash, and under Cross-Origin-Embedder-Policy
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
}


def source() -> bytes:
    """The component's JavaScript, UTF-8."""
    return (files("thumbstream.widget") / "widget.js").read_bytes()


def routes() -> list[BaseRoute]:
    """The page for `create_app(..., more=...)`: GET and HEAD, 304 when the client's ETag is still the one."""
    plain = source()
    packed = gzip.compress(plain, mtime=0)
    tag = f'W/"{hashlib.sha256(plain).hexdigest()[:20]}"'  # weak: both encodings share it

    async def widget(request: Request) -> Response:
        headers = {**_HEADERS, "ETag": tag}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        body = plain
        if "gzip" in request.headers.get("accept-encoding", ""):
            body, headers["Content-Encoding"] = packed, "gzip"
        return Response(body, headers=headers, media_type="text/javascript; charset=utf-8")

    return [Route(PATH, widget)]
