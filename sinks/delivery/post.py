"""One POST to a receiver: the address is checked at every connect, no redirect is followed, nothing secret is told.

The client resolves a name itself and connects to the very address it judged, so a name that answers differently the
second time gains nothing. Proxies of the environment are not used: they would connect in our stead, unchecked.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import certifi
import httpcore

from sinks.delivery.addresses import is_public
from sinks.delivery.parking import PRIVATE
from sinks.delivery.receivers import Receiver
from sinks.delivery.replies import Answer, Verdict, advice, judge, retry_after, scrubbed
from sinks.delivery.requests import Request

_LARGEST_ANSWER = 4_096
Resolve = Callable[[str, int], list[str]]


class PrivateAddressError(Exception):
    """The receiver's name leads to an address that is not public, and its section does not allow that."""


def addresses(host: str, port: int) -> list[str]:
    """The addresses of a name, in the resolver's order."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"the name {host} cannot be resolved") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Backend(httpcore.SyncBackend):
    """Connects to addresses that were judged, never to a name."""

    def __init__(self, resolve: Resolve, *, allow_private: bool) -> None:
        self._resolve, self._allow_private = resolve, allow_private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        found = self._resolve(host, port)
        if not self._allow_private and not all(map(is_public, found)):
            raise PrivateAddressError(f"{host} is not a public address")
        failure: Exception = httpcore.ConnectError(f"the name {host} has no address")
        for address in found:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class Poster:
    """Posts to one receiver over one connection that is kept. To be used by one thread."""

    def __init__(self, receiver: Receiver, resolve: Resolve = addresses) -> None:
        self._receiver = receiver
        trust = ssl.create_default_context(cafile=certifi.where())
        trust.load_default_certs()  # the machine's own authorities too, and what SSL_CERT_FILE names
        backend = _Backend(resolve, allow_private=receiver.allow_private)
        self._pool = httpcore.ConnectionPool(trust, max_connections=1, keepalive_expiry=30, network_backend=backend)

    def post(self, request: Request) -> Answer:
        """Post, and say what came of it. Never raises for what the network or the receiver does."""
        try:
            return self._post(request)
        except PrivateAddressError as error:
            text = f"{error}, and the receiver does not say allow_private = true"
            return Answer(Verdict.REFUSED, None, text, PRIVATE)
        except httpcore.TimeoutException:
            return Answer(Verdict.RETRY, None, f"no answer within {self._receiver.timeout:g} s")
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            text = scrubbed(str(error) or type(error).__name__, self._receiver.secrets)
            return Answer(Verdict.RETRY, None, f"no connection: {text}")

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def _post(self, request: Request) -> Answer:
        limit = self._receiver.timeout
        headers = list(request.headers.items())
        extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), limit)}
        with self._pool.stream(
            "POST", request.url, headers=headers, content=request.body, extensions=extensions
        ) as response:
            text = _beginning(response, time.monotonic() + limit)
            status, waits = response.status, _header(response, b"retry-after")
        words = [f"HTTP {status}", advice(status), scrubbed(text, self._receiver.secrets)]
        return Answer(
            judge(status), status, ": ".join(filter(None, words)), retry_after=retry_after(waits, time.time())
        )


def _beginning(response: httpcore.Response, deadline: float) -> str:
    """The first bytes of an answer's body, as text; the rest is left unread. The status counts, come what may."""
    read = bytearray()
    with suppress(httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        for chunk in response.iter_stream():
            read += chunk
            if len(read) >= _LARGEST_ANSWER or time.monotonic() > deadline:
                break
    return read[:_LARGEST_ANSWER].decode("utf-8", "replace")


def _header(response: httpcore.Response, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in response.headers if name.lower() == wanted), None)
