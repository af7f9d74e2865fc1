"""Progress marks never promise more than the last answer of the broker can know."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from processors import marks
from processors.marks import LOOK_SECONDS, Marks
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
            topics=Topics("t.", 1, 1), codec=CODEC, metrics=Metrics(), epoch=0, counted_until={0: 1},
            sequence=SimpleNamespace(next={}),
            outputs=SimpleNamespace(send=self._send),
        )  # fmt: skip
        self.marks = Marks(cast("Resolver", resolver), lambda: self.now)

    def _send(self, _topic: str, records: list[tuple[bytes, bytes]], _partition: int) -> None:
        self.sent += [CODEC.decode_as(Progress, value) for _, value in records]

    def run(self, seconds: float) -> None:
        """Let time pass in which the broker answers and pauses are looked for."""
        for _ in range(round(seconds / LOOK_SECONDS)):
            self.now += LOOK_SECONDS
            self.answered = self.now
            self.marks.look()

    def sleep(self, seconds: float) -> None:
        """A pause of the process, at whose end it reads an answer that was given at its begin."""
        self.now += seconds
        self.answered = self.now

    def mark(self) -> float:
        """The watermark that is published now, epoch seconds."""
        self.marks.publish()
        return self.sent[-1].watermark / 1000


def test_a_worker_that_caught_up_lies_half_a_second_behind_the_brokers_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.run(1.0)
    assert world.mark() == pytest.approx(world.now - 0.5, abs=0.002)


@pytest.mark.parametrize("pause", [0.3, 0.45, 0.6, 0.9, 1.2, 5.0])
@pytest.mark.parametrize("before_the_mark", [0.0, 0.1, 0.2, 0.5])
def test_an_answer_that_waited_in_its_socket_during_a_pause_is_as_old_as_the_pause(
    monkeypatch: pytest.MonkeyPatch, pause: float, before_the_mark: float
) -> None:
    world = World(monkeypatch)
    world.run(2.0)
    asleep = world.now
    world.sleep(pause)
    for _ in range(round(before_the_mark / LOOK_SECONDS)):  # no newer answer yet
        world.marks.look()
        world.now += LOOK_SECONDS
    assert world.mark() <= asleep + 0.001, "whatever came after may have been appended, and is not counted"


def test_after_a_pause_marks_are_as_fresh_as_before_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    world.run(1.0)
    world.sleep(5.0)
    world.mark()
    world.run(1.2)
    assert world.mark() == pytest.approx(world.now - 0.5, abs=0.002)


def test_a_process_that_pauses_all_the_time_still_moves_its_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    marks_made = []
    for _ in range(20):
        world.sleep(0.7)
        marks_made.append(world.now - world.mark())
    assert max(marks_made[1:]) <= 0.7 + 0.5 + 0.002
