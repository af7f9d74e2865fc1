"""`watch` on one minutes partition: crashes anywhere, half-published batches, restarts by silent replay.

The engine and the rule where a replay begins are the product's. `Habits` can be broken on purpose.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random

from processors.alerts import Engine, reach
from processors.monitor_file import monitor_set, monitors_in
from processors.monitors import Monitor
from processors.restart import rebuild
from schemas.events import Alert, MonitorSet
from tests.simulators.minutes_log import MINUTE, Entry, minutes_log, with_changes

GRACE = 500
WINDOWS = (3, 6, 12)
MONITORS = (
    Monitor("standard", ("model",), windows=WINDOWS, hold=4, least_recent=2),
    Monitor("sensitive", ("model",), z=2.33, windows=WINDOWS, hold=4, least_recent=2),
)
_MARGIN = 3
_WHOLE = 10_000  # minutes: longer than any log
_SIMPLE = Monitor("simple", ("model",), kind="simple", windows=(6,), min_votes=5, wait=3, clear_below=0.1, hold=0)
SETS = {
    monitor_set(monitors).hash: monitors
    for monitors in (
        MONITORS,
        (replace(MONITORS[0], z=2.33), _SIMPLE),
        (replace(MONITORS[0], windows=(3, 6, 24)), replace(_SIMPLE, wait=0, hold=2)),
        (replace(MONITORS[0], severity="critical"), replace(MONITORS[1], where=(("model", ("a",)),)), _SIMPLE),
        (replace(MONITORS[1], enabled=False), replace(_SIMPLE, threshold=0.4)),
        (replace(_SIMPLE, windows=(20,), wait=12, clear_below=None),),
    )
}

Published = dict[str, Alert]


@dataclass(frozen=True, slots=True)
class Habits:
    """How `watch` restarts; the defaults are the product's."""

    count_back_from_append_time: bool = False  # instead of stream time
    replay_makes_transitions: bool = False
    no_replay: bool = False
    forget_stayed: bool = False  # the last tick that stayed is not worked out again
    forget_evaluated: bool = False  # ticks that were decided before the crash are decided again
    forget_monitors: bool = False  # the monitors in force are those of the beginning
    never_reach_back: bool = False  # monitors that look further back find only what was kept


class _Deaf(Engine):
    """An engine whose replayed ticks do not look at open alerts."""

    def _keep_alive(self, tick: int) -> None:
        pass


def engine(
    alerts: Mapping[str, Alert] | None = None, *, silent: bool = False, deaf: bool = False, keep: int = _WHOLE
) -> Engine:
    """An engine of the simulation's monitors."""
    kind = _Deaf if deaf else Engine
    return kind(MONITORS, minute=MINUTE, grace=GRACE, alerts=alerts, silent=silent, keep=keep)


def log_of(seed: int) -> list[Entry]:
    """The log of a seed, with changes of monitors."""
    return with_changes(seed, minutes_log(seed), [monitor_set(monitors) for monitors in SETS.values()])


class Watch:
    """One run over the log of `seed` with crashes. `got` is everything that reached the alerts topic, in order."""

    def __init__(self, seed: int, habits: Habits) -> None:
        self.dice, self.habits = Random(seed + 1), habits
        self.log = log_of(seed)
        self.times = [time for time, _record in self.log]
        self.table: Published = {}
        self.got: list[Alert] = []

    def run(self) -> None:
        """To the end of the log."""
        committed, current = 0, engine(keep=0)
        while committed < len(self.log):
            end = min(len(self.log), committed + self.dice.randrange(1, 120))
            made = list[Alert]()
            for offset in range(committed, end):
                current = self._reaching(current, offset)
                made += feed(current, self.log, offset, offset + 1)
            crash = self.dice.random() < 0.12
            self._publish(made[: self.dice.randrange(len(made) + 1)] if crash else made)
            committed = committed if crash else end
            if crash:
                current = self._restart(committed)

    def _reaching(self, current: Engine, offset: int) -> Engine:
        """The engine, or another one that has kept enough for the monitors that come."""
        record = self.log[offset][1]
        needed = reach(monitors_in(record) or ()) if isinstance(record, MonitorSet) else 0
        if needed <= current.kept or self.habits.never_reach_back:
            return current
        return self._replayed(offset, current.alerts, needed)

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
        return self._replayed(committed, table, reach(MONITORS))

    def _replayed(self, end: int, table: Mapping[str, Alert], guess: int) -> Engine:
        habits = self.habits

        def rerun(time: int, keep: int) -> tuple[Engine, bool]:
            start = min(bisect_left(self.times, time), end)
            silent = not habits.replay_makes_transitions
            fresh = engine(table, silent=silent, deaf=habits.forget_stayed, keep=keep)
            feed(fresh, self.log, start, end, deaf=habits.forget_monitors)
            return fresh, start == 0 or habits.count_back_from_append_time or habits.forget_monitors

        found = rebuild(rerun, self.times[end], guess, MINUTE, _MARGIN)
        found.speak()
        return found

    def is_right(self) -> bool:
        """The distinct transitions, in order per alert, are those of one run without crashes."""
        distinct = {alert.alert_id: alert for alert in self.got}
        if any(distinct[alert.alert_id] != alert for alert in self.got):
            return False
        return _by_alert(list(distinct.values())) == _by_alert(feed(engine(), self.log, 0, len(self.log)))


def feed(engine: Engine, log: list[Entry], begin: int, end: int, *, deaf: bool = False) -> list[Alert]:
    """Give the records of [begin, end) to an engine, without the sets of monitors if `deaf`; what it made."""
    made: list[Alert] = []
    for offset in range(begin, end):
        append_time, record = log[offset]
        if not (deaf and isinstance(record, MonitorSet)):
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
