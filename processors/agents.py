"""The two agents. Each only passes batches on; any error ends the process before anything is committed."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import structlog

from thumbstream.telemetry import die

_log = structlog.get_logger(__name__)
_ITEMS = 8  # lists of records per batch: bounded, so that the event loop keeps breathing
_WITHIN_SECONDS = 0.05


class Stage(Protocol):
    """What an agent feeds."""

    async def batch(self, events: Any) -> None:
        """Process one batch and make it durable."""


async def consume(stream: Any, stage: Stage) -> None:
    """Feed `stage` until the stream ends. Crash-only: a failed batch was not committed, the next run reads it again."""
    try:
        async for events in stream.noack_take(_ITEMS, within=_WITHIN_SECONDS):
            await stage.batch(events)
            for event in events:  # done or dropped: nothing is in work that a rebalance must wait for
                event.ack()
    except (asyncio.CancelledError, GeneratorExit):
        raise
    except Exception as exception:  # noqa: BLE001 - whatever it is, going on would commit what was not done
        _log.exception("batch")
        die(f"batch: {exception!r}")


def declare(app: Any, topic: str, stage: Stage, name: str) -> None:
    """Declare the agent `name` of `app`, which reads `topic` into `stage`."""
    channel = app.topic(topic, key_serializer="raw", value_serializer="raw")

    async def agent(stream: Any) -> None:
        await consume(stream, stage)

    app.agent(channel, name=name)(agent)
