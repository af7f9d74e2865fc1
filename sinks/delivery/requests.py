"""The HTTP request that tells one receiver of something. Pure: the time comes as an argument."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from schemas.events import Alert, ResolvedFeedback
from sinks.delivery import alertmanager, slack
from sinks.delivery.messages import Notice, Subject, message
from sinks.delivery.receivers import Receiver
from sinks.delivery.signing import signed_headers


@dataclass(frozen=True, slots=True)
class Request:
    """A POST. The address and the headers are secrets."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def request(receiver: Receiver, subject: Subject, now: int) -> Request:
    """The request about one subject at `now` (epoch ms)."""
    if receiver.kind == "alertmanager":
        return reposting(receiver, [_telling(subject)], now)
    if receiver.kind == "slack":
        return _post(receiver, receiver.url, _json(slack.payload(_telling(subject))), {})
    said = message(subject)
    body = said.body()
    return _post(receiver, receiver.url, body, signed_headers(receiver.keys, said.message_id, now // 1000, body))


def reposting(receiver: Receiver, subjects: Iterable[Alert | Notice], now: int) -> Request:
    """The request that tells an Alertmanager what is so at `now` (epoch ms)."""
    parts = urlsplit(receiver.url)
    url = parts._replace(path=parts.path.rstrip("/") + alertmanager.PATH).geturl()
    return _post(receiver, url, _json(alertmanager.payload(subjects, now, receiver.repost)), {})


def _telling(subject: Subject) -> Alert | Notice:
    assert not isinstance(subject, ResolvedFeedback)  # only webhooks may subscribe to votes
    return subject


def _post(receiver: Receiver, url: str, body: bytes, headers: Mapping[str, str]) -> Request:
    login = {"authorization": receiver.authorization} if receiver.authorization else {}
    return Request(url, {"content-type": "application/json", "user-agent": "thumbstream", **login, **headers}, body)


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
