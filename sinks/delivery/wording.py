"""The sentences in which people are told of an alert. Pure."""

from __future__ import annotations

from schemas.events import Alert
from sinks.delivery.messages import FIRING


def place(alert: Alert) -> str:
    """The group: `model=atlas-2`, or `all answers` for the tenant as a whole."""
    return ", ".join(f"{name}={value}" for name, value in alert.group.items()) or "all answers"


def headline(alert: Alert) -> str:
    """One line: what is wrong or over, and where."""
    if alert.status == FIRING:
        return f"{alert.rate:.0%} negative votes: {place(alert)} ({alert.tenant_id})"
    return f"Resolved: negative votes, {place(alert)} ({alert.tenant_id})"


def evidence(alert: Alert) -> str:
    """What the window showed when the transition was decided."""
    seen = f"{alert.negative:,} of {alert.total:,} votes in {span(alert.window_minutes)} were negative"
    if alert.status != FIRING:
        return f"{seen}. {alert.reason.capitalize()}."
    share = "" if alert.top_user_share is None else f" The most negative user gave {alert.top_user_share:.0%} of them."
    return f"{seen}: at least {alert.lower_bound:.1%}, the threshold is {alert.threshold:.1%}.{share}"


def span(minutes: int) -> str:
    """A window's length."""
    return f"{minutes // 60} h" if minutes % 60 == 0 and minutes else f"{minutes} min"
