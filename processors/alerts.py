"""Alert state machines over the log of one minutes partition: records in, transitions out. Pure.

    fires    the rule of the monitor is met, for `wait` minutes where it asks for that
    stays    the rule's weaker half is met
    ends     `hold` minutes after the last tick that stayed; at once when its monitor is gone or another one by now

Evaluated at every tick of stream time, for groups whose windows changed and for every open alert. The monitors in force
are part of the log too. So the transitions are a function of the log alone: two workers, a restart or a replay give the
same ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

from processors.minutes import Group, rollup_name, rollup_of
from processors.monitor_file import monitors_in
from processors.monitors import Monitor
from processors.rules import evidence, firing_window, stays
from processors.ticks import GRACE, StreamTime
from processors.windows import Windows
from schemas.events import Alert, MinuteCount, MonitorSet, Progress

FIRING, RESOLVED = "firing", "resolved"
REMOVED, DISABLED, CHANGED = "monitor removed", "monitor disabled", "monitor changed"
_WATCHED_GROUPS = 1 << 16  # for so many groups it is remembered who watches them

Heard = MinuteCount | Progress | MonitorSet


@dataclass(slots=True)
class _Open:
    """A firing alert: its monitor, its group, the last tick that stayed, and why it must end now, if it must."""

    monitor: Monitor | None
    group: Group
    stayed: int
    ends: str = ""


@dataclass(frozen=True, slots=True)
class _Pending:
    """A rule that asks for time is met since the tick `since`."""

    monitor: Monitor
    group: Group
    since: int


class Engine:
    """All alerts of one minutes partition.

    `monitors` hold until the log says otherwise. `alerts` are the transitions already published, the newest per
    fingerprint. `keep`: how many minutes back counts are kept at least. While `silent`, records are replayed to fill
    windows and stream time: no transitions are made, only the last tick that stayed moves on; then comes `speak()`.
    """

    def __init__(
        self,
        monitors: Iterable[Monitor],
        *,
        minute: int = 60_000,
        grace: int = GRACE,
        alerts: Mapping[str, Alert] | None = None,
        silent: bool = False,
        keep: int = 0,
    ) -> None:
        self.monitors = tuple(monitors)
        self.in_force: MonitorSet | None = None  # None until a record said so
        self.known_since: int | None = None  # the tick at which the first such record was read; 0: before any tick
        self._minute = minute
        self._windows = Windows(_spans(self.monitors), minute, keep)
        self.time = StreamTime(minute, grace)
        self.alerts = dict(alerts or {})
        self.silent = silent
        self.next_offset = 0
        self._pending: dict[str, _Pending] = {}
        self._open = {key: self._reopen(alert) for key, alert in self.alerts.items() if alert.status == FIRING}
        self._watching = lru_cache(_WATCHED_GROUPS)(self._find_watching)

    def _reopen(self, alert: Alert) -> _Open:
        rollup = rollup_of(alert.rollup)
        group = Group(alert.tenant_id, rollup, tuple(alert.group[name] for name in rollup))
        monitor = next((one for one in self.monitors if one.name == alert.monitor and one.rollup == rollup), None)
        return _Open(monitor, group, alert.evaluated_at // self._minute, _end_of(monitor, alert))

    @property
    def firing(self) -> int:
        """How many alerts are open."""
        return len(self._open)

    @property
    def kept(self) -> int:
        """How many minutes back counts are kept."""
        return self._windows.keep

    @property
    def reach(self) -> int:
        """How many minutes back the state may depend on the log, under the monitors in force."""
        return reach(self.monitors)

    @property
    def knows_monitors(self) -> bool:
        """False when another beginning of the log could mean that other monitors held in the time that matters."""
        if self.known_since is None or self.time.tick is None:
            return False
        return self.known_since <= self.time.tick - max((max(one.wait, one.hold) for one in self.monitors), default=0)

    def speak(self) -> None:
        """End the silence after a replay."""
        self.silent = False
        self._windows.touch()

    def feed(self, offset: int, append_time: int, record: Heard) -> list[Alert]:
        """Take the record at `offset`; the transitions it causes, in a fixed order."""
        self.next_offset = offset + 1
        if isinstance(record, MinuteCount):
            self._windows.put(record)
            return []
        if isinstance(record, MonitorSet):
            self._put_in_force(record)
            return []
        made: list[Alert] = []
        for tick in self.time.mark(record, append_time):
            if not self._open and not self._pending and self._windows.is_quiet(tick):
                self._windows.pass_over(tick)  # no rule can see a difference
            else:
                self._windows.move_to(tick)
                made += self._evaluate(tick)
        return made

    def _put_in_force(self, record: MonitorSet) -> None:
        monitors = monitors_in(record)
        if monitors is None:
            return
        self.in_force = record
        if self.known_since is None:
            self.known_since = self.time.tick or 0
        if monitors == self.monitors:
            return
        self.monitors = monitors
        self._watching.cache_clear()
        self._windows.look_back(_spans(monitors))
        self._windows.touch()
        for key, opened in self._open.items():
            self._open[key] = replace(self._reopen(self.alerts[key]), stayed=opened.stayed)
        self._pending = {key: one for key, one in self._pending.items() if self._still_pending(key, one)}

    def _still_pending(self, key: str, one: _Pending) -> bool:
        return any(k == key and m.definition == one.monitor.definition for k, m in self._watching(one.group))

    def _find_watching(self, group: Group) -> tuple[tuple[str, Monitor], ...]:
        return tuple((one.fingerprint(group), one) for one in self.monitors if one.watches(group))

    def _evaluate(self, tick: int) -> list[Alert]:
        changed = [(key, monitor, group) for group in self._windows.changed() for key, monitor in self._watching(group)]
        for item in changed:
            self._wait(*item, tick)
        if self.silent:
            self._keep_alive(tick)
            return []
        due: dict[str, tuple[Monitor | None, Group]] = {
            key: (one.monitor, one.group) for key, one in self._open.items()
        }
        due.update((key, (one.monitor, one.group)) for key, one in self._pending.items())
        due.update((key, (monitor, group)) for key, monitor, group in changed)
        steps = (self._step(key, *due[key], tick) for key in sorted(due))
        return [alert for alert in steps if alert is not None]

    def _wait(self, key: str, monitor: Monitor, group: Group, tick: int) -> None:
        """Note since when a rule that asks for time is met. Windows that did not change leave that as it is."""
        if not monitor.wait:
            return
        if firing_window(monitor, self._windows, group) is None:
            self._pending.pop(key, None)
        else:
            since = self._pending[key].since if key in self._pending else tick
            self._pending[key] = _Pending(monitor, group, since)

    def _keep_alive(self, tick: int) -> None:
        for key, opened in self._open.items():
            if tick * self._minute > self.alerts[key].evaluated_at and self._stays(opened):
                opened.stayed = tick

    def _step(self, key: str, monitor: Monitor | None, group: Group, tick: int) -> Alert | None:
        known = self.alerts.get(key)
        if known is not None and tick * self._minute <= known.evaluated_at:
            return None  # decided before the restart
        opened = self._open.get(key)
        if opened is None:
            return self._fire(key, monitor, group, tick) if monitor is not None else None
        if self._stays(opened):
            opened.stayed = tick
            return None
        if opened.monitor is not None and not opened.ends and tick - opened.stayed < opened.monitor.hold:
            return None
        return self._resolve(key, opened, tick)

    def _stays(self, opened: _Open) -> bool:
        monitor = opened.monitor
        return monitor is not None and not opened.ends and stays(monitor, self._windows, opened.group)

    def _fire(self, key: str, monitor: Monitor, group: Group, tick: int) -> Alert | None:
        pending = self._pending.get(key)
        if monitor.wait and (pending is None or tick - pending.since < monitor.wait):
            return None
        window = firing_window(monitor, self._windows, group)
        if window is None:
            return None
        now, known = tick * self._minute, self.alerts.get(key)
        sequence = known.sequence + 1 if known is not None else 1
        alert = Alert(
            version=now,
            alert_id=f"{key}:{now}:{FIRING}:{sequence}",
            fingerprint=key,
            tenant_id=group.tenant_id,
            monitor=monitor.name,
            kind=monitor.kind,
            severity=monitor.severity,
            rollup=rollup_name(group.rollup),
            group=dict(zip(group.rollup, group.values, strict=True)),
            status=FIRING,
            started_at=now,
            evaluated_at=now,
            ended_at=None,
            threshold=monitor.threshold,
            reason="rate above threshold",
            sequence=sequence,
            definition=monitor.definition,
            **evidence(monitor, self._windows, group, window, with_user=True),
        )
        self._open[key] = _Open(monitor, group, tick)
        self.alerts[key] = alert
        return alert

    def _resolve(self, key: str, opened: _Open, tick: int) -> Alert:
        known, now, monitor = self.alerts[key], tick * self._minute, opened.monitor
        alert = replace(
            known,
            version=now,
            alert_id=f"{key}:{known.started_at}:{RESOLVED}:{known.sequence + 1}",
            status=RESOLVED,
            evaluated_at=now,
            ended_at=now,
            reason=opened.ends or "recovered",
            sequence=known.sequence + 1,
        )
        if monitor is not None and not opened.ends:
            alert = replace(alert, **evidence(monitor, self._windows, opened.group, monitor.windows[0]))
        if opened.ends:
            self._windows.touch(opened.group)  # what holds now may fire at the next tick, although no count changed
        del self._open[key]
        self.alerts[key] = alert
        return alert


def _spans(monitors: Iterable[Monitor]) -> set[int]:
    return {span for monitor in monitors if monitor.enabled for span in monitor.spans}


def reach(monitors: Iterable[Monitor]) -> int:
    """How many minutes back the state of any alert of these monitors may depend on."""
    return max((monitor.reach for monitor in monitors if monitor.enabled), default=0)


def _end_of(monitor: Monitor | None, alert: Alert) -> str:
    """Why an open alert must end at the next tick; empty when its monitor is still the one that fired."""
    if monitor is None:
        return REMOVED
    if not monitor.enabled:
        return DISABLED
    return CHANGED if alert.definition not in ("", monitor.definition) else ""


def cloud_event(alert: Alert) -> dict[str, str]:
    """CloudEvents 1.0 attributes of a transition, as headers of Kafka's binary mode."""
    return {
        "ce_specversion": "1.0",
        "ce_id": alert.alert_id,
        "ce_source": f"/thumbstream/watch/{quote(alert.tenant_id, safe='')}",
        "ce_type": f"thumbstream.alert.{alert.status}",
        "ce_subject": alert.fingerprint,
        "ce_time": datetime.fromtimestamp(alert.evaluated_at / 1000, UTC).isoformat().replace("+00:00", "Z"),
        "content-type": "application/avro",
    }
