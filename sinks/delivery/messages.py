"""What a receiver is told, as one message whichever its kind: an id for ever the same, a type, a time, the data. Pure.

A message is a function of its record alone, so what is sent twice is the same twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.events import PROMOTED, Alert, ResolvedFeedback, bare

FIRING, RESOLVED = "firing", "resolved"
LONGEST_TEXT = 4_000  # characters of one text of a vote; receivers refuse large bodies
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("started_at", "evaluated_at", "ended_at")


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that is said once and stands in no topic: that evaluation is stale or goes on, or a test.

    `at` and `since` are epoch ms; `event` is `evaluation_stale` or `test`, `status` is firing or resolved.
    """

    notice_id: str
    event: str
    status: str
    at: int
    since: int
    text: str
    details: Mapping[str, str] = field(default_factory=dict)


Subject = Alert | ResolvedFeedback | Notice


@dataclass(frozen=True, slots=True)
class Message:
    """`message_id` is the key under which a receiver ignores a repetition; `time` is epoch ms."""

    message_id: str
    type: str
    time: int
    data: Mapping[str, Any]

    def body(self) -> bytes:
        """The JSON of a webhook, always the same bytes for the same message."""
        whole = {"type": self.type, "timestamp": time_text(self.time), "data": self.data}
        return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def time_text(milliseconds: int) -> str:
    """RFC 3339 in UTC."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message(subject: Subject) -> Message:
    """The message about an alert's transition, a negative vote's row, or a notice."""
    match subject:
        case Alert():
            return Message(
                subject.alert_id, f"thumbstream.alert.{subject.status}", subject.evaluated_at, _alert(subject)
            )
        case ResolvedFeedback():
            return Message(vote_id(subject), "thumbstream.vote.negative", subject.updated_at, _vote(subject))
        case Notice():
            return Message(subject.notice_id, _notice_type(subject), subject.at, _notice(subject))


def _alert(alert: Alert) -> dict[str, Any]:
    """The fields of `alert_history`, times as text, and `version`, which grows with every transition."""
    fields = {name: getattr(alert, name) for name in Alert.__slots__ if name not in ("version", "group", *_TIMES)}
    times = {name: getattr(alert, name) for name in _TIMES}
    return {
        **fields,
        "group": dict(alert.group),
        **{name: None if at is None else time_text(at) for name, at in times.items()},
        "version": alert.version,
    }


def vote_id(row: ResolvedFeedback) -> str:
    """The id of the vote that stands in a row: the same in every later row until another vote stands."""
    event_id = next((stamp.event_id for stamp in row.stamps if "vote" in stamp.registers), "")
    text = "\n".join((row.tenant_id, row.request_id, event_id))
    return f"vote_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _vote(row: ResolvedFeedback) -> dict[str, Any]:
    assert row.vote is not None  # the subscription lets no other row through
    assert row.vote_time is not None
    metadata = {key: bare(text) for key, text in row.metadata.items()}
    texts = {"comment": row.comment, "correction": row.correction}
    cut = [name for name, text in (*texts.items(), *metadata.items()) if text is not None and len(text) > LONGEST_TEXT]
    return {
        "tenant_id": row.tenant_id,
        "request_id": row.request_id,
        "polarity": row.vote.polarity,
        "value": row.vote.value,
        "score": row.vote.score,
        "scale_min": row.vote.scale_min,
        "scale_max": row.vote.scale_max,
        **{name: _shortened(text) for name, text in texts.items()},
        "reasons": list(row.reasons or ()),
        "tags": list(row.tags or ()),
        "flagged": row.flagged,
        "user_id": row.user_id,
        **{name: getattr(row, name) for name in PROMOTED},
        "metadata": {key: _shortened(text) for key, text in metadata.items()},
        "shortened": cut,
        "source": row.vote.source,
        "voted_at": time_text(row.vote_time),
        "updated_at": time_text(row.updated_at),
        "version": row.version,
    }


def _shortened(text: str | None) -> str | None:
    return None if text is None else text[:LONGEST_TEXT]


def _notice_type(notice: Notice) -> str:
    return "thumbstream.test" if notice.event == "test" else f"thumbstream.{notice.event}.{notice.status}"


def _notice(notice: Notice) -> dict[str, Any]:
    return {"status": notice.status, "since": time_text(notice.since), "text": notice.text, **notice.details}
