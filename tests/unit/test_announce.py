"""When `watch` writes its monitors into the log: fakes stand for the app, the producer and the engines."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from processors.announce import Announcer, Given
from processors.monitor_file import hash_number, monitor_set
from processors.monitors import BUILT_IN, Monitor
from schemas.codec import Codec
from schemas.events import MonitorSet
from schemas.topics import MONITORS_KEY, Topics
from thumbstream.telemetry import Metrics

OTHER = (Monitor("other", ()),)


class Log:
    """What was sent, and how long ago the clock began."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, str]] = []
        self.durable = 0
        self.now = 1_000.0

    def send(self, topic: str, records: list[tuple[bytes, bytes]], partition: int) -> None:
        assert topic == Topics().minutes.name
        for key, value in records:
            assert key == MONITORS_KEY
            self.sent.append((partition, Codec().decode_as(MonitorSet, value).hash))

    async def barrier(self) -> None:
        self.durable = len(self.sent)


class Scene:
    """An announcer of the built-in monitors on the partitions 0 and 2."""

    def __init__(self) -> None:
        self.log, self.metrics, self.news = Log(), Metrics(), list[tuple[Monitor, ...]]()
        self.in_force: dict[int, MonitorSet] = {}
        self.app = SimpleNamespace(rebalancing=False)
        self.table = SimpleNamespace(parts={0: {}, 2: {}})
        watcher = SimpleNamespace(table=self.table, codec=Codec(), topics=Topics(), in_force=self.in_force.get)
        given = Given(BUILT_IN, lambda: self.news.pop() if self.news else None, self.metrics)
        parts = (self.app, cast("Any", watcher), cast("Any", self.log), given, lambda: self.log.now)
        self.announcer = Announcer(*parts)

    def beat(self, seconds: float = 1.0) -> list[tuple[int, str]]:
        """What is written at the next beat, so many seconds later."""
        self.log.now += seconds
        before = len(self.log.sent)
        asyncio.run(self.announcer.beat())
        assert self.log.durable == len(self.log.sent)
        return self.log.sent[before:]


BUILT, ELSE = monitor_set(BUILT_IN), monitor_set(OTHER)
EVERYWHERE = [(0, BUILT.hash), (2, BUILT.hash)]


def test_it_is_written_once_when_partitions_are_dealt() -> None:
    scene = Scene()
    assert scene.beat() == EVERYWHERE
    assert scene.beat() == []
    scene.announcer.reset()
    scene.table.parts = {1: {}}
    assert scene.beat() == [(1, BUILT.hash)]


def test_nothing_is_written_while_partitions_are_dealt() -> None:
    scene = Scene()
    scene.app.rebalancing = True
    assert scene.beat() == []
    scene.app.rebalancing = False
    assert scene.beat() == EVERYWHERE


def test_other_monitors_are_written_at_once() -> None:
    scene = Scene()
    scene.beat()
    scene.news.append(OTHER)
    assert scene.beat() == [(0, ELSE.hash), (2, ELSE.hash)]
    assert scene.metrics.value("monitors_given") == hash_number(ELSE)


def test_the_same_monitors_again_are_no_news() -> None:
    scene = Scene()
    scene.beat()
    scene.news.append(BUILT_IN)
    assert scene.beat() == []


def test_it_is_written_again_before_a_replay_would_miss_it() -> None:
    scene = Scene()
    scene.beat()
    assert scene.beat(5 * 3600) == []
    assert scene.beat(3600 + 1) == EVERYWHERE


def test_a_log_that_says_something_else_is_answered_but_not_all_the_time() -> None:
    scene = Scene()
    scene.beat()
    scene.in_force |= {0: BUILT, 2: ELSE}
    assert scene.beat(1) == []  # ours may lie behind what was read so far
    assert scene.beat(60) == [(2, BUILT.hash)]
    assert scene.beat(1) == []
