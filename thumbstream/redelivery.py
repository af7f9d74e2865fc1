"""Parked deliveries, told again: each letter to its receiver, in the order in which they were parked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from schemas.codec import Codec, DecodeError
from schemas.events import Alert, DeadLetter, ResolvedFeedback
from sinks.delivery.parking import STAGE, receiver_of
from sinks.delivery.post import Poster
from sinks.delivery.receivers import Receivers, ReceiversError
from sinks.delivery.replies import Verdict
from sinks.delivery.requests import request
from thumbstream.dead_letters import UnreplayableError


def is_delivery(letter: DeadLetter) -> bool:
    """True for a letter about a delivery; all others are about events."""
    return letter.stage == STAGE


class Redelivery:
    """Tells receivers what was parked for them. `newest`: fingerprint -> the newest transition of that alert."""

    def __init__(self, receivers: Receivers, codec: Codec, newest: dict[str, Alert]) -> None:
        self._receivers, self._codec, self._newest = receivers, codec, newest
        self._posters: dict[str, Poster] = {}

    def tell(self, letter: DeadLetter) -> None:
        """Deliver one letter now. UnreplayableError says why it did not work; the letter stays open then."""
        try:
            receiver = self._receivers[receiver_of(letter)]
        except ReceiversError as error:
            raise UnreplayableError(str(error)) from error
        record = self._record(letter)
        if receiver.kind == "alertmanager" and isinstance(record, Alert):
            # An old `firing` would raise an alert that has ended: what is so now says all that was parked, and more.
            record = self._newest.get(record.fingerprint, record)
        poster = self._posters.setdefault(receiver.name, Poster(receiver))
        answer = poster.post(request(receiver, record, time.time_ns() // 1_000_000))
        if answer.verdict is not Verdict.DELIVERED:
            raise UnreplayableError(answer.text)

    def close(self) -> None:
        """Close all connections."""
        for poster in self._posters.values():
            poster.close()

    def _record(self, letter: DeadLetter) -> Alert | ResolvedFeedback:
        if letter.original is None:
            raise UnreplayableError("its original was not kept")
        try:
            record = self._codec.decode(letter.original)
        except DecodeError as error:
            raise UnreplayableError(f"undecodable: {error}") from error
        if not isinstance(record, Alert | ResolvedFeedback):
            raise UnreplayableError(f"a {type(record).__name__} is told to nobody")
        return record


@contextmanager
def redelivery(receivers: Receivers, codec: Codec, newest: dict[str, Alert]) -> Iterator[Redelivery]:
    """A redelivery whose connections are closed in the end."""
    made = Redelivery(receivers, codec, newest)
    try:
        yield made
    finally:
        made.close()


def newest_alerts(alerts: Sequence[Alert]) -> dict[str, Alert]:
    """Fingerprint -> its newest transition, whatever order the records came in."""
    return {alert.fingerprint: alert for alert in sorted(alerts, key=lambda alert: alert.version)}
