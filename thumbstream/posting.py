"""Post batches to the gateway until it answers for them. Re-sending is safe: every event has its id and its time."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import click
import httpx

from thumbstream.target import Target

_PATIENCE = 120.0  # seconds without a single answer after which the gateway counts as gone
_LONGEST_WAIT = 5.0


class GaveUpError(RuntimeError):
    """The gateway did not answer for two minutes."""


class Poster:
    """Sends lists of native events; usable from several threads."""

    def __init__(self, gateway: Target) -> None:
        self._url = f"{gateway.url}/v1/events"
        self._client = httpx.Client(
            headers={**gateway.headers, "Content-Type": "application/json"}, timeout=httpx.Timeout(20), trust_env=False
        )
        self._answered = time.monotonic()
        self._lock = threading.Lock()
        self.retries = 0

    def __enter__(self) -> Poster:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def post(self, events: list[bytes]) -> dict[str, Any]:
        """The gateway's reply to events, each given as JSON. Retries; ClickException when it refuses the sender."""
        body = b"[" + b",".join(events) + b"]"
        attempt = 0
        while True:
            reply = self._once(body)
            if reply is not None:
                return reply
            attempt += 1
            self._wait(attempt)

    def _once(self, body: bytes) -> dict[str, Any] | None:
        try:
            reply = self._client.post(self._url, content=body)
        except httpx.TransportError:
            return None
        with self._lock:
            self._answered = time.monotonic()
        if reply.status_code in (429, 500, 502, 503, 504):
            return None
        if reply.status_code not in (200, 207, 400):
            raise click.ClickException(f"{self._url} answered {reply.status_code}: {reply.text[:300]}")
        content: dict[str, Any] = reply.json()
        if any(error["index"] is None for error in content["errors"]):
            raise click.ClickException(f"{self._url} refused the batch: {reply.text[:300]}")
        return content

    def _wait(self, attempt: int) -> None:
        with self._lock:
            self.retries += 1
            silent = time.monotonic() - self._answered
        if silent > _PATIENCE:
            raise GaveUpError(f"{self._url} did not answer for {silent:.0f} s")
        time.sleep(min(_LONGEST_WAIT, 0.2 * 2**attempt) * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries
