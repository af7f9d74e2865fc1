"""Made-up traffic that behaves like people: votes, changed minds, late and repeated events, and one bad model. Pure.

All of it follows from a seed and the times it is given.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MODELS = ("atlas-1", "atlas-2", "breeze-mini")
PROMPTS = ("support-answer", "summary", "search-help")
REASONS = ("wrong", "outdated", "too long", "rude")
_BAD, _INCIDENT = 0.06, 0.5  # shares of negatives
_DAY = 86_400_000

Event = dict[str, Any]


@dataclass(slots=True)
class Traffic:
    """A stream of native events. `incident` names the model whose answers are bad while `bad` is set."""

    seed: int
    incident: str = ""
    bad: bool = False
    _made: int = 0
    _sent: list[Event] = field(default_factory=list)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - made-up people need no secrets

    def next(self, now: int) -> list[Event]:
        """What happens at `now` (epoch ms): mostly one new vote, at times a re-vote, a context or a repeated event."""
        roll = self._random.random()
        if self._sent and roll < 0.02:
            return [self._random.choice(self._sent)]  # the very same event, as after a lost reply
        if self._sent and roll < 0.08:
            return [self._remember(self._changed_mind(now))]
        if self._sent and roll < 0.10:
            return [self._remember(self._retraction(now))]
        vote = self._remember(self.vote(now - (self._random.randrange(120_000) if roll > 0.95 else 0)))
        return [self._context(vote), vote] if roll > 0.9 else [vote]

    def history(self, count: int, now: int, days: int = 1) -> Iterator[Event]:
        """`count` ordinary votes of the days before `now`, in order of time."""
        for index in range(count):
            yield self.vote(now - days * _DAY + index * (days * _DAY // count))

    def vote(self, time: int, model: str | None = None) -> Event:
        """A vote of somebody on a new answer."""
        model = model or self._random.choice(MODELS)
        share = _INCIDENT if self.bad and model == self.incident else _BAD
        negative = self._random.random() < share
        self._made += 1
        event = self._event(f"answer-{self.seed}-{self._made:06d}", time)
        event |= {"rating": not negative, "user_id": f"user-{self._random.randrange(5000):04d}"}
        event["metadata"] = {"model": model, "prompt_id": self._random.choice(PROMPTS), "environment": "production"}
        if negative and self._random.random() < 0.4:
            event["reasons"] = [self._random.choice(REASONS)]
        return event

    def _remember(self, event: Event) -> Event:
        self._sent.append(event)
        del self._sent[:-500]
        return event

    def _changed_mind(self, now: int) -> Event:
        before = self._random.choice(self._sent)
        event = self._event(before["request_id"], now)
        return event | {"rating": self._random.random() < 0.5, "user_id": before.get("user_id", "user-0000")}

    def _retraction(self, now: int) -> Event:
        return self._event(self._random.choice(self._sent)["request_id"], now) | {"kind": "retract"}

    def _context(self, vote: Event) -> Event:
        event = self._event(vote["request_id"], vote["event_time"])
        return event | {"kind": "context", "metadata": {"app": "web", "latency_ms": self._random.randrange(200, 4000)}}

    def _event(self, request_id: str, time: int) -> Event:
        return {"request_id": request_id, "event_id": f"{self._random.getrandbits(128):032x}", "event_time": time}
