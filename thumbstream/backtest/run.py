"""Monitors over a log: the same engine as `watch`, without Kafka. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from processors.alerts import Engine, Heard
from processors.monitors import Monitor, rollups
from processors.ticks import GRACE
from schemas.events import Alert
from thumbstream.backtest.tallies import MINUTE, Tally, log

_KEPT = (
    8 * 1440
)  # minutes: what the topic keeps, so that monitors of the log may look back as far as they are allowed to


def transitions(
    monitors: Sequence[Monitor], entries: Iterable[tuple[int, Heard]], *, minute: int = MINUTE, grace: int = GRACE
) -> Iterator[Alert]:
    """What `watch` publishes for a minutes log of (append time, record), in order. `minute` and `grace` are ms."""
    engine = Engine(monitors, minute=minute, grace=grace, keep=_KEPT)
    for offset, (append_time, record) in enumerate(entries):
        yield from engine.feed(offset, append_time, record)


def backtest(monitors: Sequence[Monitor], tallies: Iterable[Tally], until: int = 0) -> list[Alert]:
    """What these monitors would have said of votes in the order of minutes, up to the minute `until`."""
    return list(transitions(monitors, log(tallies, rollups(monitors), until)))
