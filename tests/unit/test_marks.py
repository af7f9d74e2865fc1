"""Progress marks never promise more than the last answer of the broker can know."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from processors import marks
from processors.marks import Marks
from processors.resolve import Resolver
from schemas.codec import Codec
from schemas.events import Progress
from schemas.topics import Topics
from thumbstream.telemetry import Metrics

EVENTS = TP("t.events", 0)
BEGIN = 1_000_000.0  # epoch seconds
CODEC = Codec()


class World:
    """A worker that has caught up, whose broker answered at `answered`, and the clock of both."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.answered = BEGIN
        self.sent: list[Progress] = []
        monkeypatch.setattr(marks.time, "monotonic", lambda: self.now - BEGIN)
        consumer = SimpleNamespace(
            started_at={EVENTS: 5},
            fetch_state=lambda _: (5, self.answered * 1000),
            caught_up=lambda _tp, durable, end: durable >= end,
        )
        resolver: Any = SimpleNamespace(
            app=SimpleNamespace(rebalancing=False, consumer=consumer),
            topics=Topics("t.", 1, 1), codec=CODEC, metrics=Metrics(), epoch=0, next={}, counted_until={0: 1},
            outputs=SimpleNamespace(send=self._send),
        )  # fmt: skip
        self.marks = Marks(cast("Resolver", resolver), 0.3, lambda: self.now)

    def _send(self, _topic: str, records: list[tuple[bytes, bytes]], _partition: int) -> None:
        self.sent += [CODEC.decode_as(Progress, value) for _, value in records]

    def beat(self, after: float, answered: float | None = None) -> int:
        """The watermark that is published `after` seconds, with an answer that came `answered` after the begin."""
        self.now += after
        self.answered = self.now if answered is None else BEGIN + answered
        self.marks.publish()
        return self.sent[-1].watermark


def test_a_worker_that_caught_up_lies_half_a_second_behind_the_brokers_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    assert world.beat(0.3) == int((BEGIN + 0.3) * 1000) - 500


@pytest.mark.parametrize("stall", [0.45, 0.6, 0.9, 5.0])
def test_an_answer_that_may_have_waited_in_its_socket_during_a_stall_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, stall: float
) -> None:
    """Its time is that of the awakening, but what it knows is as old as the stall is long."""
    world = World(monkeypatch)
    for _ in range(3):
        world.beat(0.3)
    asleep = world.now
    watermark = world.beat(0.3 + stall)
    assert watermark <= asleep * 1000, "the broker may have answered right before the stall"
    assert world.beat(0.3) <= asleep * 1000
    for _ in range(4):
        last = world.beat(0.3)
    assert last == int(world.now * 1000) - 500, "answers that were asked for after the stall are believed"
