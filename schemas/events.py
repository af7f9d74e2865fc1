"""The records that travel on topics, one frozen dataclass each. All times are epoch milliseconds, UTC.

An absent value is None everywhere; 0, False and empty text are values. Field order is the order of the Avro schemas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

KINDS = ("vote", "retract", "context", "correction", "preference", "erase")
AMEND = "amend"  # changes the vote that a feedback id names: only gateways make it, for vendors whose clients do that
SIGNALS = ("explicit", "implicit")
PROMOTED = ("model", "prompt_id", "prompt_version", "environment", "app")
MISSING = "(none)"  # stands for an absent dimension in groups and views


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer of a preference: several candidates rated against each other."""

    request_id: str
    rating: float
    response: str | None = None


@dataclass(frozen=True, slots=True)
class FeedbackEvent:
    """What a person (or a signal standing for one) said about one answer; the only input of the whole system.

    `event_time` is the client's clock and None when the client sent none. `received_at` is the gateway's clock, for
    audit only: no meaning depends on it. `metadata` maps a key to JSON text, or to None, which removes the key.
    An event of kind `amend` has an empty `request_id`: its `feedback_id` says which vote it changes.
    """

    tenant_id: str
    request_id: str
    event_id: str
    kind: str
    event_time: int | None = None
    rating: bool | None = None
    value: float | None = None
    score: float | None = None
    scale_min: float | None = None
    scale_max: float | None = None
    weight: float | None = None
    comment: str | None = None
    correction: str | None = None
    reasons: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    flagged: bool | None = None
    user_id: str | None = None
    signal: str = "explicit"
    preference: tuple[Candidate, ...] | None = None
    metadata: Mapping[str, str | None] = field(default_factory=dict)
    feedback_id: str | None = None
    source: str = ""
    received_at: int | None = None
    original: bytes | None = None

    @property
    def polarity(self) -> int | None:
        """1 good, -1 bad, 0 neutral, None without a vote. `rating` decides, then `value`, then `score`."""
        if self.rating is not None:
            return 1 if self.rating else -1
        if self.value is not None:
            return (self.value > 0) - (self.value < 0)
        return self._score_polarity()

    def _score_polarity(self) -> int | None:
        if self.score is None or self.scale_min is None or self.scale_max is None or self.scale_max <= self.scale_min:
            return None
        share = (self.score - self.scale_min) / (self.scale_max - self.scale_min)
        return 1 if share >= 0.75 else -1 if share <= 0.25 else 0


@dataclass(frozen=True, slots=True)
class Vote:
    """The value of a vote register: everything that belongs to one vote and is replaced together."""

    polarity: int
    value: float | None = None
    score: float | None = None
    scale_min: float | None = None
    scale_max: float | None = None
    weight: float | None = None
    feedback_id: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """One event and the registers of a row it holds; `time` is its effective time."""

    time: int
    event_id: str
    registers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResolvedFeedback:
    """What is true now about one request: one row of `latest`. `vote_time` is None unless an explicit vote stands.

    `clamped` remembers events whose client clock ran ahead, with the effective time of their first arrival: without it
    a re-send of such an event would look newer than it is.
    """

    version: int
    erased: bool
    vote_time: int | None
    tenant_id: str
    request_id: str
    vote: Vote | None = None
    implicit: Vote | None = None
    comment: str | None = None
    correction: str | None = None
    reasons: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    flagged: bool | None = None
    user_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    prompt_id: str | None = None
    prompt_version: str | None = None
    environment: str | None = None
    app: str | None = None
    first_seen: int = 0
    updated_at: int = 0
    stamps: tuple[Stamp, ...] = ()
    clamped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MinuteCount:
    """Votes of one group in one minute, as far as one source partition knows: an absolute value, never a change.

    `minute` is the epoch millisecond at which the minute begins; `group` holds the values of the rollup's dimensions in
    the rollup's order; `top_negative_users` is cut to the 16 largest.
    """

    tenant_id: str
    rollup: str
    group: tuple[str, ...]
    minute: int
    source_partition: int
    version: int
    negative: int
    positive: int
    neutral: int
    top_negative_users: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """A progress mark: every event of the partition appended before `watermark` is counted in earlier records."""

    source_partition: int
    source_partitions: int
    offset: int
    watermark: int


@dataclass(frozen=True, slots=True)
class MonitorSet:
    """The monitors that hold on one minutes partition from this record on, until the next one.

    `content` is their canonical JSON, `hash` its SHA-256 in hex.
    """

    hash: str
    content: str


@dataclass(frozen=True, slots=True)
class Alert:
    """One transition of one alert. `version` equals `evaluated_at`.

    `alert_id` is fingerprint:started_at:status:sequence, so a transition computed twice has the same id twice.
    `definition` names the rule that decided; it is empty in records that are older than this field.
    """

    version: int
    alert_id: str
    fingerprint: str
    tenant_id: str
    monitor: str
    kind: str
    severity: str
    rollup: str
    group: Mapping[str, str]
    status: str
    started_at: int
    evaluated_at: int
    ended_at: int | None
    window_minutes: int
    negative: int
    total: int
    rate: float
    lower_bound: float
    threshold: float
    top_user_share: float | None
    reason: str
    sequence: int
    definition: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something refused after it was accepted by a topic, with its reason word and its original bytes.

    `handled` is None while the letter is open, else what became of it: `replayed` or `dropped`. The record that says so
    has the letter's id and no original, so that content is not kept longer than the refused record itself.
    """

    letter_id: str
    stage: str
    reason: str
    message: str
    tenant_id: str | None
    topic: str | None
    partition: int | None
    offset: int | None
    failed_at: int
    key: bytes | None
    original: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    handled: str | None = None


Record = FeedbackEvent | ResolvedFeedback | MinuteCount | Progress | MonitorSet | Alert | DeadLetter


def bare(text: str) -> str:
    """JSON text as people read it: a string without its quotes, anything else as it stands."""
    text = text.strip()
    if not text.startswith('"'):
        return text
    return text[1:-1] if "\\" not in text else str(json.loads(text))  # most strings need no decoder
