"""Which record of a partition must come next, and when a batch is given up. For both stages."""

from __future__ import annotations

from typing import Any

from faust.types import TP

from processors.tables import Superseded
from thumbstream.telemetry import Metrics, die


class Sequence:
    """`next`: partition -> offset after the last durable record."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics
        self.next: dict[int, int] = {}

    def go_on(self) -> None:
        """Raise Superseded when others wait for this worker: a batch that is not yet published is dropped then."""
        if self._app.rebalancing or self._app.should_stop:
            raise Superseded

    def check(self, tp: TP, offset: int) -> None:
        """Take a batch that begins at `offset`.

        Skipped records would be lost silently, so a gap that the transport did not confirm ends the process.
        """
        self.go_on()  # what follows a dropped batch must not be taken for a gap
        consumer = self._app.consumer
        wanted = self.next.get(tp.partition, consumer.started_at.get(tp, offset))
        if offset > wanted:
            if (tp, offset) not in consumer.gaps:
                die(f"gap in {tp.topic} {tp.partition}: wanted offset {wanted}, got {offset}")
            self._metrics.count("offset_gaps", partition=str(tp.partition))
