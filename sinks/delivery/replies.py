"""What a receiver's answer means, and how long to wait before the next try. Pure: time and dice are arguments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

LONGEST_PAUSE = 60.0
LONGEST_RETRY_AFTER = 3_600.0
_AGAIN = {408, 425, 429}
_SHOWN = 200


class Verdict(Enum):
    """What is to be done after an answer."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. `status` is None when there was no answer; `text` is for people and holds no secret.

    `reason` is the word for a dead letter when the verdict is REFUSED. `retry_after` is in seconds.
    """

    verdict: Verdict
    status: int | None
    text: str
    reason: str = "refused"
    retry_after: float | None = None


def judge(status: int) -> Verdict:
    """2xx is delivered; 408, 425, 429 and 5xx may pass; all else, redirects too, will be the same next time."""
    if 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.RETRY if status in _AGAIN or status >= 500 else Verdict.REFUSED


def retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for, at most an hour; `now` is Unix time. None when it says nothing."""
    if header is None:
        return None
    if header.strip().isdecimal():
        seconds = float(header)
    else:
        try:
            moment = parsedate_to_datetime(header)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def pause(failures: int, draw: float, wish: float | None = None) -> float:
    """Seconds until the next try after so many failures in a row: doubling from 1 to 60, between half and all of it.

    `draw` in [0, 1] chooses where; `wish` is what the receiver asked for, and the least then.
    """
    whole = min(LONGEST_PAUSE, 2.0 ** min(failures - 1, 30))
    return max(whole * (0.5 + 0.5 * draw), wish or 0.0)


def scrubbed(text: str, secrets: Iterable[str]) -> str:
    """The beginning of an answer's text without what must not be repeated: error pages like to name the address."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return " ".join(text.split())[:_SHOWN]


def advice(status: int) -> str:
    """A sentence for the person who set a receiver up."""
    known = {
        400: "it does not take this body: is the kind right?",
        401: "the login is missing or wrong",
        403: "the login has no right to this, or the address was withdrawn",
        404: "there is nothing at this path",
        405: "this path takes no POST",
        410: "this address was withdrawn for good",
        413: "the body is too large for it",
        429: "it takes no more for the moment",
    }
    if 300 <= status < 400:
        return "it redirects, and redirects are not followed: give the final address"
    return known.get(status, "")
