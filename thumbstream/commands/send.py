"""`thumbstream send`: one event, as an application would send it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import httpx

from thumbstream import target


def run(
    request_id: str,
    rating: str | None,
    comment: str | None,
    user_id: str | None,
    metadata: tuple[str, ...],
    retract: bool,
    ready_file: Path | None,
    url: str | None,
    api_key: str | None,
) -> None:
    """Post the event and print the reply; a refusal is an error exit."""
    event: dict[str, Any] = {"request_id": request_id, "comment": comment, "user_id": user_id}
    if rating is not None:
        event["rating"] = rating == "up"
    if retract:
        event["kind"] = "retract"
    if metadata:
        event["metadata"] = dict(_pair(text) for text in metadata)
    gateway = target.find(url, api_key, ready_file)
    try:
        reply = httpx.post(f"{gateway.url}/v1/events", json=event, headers=gateway.headers, timeout=15)
    except httpx.HTTPError as error:
        raise click.ClickException(f"{gateway.url} does not answer: {error}") from error
    click.echo(reply.text)
    if reply.status_code != httpx.codes.OK:
        raise click.ClickException(f"refused with status {reply.status_code}")


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise click.UsageError(f"{text!r} is not KEY=VALUE")
    return key, value
