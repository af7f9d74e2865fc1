"""`python -m tests.chaos.probe JSON`: a Faust app on the batch transport that prints what its agent is given.

`fail` lets the agent raise at once; `done` is the offset that it reports as done, whatever it has read; `drop` lets it
report nothing at all, as for a batch that a rebalance has overtaken.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import faust

from processors.agents import declare
from processors.app import run
from processors.transport import by_partition, use_batches
from thumbstream.telemetry import configure_logging


class Probe:
    """A stage that prints one line for each list of records."""

    def __init__(self, app: Any, given: dict[str, Any]) -> None:
        self._app, self._given = app, given

    async def batch(self, events: Any) -> None:
        """Print, then report as done what was asked for."""
        generation = self._app.consumer_generation_id
        if self._given.get("fail"):
            raise RuntimeError("asked to fail")
        for event in events:
            shown = {"kind": type(event.message.value).__name__, "partition": event.message.tp.partition}
            print(json.dumps({**shown, "offsets": [record.offset for record in event.message.value]}), flush=True)
        if self._given.get("drop"):
            return
        for tp, records in by_partition(events, generation).items():
            self._app.consumer.done(tp, self._given.get("done") or records[-1].offset + 1, generation)


def main(given: dict[str, Any]) -> None:
    """Run until stopped."""
    configure_logging("probe")
    app = faust.App(
        given["group"],
        broker=f"kafka://{given['bootstrap']}",
        store="memory://",
        datadir=given["data"],
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=0.2,
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.0,
        stream_wait_empty=True,
        stream_recovery_delay=0.0,
    )
    use_batches(app)
    declare(app, given["topic"], Probe(app, given), "probe")
    run(app)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
