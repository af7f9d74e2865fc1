"""Which records a receiver is told of. Pure: a record is wanted or not whenever it is read."""

from __future__ import annotations

from schemas.events import Alert, ResolvedFeedback
from sinks.delivery.receivers import ALERT, NEGATIVE_VOTE, SEVERITIES, Receiver


def wants_alert(receiver: Receiver, alert: Alert) -> bool:
    """True if tenant, monitor and severity all fit. A severity that nobody knows counts as critical."""
    return (
        ALERT in receiver.events
        and (not receiver.tenants or alert.tenant_id in receiver.tenants)
        and (receiver.monitors is None or alert.monitor in receiver.monitors)
        and _rank(alert.severity) >= _rank(receiver.severity)
    )


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


def wants_vote(receiver: Receiver, row: ResolvedFeedback) -> bool:
    """True if the row's standing explicit vote is negative and was new when the row was written.

    A row is written again whenever anything about its request changes, so an old vote's row may come at any time.
    """
    return (
        NEGATIVE_VOTE in receiver.events
        and not row.erased
        and row.vote is not None
        and row.vote.polarity < 0
        and row.vote_time is not None
        and row.updated_at - row.vote_time <= receiver.max_age * 1000
        and (not receiver.tenants or row.tenant_id in receiver.tenants)
    )
