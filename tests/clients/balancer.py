"""What stands between a vendor's client and the gateway, and the troubles that requests may meet there."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.fixtures.memory_gateway import MemoryGateway

Trouble = Callable[[MemoryGateway], ASGIApp]
_KEYS = (b"authorization", b"helicone-auth")


@contextmanager
def behind(gateway: MemoryGateway, troubles: Iterable[Trouble]) -> Iterator[str]:
    """The URL of a balancer where each request meets the next of `troubles`; after the last one all is well."""
    balancer = _Balancer(gateway.app, [trouble(gateway) for trouble in troubles])
    gateway.app = balancer  # type: ignore[assignment]  # all that is asked of it is to be served
    with gateway.served() as url:
        yield url


class _Balancer:
    def __init__(self, app: ASGIApp, first: list[ASGIApp]) -> None:
        self._app, self._first = app, iter(first)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = next(self._first, self._app) if scope["type"] == "http" else self._app
        await app(scope, receive, send)

    def answer_at_once(self, scope: Scope) -> None:
        """Nothing: all goes through the balancer."""


def well(gateway: MemoryGateway) -> ASGIApp:
    """None."""
    return gateway.app


def lost(gateway: MemoryGateway) -> ASGIApp:
    """Stored, and yet answered with 503."""
    app = gateway.app

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        gateway.publisher.lost = 1
        await app(scope, receive, send)

    return answer


def lost_without_our_headers(gateway: MemoryGateway) -> ASGIApp:
    """The same from a balancer of another make: it answers for itself."""
    app = lost(gateway)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def strip(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [pair for pair in message["headers"] if not pair[0].startswith(b"x-portkey-")]
                message = {**message, "headers": kept}
            await send(message)

        await app(scope, receive, strip)

    return answer


def down(gateway: MemoryGateway) -> ASGIApp:
    """Answered with 503, for nothing can be stored."""
    app = gateway.app

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        gateway.publisher.down = "no broker"
        await app(scope, receive, send)
        gateway.publisher.down = None

    return answer


def stranger(gateway: MemoryGateway) -> ASGIApp:
    """Answered with 401: the key is another one."""
    app = gateway.app

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name, b"Bearer ts_no_key" if name in _KEYS else value) for name, value in scope["headers"]]
        await app({**scope, "headers": headers}, receive, send)

    return answer


def as_helicone_itself(gateway: MemoryGateway) -> ASGIApp:
    """Answered with what the vendor's own server says when something fails; nothing of it comes to us."""
    return PlainTextResponse("Error: Request not found.", 500)
