"""Alerts as `POST /api/v2/alerts` of Prometheus Alertmanager takes them. Pure.

An alert that fires is posted again and again with an end that lies ahead, as Prometheus does it: what is no longer
posted ends there. One that is resolved is posted with the end it had.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.events import Alert
from sinks.delivery.messages import FIRING, Notice, time_text
from sinks.delivery.wording import evidence, headline

PATH = "/api/v2/alerts"
KEPT = 10  # an alert outlives so many posts that did not come
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]")


def payload(subjects: Iterable[Alert | Notice], now: int, repost: float) -> list[dict[str, Any]]:
    """The JSON body. `now` is epoch ms, `repost` the seconds between posts."""
    keep = now + int(repost * 1000) * KEPT
    return [_alert(one, keep) if isinstance(one, Alert) else _notice(one, keep) for one in subjects]


def labels(alert: Alert) -> dict[str, str]:
    """What Alertmanager knows an alert by, groups and routes it by: the same for all transitions of an episode."""
    group = {_label(name): value for name, value in alert.group.items()}
    own = {"alertname": alert.monitor, "tenant": alert.tenant_id, "severity": alert.severity, "rollup": alert.rollup}
    return _filled({**group, **own})


def _alert(alert: Alert, keep: int) -> dict[str, Any]:
    ends = keep if alert.status == FIRING or alert.ended_at is None else alert.ended_at
    notes = {
        "summary": headline(alert),
        "description": evidence(alert),
        "alert_id": alert.alert_id,
        "fingerprint": alert.fingerprint,
    }
    return {
        "labels": labels(alert),
        "annotations": _filled(notes),
        "startsAt": time_text(alert.started_at),
        "endsAt": time_text(ends),
    }


def _notice(notice: Notice, keep: int) -> dict[str, Any]:
    name = "ThumbstreamTest" if notice.event == "test" else "ThumbstreamEvaluationStale"
    severity = "info" if notice.event == "test" else "critical"
    return {
        "labels": {"alertname": name, "severity": severity},
        "annotations": {"summary": notice.text, "alert_id": notice.notice_id},
        "startsAt": time_text(notice.since),
        "endsAt": time_text(keep if notice.status == FIRING else notice.at),
    }


def _label(name: str) -> str:
    """A dimension's name as a label may be called."""
    legal = _NOT_IN_LABELS.sub("_", name)
    return f"_{legal}" if legal[:1].isdigit() else legal


def _filled(texts: Mapping[str, str]) -> dict[str, str]:
    """Without empty texts, which Alertmanager takes for absent."""
    return {name: text for name, text in texts.items() if text}
