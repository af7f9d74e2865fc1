"""A message for a Slack incoming webhook: plain text for notifications, blocks for the channel. Pure."""

from __future__ import annotations

from typing import Any

from schemas.events import Alert
from sinks.delivery.messages import FIRING, Notice, message, time_text
from sinks.delivery.wording import evidence, headline, place

LONGEST_HEADER, LONGEST_SECTION, LONGEST_FIELD = 150, 3_000, 2_000  # characters; Slack refuses more
_SIGNS = {FIRING: ":rotating_light:"}
_OVER = ":white_check_mark:"


def payload(subject: Alert | Notice) -> dict[str, Any]:
    """The JSON body."""
    return _alert(subject) if isinstance(subject, Alert) else _notice(subject)


def escaped(text: str) -> str:
    """`text` in which nothing is a mention, a link or a channel: group values are what clients sent."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _alert(alert: Alert) -> dict[str, Any]:
    title = headline(alert)
    fields = {
        "Tenant": alert.tenant_id,
        "Group": place(alert),
        "Monitor": alert.monitor,
        "Severity": alert.severity,
        "Since": time_text(alert.started_at),
        "Until": time_text(alert.ended_at) if alert.ended_at is not None else "",
    }
    blocks: list[dict[str, Any]] = [
        _header(f"{_SIGNS.get(alert.status, _OVER)} {title}"),
        _section(evidence(alert)),
        {"type": "section", "fields": [_field(name, text) for name, text in fields.items() if text]},
        _context(message(alert).message_id),
    ]
    return {"text": escaped(title), "blocks": blocks}


def _notice(notice: Notice) -> dict[str, Any]:
    sign = ":information_source:" if notice.event == "test" else _SIGNS.get(notice.status, _OVER)
    return {
        "text": escaped(notice.text),
        "blocks": [_section(f"{sign} {notice.text}"), _context(notice.notice_id)],
    }


def _header(text: str) -> dict[str, Any]:
    return {"type": "header", "text": {"type": "plain_text", "text": _cut(text, LONGEST_HEADER), "emoji": True}}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": _cut(escaped(text), LONGEST_SECTION)}}


def _field(name: str, text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": _cut(f"*{name}*\n{escaped(text)}", LONGEST_FIELD)}


def _context(text: str) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": escaped(text)}]}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
