"""Alert state machines over the log of one minutes partition: records in, transitions out. Pure.

    fires    a window is surely above the threshold, also without its top user, and it is still going on
    stays    a window is surely above, and its last part has not shown recovery
    ends     `hold` minutes after the last tick that stayed

Evaluated at every tick of stream time, for groups whose windows changed and for every open alert. So the transitions
are a function of the log alone: two workers, a restart or a replay give the same ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypedDict
from urllib.parse import quote

from processors.minutes import Group, rollup_name, rollup_of
from processors.monitors import Monitor
from processors.ticks import GRACE, StreamTime
from processors.windows import Windows
from schemas.events import Alert, MinuteCount, Progress

FIRING, RESOLVED = "firing", "resolved"


class Evidence(TypedDict):
    """What a window showed when a transition was decided; the names are those of the Alert record."""

    window_minutes: int
    negative: int
    total: int
    rate: float
    lower_bound: float
    top_user_share: float | None


@dataclass(slots=True)
class _Open:
    """A firing alert: its monitor (None when that was removed), its group, and the last tick that stayed."""

    monitor: Monitor | None
    group: Group
    stayed: int


class Engine:
    """All alerts of one minutes partition.

    `alerts` are the transitions already published, the newest per fingerprint. While `silent`, records are replayed to
    fill windows and stream time: no transitions are made, only the last tick that stayed moves on.
    """

    def __init__(
        self,
        monitors: Iterable[Monitor],
        *,
        minute: int = 60_000,
        grace: int = GRACE,
        alerts: Mapping[str, Alert] | None = None,
        silent: bool = False,
    ) -> None:
        self._monitors = tuple(monitors)
        self._minute = minute
        self._windows = Windows((span for monitor in self._monitors for span in monitor.spans), minute)
        self.time = StreamTime(minute, grace)
        self.alerts = dict(alerts or {})
        self.silent = silent
        self.next_offset = 0
        self._open = {key: self._reopen(alert) for key, alert in self.alerts.items() if alert.status == FIRING}

    def _reopen(self, alert: Alert) -> _Open:
        rollup = rollup_of(alert.rollup)
        group = Group(alert.tenant_id, rollup, tuple(alert.group[name] for name in rollup))
        monitor = next((one for one in self._monitors if one.name == alert.monitor and one.rollup == rollup), None)
        return _Open(monitor, group, alert.evaluated_at // self._minute)

    @property
    def firing(self) -> int:
        """How many alerts are open."""
        return len(self._open)

    def feed(self, offset: int, append_time: int, record: MinuteCount | Progress) -> list[Alert]:
        """Take the record at `offset`; the transitions it causes, in a fixed order."""
        self.next_offset = offset + 1
        if isinstance(record, MinuteCount):
            self._windows.put(record)
            return []
        made: list[Alert] = []
        for tick in self.time.mark(record, append_time):
            self._windows.move_to(tick)
            made += self._evaluate(tick)
        return made

    def _evaluate(self, tick: int) -> list[Alert]:
        changed = self._windows.changed()
        if self.silent:
            self._keep_alive(tick)
            return []
        due = {key: (opened.monitor, opened.group) for key, opened in self._open.items()}
        for group in changed:
            for monitor in self._monitors:
                if monitor.watches(group):
                    due[monitor.fingerprint(group)] = (monitor, group)
        steps = (self._step(key, *due[key], tick) for key in sorted(due))
        return [alert for alert in steps if alert is not None]

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
        if monitor is not None and tick - opened.stayed < monitor.hold:
            return None
        return self._resolve(key, opened, tick)

    def _stays(self, opened: _Open) -> bool:
        monitor, group = opened.monitor, opened.group
        return monitor is not None and any(self._holds(monitor, group, window) for window in monitor.windows)

    def _holds(self, monitor: Monitor, group: Group, window: int) -> bool:
        whole = self._windows.sum(group, window)
        if whole.total < monitor.min_votes or not monitor.surely_above(whole.negative, whole.total):
            return False
        recent = self._windows.sum(group, monitor.recent(window))
        return recent.total < monitor.recovery_votes or recent.negative > monitor.threshold * recent.total

    def _fires(self, monitor: Monitor, group: Group, window: int) -> bool:
        whole = self._windows.sum(group, window)
        if whole.total < monitor.min_votes or not monitor.surely_above(whole.negative, whole.total):
            return False
        recent = self._windows.sum(group, monitor.recent(window))
        if recent.negative <= monitor.threshold * recent.total:
            return False
        top = self._windows.top_user(group, window)  # one person's campaign is no incident
        return monitor.surely_above(whole.negative - top, whole.total - top)

    def _fire(self, key: str, monitor: Monitor, group: Group, tick: int) -> Alert | None:
        window = next((window for window in monitor.windows if self._fires(monitor, group, window)), None)
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
            **self._evidence(monitor, group, window, with_user=True),
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
            reason="recovered" if monitor is not None else "monitor removed",
            sequence=known.sequence + 1,
        )
        if monitor is not None:
            alert = replace(alert, **self._evidence(monitor, opened.group, monitor.windows[0]))
        del self._open[key]
        self.alerts[key] = alert
        return alert

    def _evidence(self, monitor: Monitor, group: Group, window: int, *, with_user: bool = False) -> Evidence:
        seen = self._windows.sum(group, window)
        top = self._windows.top_user(group, window) if with_user else 0
        return {
            "window_minutes": window,
            "negative": seen.negative,
            "total": seen.total,
            "rate": seen.negative / seen.total if seen.total else 0.0,
            "lower_bound": wilson_low(seen.negative, seen.total, monitor.z),
            "top_user_share": top / seen.negative if with_user and seen.negative else None,
        }


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


def wilson_low(negative: int, total: int, z: float) -> float:
    """Lower end of Wilson's interval for the share of negatives, at `z` standard deviations; 0 without votes."""
    if total == 0:
        return 0.0
    rate, square = negative / total, z * z
    spread = z * math.sqrt(rate * (1 - rate) / total + square / (4 * total * total))
    return max(0.0, (rate + square / (2 * total) - spread) / (1 + square / total))
