"""Monitors over a log: the same engine as `watch`, without Kafka. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from processors.alerts import Engine, Heard
from processors.monitors import Monitor, rollups
from schemas.events import Alert
from thumbstream.backtest.tallies import Tally, log


def transitions(monitors: Sequence[Monitor], entries: Iterable[tuple[int, Heard]], **options: int) -> Iterator[Alert]:
    """What `watch` publishes for a minutes log, in order. `options` are those of Engine."""
    engine = Engine(monitors, **options)
    for offset, (append_time, record) in enumerate(entries):
        yield from engine.feed(offset, append_time, record)


def backtest(monitors: Sequence[Monitor], tallies: Iterable[Tally], until: int = 0) -> list[Alert]:
    """What these monitors would have said of votes in the order of minutes, up to the minute `until`."""
    return list(transitions(monitors, log(tallies, rollups(monitors), until)))
