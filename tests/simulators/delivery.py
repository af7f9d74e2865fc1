"""A log of alerts, a receiver with a will of its own, and delivery between them on a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from schemas.codec import Codec
from schemas.events import Alert
from sinks.batch import Source
from sinks.delivery.intake import Intake
from sinks.delivery.parking import letter
from sinks.delivery.queue import Parcel, Queue
from sinks.delivery.receivers import Receiver
from sinks.delivery.replies import Answer, Verdict, judge
from sinks.delivery.subscription import wants_alert

TOPIC = "feedback.high-negative-rate"
NOON = 1_767_268_800_000
KEY = b"k" * 32
_CODEC = Codec()


def alert(fingerprint: str = "a", number: int = 1, **changed: Any) -> Alert:
    """Transition `number` (from 1) of a fingerprint: odd ones fire, even ones resolve, a minute apart."""
    firing = number % 2 == 1
    started = NOON + (number - 1 + firing - 1) * 60_000
    now = NOON + (number - 1) * 60_000
    status = "firing" if firing else "resolved"
    fields: dict[str, Any] = {
        "version": now,
        "alert_id": f"{fingerprint}:{started}:{status}:{number}",
        "fingerprint": fingerprint,
        "tenant_id": "acme",
        "monitor": "model-negative-rate",
        "kind": "threshold",
        "severity": "warning",
        "rollup": "model",
        "group": {"model": "atlas-2"},
        "status": status,
        "started_at": started,
        "evaluated_at": now,
        "ended_at": None if firing else now,
        "window_minutes": 60,
        "negative": 30,
        "total": 60,
        "rate": 0.5,
        "lower_bound": 0.3,
        "threshold": 0.2,
        "top_user_share": 0.1 if firing else None,
        "reason": "rate above threshold" if firing else "recovered",
        "sequence": number,
    }
    return Alert(**{**fields, **changed})


def receiver(kind: str = "webhook", **changed: Any) -> Receiver:
    """A receiver that may be anywhere."""
    return Receiver("ops", kind, "https://hooks.example.com/in", (KEY,), **changed)


def source(record: Alert, offset: int, partition: int = 0) -> Source:
    """The record as it lies on the topic."""
    return Source(TOPIC, partition, offset, NOON, record.fingerprint.encode(), _CODEC.encode(record))


@dataclass
class Delivery:
    """One partition's log and its delivery. `answers` gives the status (0: none) for the time of a request.

    What survives a crash is `log`, `committed`, what the receiver got, and the letters.
    """

    answers: Callable[[float], int]
    to: Receiver = field(default_factory=receiver)
    log: list[Alert] = field(default_factory=list)
    committed: int | None = None
    now: float = 0.0
    got: list[str] = field(default_factory=list)
    got_at: list[float] = field(default_factory=list)
    tries: int = 0
    letters: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new process: it knows what was committed, nothing else."""
        self.intake = Intake(TOPIC, lambda one: wants_alert(self.to, one))
        self.queue = Queue(self.to.give_up_after)
        self._read = 0
        self.intake.assigned(0, self.committed, len(self.log))

    def read(self) -> None:
        """Read all that is on the log."""
        for offset in range(self._read, len(self.log)):
            self.queue.add(self.intake.take(source(self.log[offset], offset), self.log[offset]))
        self._read = len(self.log)
        self.queue.add(self.intake.reached(0, self._read))

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> bool:
        """Deliver for so long, or until something is so; it may break off between an answer and its commit."""
        end = self.now + seconds
        while self.now < end:
            self.read()
            while (parcel := self.queue.head(self.now)) is not None:
                if self._deal_with(parcel, until):
                    return True
            self.now += 0.5
        return False

    def _deal_with(self, parcel: Parcel, until: Callable[[], bool]) -> bool:
        if parcel.record is not None:
            assert isinstance(parcel.record, Alert)
            answer = self._post(parcel.record)
            if until():
                return True
            verdict = self.queue.heard(answer, self.now, 0.5)
            if verdict is Verdict.RETRY:
                return False
            if verdict is Verdict.REFUSED:
                self.letters.append(letter(self.to, parcel, answer).letter_id)
        self.intake.told(self.queue.done())
        self.committed = self.committed if parcel.commit is None else parcel.commit
        return False

    def _post(self, record: Alert) -> Answer:
        self.tries += 1
        status = self.answers(self.now)
        if 200 <= status < 300:
            self.got.append(record.alert_id)
            self.got_at.append(self.now)
        verdict = judge(status) if status else Verdict.RETRY
        return Answer(verdict, status or None, f"HTTP {status}")
