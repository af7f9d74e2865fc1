"""`thumbstream simulate`: made-up traffic at a steady rate."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from thumbstream import target
from thumbstream.posting import GaveUpError, Poster
from thumbstream.traffic import MODELS, Traffic

_TICK_SECONDS = 0.25


def run(
    seconds: float,
    rate: float,
    incident: str,
    seed: int,
    ready_file: Path | None,
    url: str | None,
    api_key: str | None,
) -> None:
    """Send for `seconds`, the incident in the second half, and say how much was accepted."""
    if incident and incident not in MODELS:
        raise click.UsageError(f"--incident must be one of {', '.join(MODELS)}")
    traffic, sent, began = Traffic(seed, incident), 0, time.monotonic()
    try:
        with Poster(target.find(url, api_key, ready_file)) as poster:
            while (elapsed := time.monotonic() - began) < seconds:
                traffic.bad = bool(incident) and elapsed > seconds / 2
                sent += _catch_up(poster, traffic, int(elapsed * rate) - sent)
                time.sleep(_TICK_SECONDS)
    except GaveUpError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{sent:,} events sent in {seconds:.0f} s")


def _catch_up(poster: Poster, traffic: Traffic, due: int) -> int:
    events: list[dict[str, Any]] = []
    while len(events) < due:
        events += traffic.next(time.time_ns() // 1_000_000)
    post(poster, events)
    return len(events)


def post(poster: Poster, events: list[dict[str, Any]]) -> None:
    """Send events, at most 1,000 a request; ClickException when one is refused, for this traffic is valid."""
    for start in range(0, len(events), 1000):
        reply = poster.post([json.dumps(event).encode() for event in events[start : start + 1000]])
        if reply["rejected"]:
            raise click.ClickException(f"refused: {reply['errors'][:3]}")
