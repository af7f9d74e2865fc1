"""`watch` on one minutes partition: crashes anywhere, half-published batches, restarts by silent replay.

The engine and the rule where a replay begins are the product's. `Habits` can be broken on purpose.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from processors.alerts import Engine
from processors.monitors import Monitor
from processors.restart import rebuild
from schemas.events import Alert, MinuteCount, Progress
from tests.simulators.minutes_log import MINUTE, Entry, minutes_log

GRACE = 500
WINDOWS = (3, 6, 12)
MONITORS = (
    Monitor("standard", ("model",), windows=WINDOWS, hold=4, least_recent=2),
    Monitor("sensitive", ("model",), z=2.33, windows=WINDOWS, hold=4, least_recent=2),
)
HORIZON = (12 + 4 + 3) * MINUTE

Published = dict[str, Alert]


@dataclass(frozen=True, slots=True)
class Habits:
    """How `watch` restarts; the defaults are the product's."""

    count_back_from_append_time: bool = False  # instead of stream time
    replay_makes_transitions: bool = False
    no_replay: bool = False
    forget_stayed: bool = False  # the last tick that stayed is not worked out again
    forget_evaluated: bool = False  # ticks that were decided before the crash are decided again


class _Deaf(Engine):
    """An engine whose replayed ticks do not look at open alerts."""

    def _keep_alive(self, tick: int) -> None:
        pass


def engine(alerts: Mapping[str, Alert] | None = None, *, silent: bool = False, deaf: bool = False) -> Engine:
    """An engine of the simulation's monitors."""
    return (_Deaf if deaf else Engine)(MONITORS, minute=MINUTE, grace=GRACE, alerts=alerts, silent=silent)


class Watch:
    """One run over the log of `seed` with crashes. `got` is everything that reached the alerts topic, in order."""

    def __init__(self, seed: int, habits: Habits) -> None:
        self.dice, self.habits = Random(seed + 1), habits
        self.log = minutes_log(seed)
        self.times = [time for time, _record in self.log]
        self.table: Published = {}
        self.got: list[Alert] = []

    def run(self) -> None:
        """To the end of the log."""
        committed, current = 0, engine()
        while committed < len(self.log):
            end = min(len(self.log), committed + self.dice.randrange(1, 120))
            made = feed(current, self.log, committed, end)
            crash = self.dice.random() < 0.12
            self._publish(made[: self.dice.randrange(len(made) + 1)] if crash else made)
            committed = committed if crash else end
            if crash:
                current = self._restart(committed)

    def _publish(self, made: list[Alert]) -> None:
        self.got += made
        for alert in made:
            known = self.table.get(alert.fingerprint)
            if known is None or alert.version >= known.version:
                self.table[alert.fingerprint] = alert

    def _restart(self, committed: int) -> Engine:
        habits, table = self.habits, dict(self.table)
        if habits.forget_evaluated:
            table = {key: replace(alert, evaluated_at=0) for key, alert in table.items()}
        if habits.no_replay:
            return engine(table)

        def rerun(time: int) -> tuple[Engine, bool]:
            start = min(bisect_left(self.times, time), committed)
            fresh = engine(table, silent=not habits.replay_makes_transitions, deaf=habits.forget_stayed)
            feed(fresh, self.log, start, committed)
            return fresh, start == 0 or habits.count_back_from_append_time

        found = rebuild(rerun, self.times[committed], HORIZON, MINUTE)
        found.silent = False
        return found

    def is_right(self) -> bool:
        """The distinct transitions, in order per alert, are those of one run without crashes."""
        distinct = {alert.alert_id: alert for alert in self.got}
        if any(distinct[alert.alert_id] != alert for alert in self.got):
            return False
        return _by_alert(list(distinct.values())) == _by_alert(feed(engine(), self.log, 0, len(self.log)))


def feed(engine: Engine, log: list[Entry], begin: int, end: int) -> list[Alert]:
    """Give the records of [begin, end) to an engine; the transitions it made."""
    made: list[Alert] = []
    for offset in range(begin, end):
        append_time, record = log[offset]
        assert isinstance(record, MinuteCount | Progress)
        made += engine.feed(offset, append_time, record)
    return made


def _by_alert(alerts: list[Alert]) -> dict[str, list[Alert]]:
    found: dict[str, list[Alert]] = {}
    for alert in alerts:
        found.setdefault(alert.fingerprint, []).append(alert)
    return found


def is_wrong(seed: int, habits: Habits) -> bool:
    """True when the run over the log of this seed published other transitions than a run without crashes."""
    watch = Watch(seed, habits)
    watch.run()
    return not watch.is_right()
