"""Seeded traffic: votes of every kind, changes of mind, re-sends, wrong clocks, poison, incidents that must alarm."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Producer

from schemas.codec import Codec
from schemas.events import AMEND, Candidate, FeedbackEvent, Progress
from schemas.feedback_ids import NONCE_BITS, event_key, event_partition, packed
from schemas.topics import Topics, murmur2, request_key
from tests.chaos.plan import MINUTE, Plan

EXPECTED = "expected-refusal"  # header of poison: the reason word that its dead letter must carry
ANY_PARTITION = -1
_MODELS = 24
_TENANTS = ("acme", "bolt|%")  # the second needs escaping in keys


@dataclass(frozen=True, slots=True)
class Sent:
    """One record to produce."""

    key: bytes
    value: bytes | None
    headers: dict[str, bytes] = field(default_factory=dict)
    partition: int = ANY_PARTITION


@dataclass(slots=True)
class _Incident:
    """A time in which one model's answers are bad; `one_person` means that a single user says so."""

    until: float
    rate: float
    one_person: bool


class Traffic:
    """An endless source of records; `elapsed` is seconds since its begin, `now` epoch ms."""

    def __init__(self, topics: Topics, seed: int) -> None:
        self._dice = random.Random(f"traffic-{seed}")
        self._codec, self._partitions = Codec(), topics.event_partitions
        self._requests: list[tuple[str, str]] = []
        self._ids: list[tuple[str, str]] = []  # tenant and feedback id of votes
        self._recent: list[Sent] = []
        # The first is sure: chance alone leaves one short run in fifteen without any alert.
        self._incidents = {0: _Incident(20.0, 0.9, one_person=False)}
        self._next_incident = 3.0
        self._number = 0

    def record(self, elapsed: float, now: int) -> Sent:
        """The next record."""
        self._number += 1
        self._begin_incidents(elapsed)
        choice = self._dice.random()
        if choice < 0.03 and self._recent:
            return self._dice.choice(self._recent)  # a re-send: the same bytes once more
        event = self._amendment() if choice < 0.11 and self._ids else self._event(elapsed, now)
        if choice > 0.99:
            return self._poison(event)
        sent = Sent(event_key(event), self._codec.encode(event), partition=event_partition(event, self._partitions))
        self._recent.append(sent)
        del self._recent[:-400]
        return sent

    def _begin_incidents(self, elapsed: float) -> None:
        dice = self._dice
        if elapsed > self._next_incident:
            self._next_incident = elapsed + dice.uniform(0.5, 3)
            bad = _Incident(elapsed + dice.uniform(4, 14), dice.choice((0.5, 0.7, 0.9)), dice.random() < 0.2)
            self._incidents[dice.randrange(_MODELS)] = bad

    def _event(self, elapsed: float, now: int) -> FeedbackEvent:
        dice = self._dice
        fresh = dice.random() < 0.4 or not self._requests
        tenant, request = self._new_request() if fresh else self._known_request()
        model = min(_MODELS - 1, int(dice.expovariate(4 / _MODELS)))
        written: dict[str, Any] = {"metadata": self._metadata(model, always=fresh)}
        kinds = (
            ("vote", 65),
            ("named", 15),
            ("context", 10),
            ("implicit", 4),
            ("retract", 3),
            ("correction", 2),
            ("preference", 2),
        )
        kind = self._weighted((*kinds, ("erase", 0 if fresh else 1)))
        if kind == "named":
            kind, said = "vote", self._named_vote(tenant, request)
        else:
            said = getattr(self, f"_{kind}")(elapsed, model)
        written |= said
        event_time = None if "feedback_id" in written else self._client_time(now)
        event_id = f"{dice.getrandbits(96):024x}"
        actual = "vote" if kind == "implicit" else kind
        return FeedbackEvent(tenant, request, event_id, actual, event_time, source="chaos", received_at=now, **written)

    def _amendment(self) -> FeedbackEvent:
        """As a vendor's client changes a vote: often right after it, mostly only in part."""
        dice = self._dice
        tenant, feedback_id = dice.choice(self._ids[-5:] if dice.random() < 0.6 else self._ids[-300:])
        parts: tuple[dict[str, Any], ...] = (
            {"value": float(dice.randint(-10, 10))},
            {"value": float(dice.randint(-10, 10)), "weight": 0.5, "comment": f"changed {self._number}"},
            {"weight": dice.choice((0.0, 1.0)), "user_id": f"u{dice.randrange(3_000)}"},
            {"metadata": self._metadata(dice.randrange(_MODELS), always=False) or {"model": '"m0"'}},
        )
        event_id = f"{dice.getrandbits(96):024x}"
        return FeedbackEvent(
            tenant, "", event_id, AMEND, **dice.choice(parts), feedback_id=feedback_id, source="chaos-amending"
        )

    def _named_vote(self, tenant: str, request: str) -> dict[str, Any]:
        """A vote that can be amended, as a vendor's client casts it: without a time."""
        dice = self._dice
        feedback_id = packed(murmur2(request_key(tenant, request)), dice.getrandbits(NONCE_BITS), 0)
        self._ids.append((tenant, feedback_id))
        return {
            "value": float(dice.randint(-2, 10)),
            "user_id": f"u{dice.randrange(3_000)}",
            "feedback_id": feedback_id,
        }

    def _weighted(self, choices: tuple[tuple[str, int], ...]) -> str:
        return self._dice.choices([name for name, _ in choices], [weight for _, weight in choices])[0]

    def _new_request(self) -> tuple[str, str]:
        self._requests.append((self._dice.choice(_TENANTS), f"request {self._number}|"))
        return self._requests[-1]

    def _known_request(self) -> tuple[str, str]:
        return self._dice.choice(self._requests[-300:] if self._dice.random() < 0.7 else self._requests)

    def _client_time(self, now: int) -> int | None:
        """Often none, mostly about right, sometimes many days late or ahead of the broker."""
        dice = self._dice
        match self._weighted((("none", 30), ("right", 60), ("late", 7), ("ahead", 3))):
            case "none":
                return None
            case "right":
                return now + dice.randrange(-300, 300)
            case "late":
                return now - dice.randrange(1_200 * MINUTE)
            case _:
                return now + dice.choice((2_000, 3_600_000))

    def _metadata(self, model: int, *, always: bool) -> dict[str, str | None]:
        dice, metadata = self._dice, dict[str, str | None]()
        if (always and dice.random() < 0.95) or dice.random() < 0.15:
            metadata["model"] = f'"m{model}"'
        if dice.random() < 0.4:
            metadata["environment"] = dice.choice(('"production"', '"staging"', '""'))
        if dice.random() < 0.2:
            metadata[f"note{dice.randrange(3)}"] = dice.choice((None, "1", '{"a": [true]}', '"x"'))
        return metadata

    def _vote(self, elapsed: float, model: int) -> dict[str, Any]:
        dice, incident = self._dice, self._incidents.get(model)
        bad = incident is not None and incident.until > elapsed
        negative = dice.random() < (incident.rate if bad and incident is not None else 0.05)
        user: str | None = f"u{dice.randrange(3_000)}"
        if negative and bad and incident is not None and incident.one_person:
            user = "spammer"
        match dice.randrange(10):
            case 0:
                return {"value": -3.5 if negative else dice.choice((0.0, 2.0, 10.0)), "user_id": user}
            case 1:
                return {"score": 1.0 if negative else dice.choice((3.0, 5.0)), "scale_min": 1.0, "scale_max": 5.0}
            case 2:
                return {"rating": not negative, "comment": f"because {self._number}", "tags": ("a", "b")}
            case _:
                return {"rating": not negative, "user_id": user}

    def _implicit(self, elapsed: float, model: int) -> dict[str, Any]:
        return {"rating": self._dice.random() < 0.5, "signal": "implicit"}

    def _context(self, elapsed: float, model: int) -> dict[str, Any]:
        written: dict[str, Any] = {"flagged": self._dice.random() < 0.5, "reasons": ("slow",)}
        return written if self._dice.random() < 0.5 else {"comment": f"note {self._number}"}

    def _retract(self, elapsed: float, model: int) -> dict[str, Any]:
        return {"signal": self._dice.choice(("explicit", "explicit", "implicit"))}

    def _correction(self, elapsed: float, model: int) -> dict[str, Any]:
        return {"correction": f"better {self._number}"}

    def _preference(self, elapsed: float, model: int) -> dict[str, Any]:
        return {"preference": (Candidate("one", 1.0, "a"), Candidate("two", -1.0))}

    def _erase(self, elapsed: float, model: int) -> dict[str, Any]:
        return {"metadata": {}}

    def _poison(self, event: FeedbackEvent) -> Sent:
        key, dice = event_key(event), self._dice
        good = self._codec.encode(event)
        match dice.choice(("undecodable", "invalid", "misrouted")):
            case "undecodable":
                stranger = self._codec.encode(Progress(1, 2, 3, 4))
                value = dice.choice((b"\xff junk", b"", None, good[:-3], good + b"!", stranger, dice.randbytes(40)))
                return Sent(key, value, {EXPECTED: b"undecodable"})
            case "invalid":
                return Sent(key, self._codec.encode(self._broken(event)), {EXPECTED: b"invalid"})
            case _ if dice.random() < 0.5:
                return Sent(b"somebody|else", good, {EXPECTED: b"misrouted"})
            case _:
                wrong = (event_partition(event, self._partitions) + 1) % self._partitions
                return Sent(key, good, {EXPECTED: b"misrouted"}, wrong)

    def _broken(self, event: FeedbackEvent) -> FeedbackEvent:
        tenant, request, identity = event.tenant_id, event.request_id, event.event_id
        wrong: tuple[dict[str, Any], ...] = (
            {"kind": "vote"},
            {"kind": "applause", "rating": True},
            {"kind": "vote", "value": 99.0},
            {"kind": "vote", "rating": True, "event_time": 5},
            {"kind": "vote", "rating": True, "metadata": {"model": "not json"}},
            {"kind": AMEND, "value": 1.0},
            {"kind": AMEND, "value": 1.0, "feedback_id": packed(1, 2, 3)},
        )
        return FeedbackEvent(tenant, request, identity, **self._dice.choice(wrong))


class Pump(threading.Thread):
    """Produces traffic at a steady rate until `stop`. `failure` holds what ended it early."""

    def __init__(self, plan: Plan, rate: float, clock: Callable[[], float] = time.time) -> None:
        super().__init__(name="traffic", daemon=True)
        self._plan, self._rate, self._clock = plan, rate, clock
        self._halt = threading.Event()
        self.sent = 0
        self.failure: Exception | None = None

    def stop(self) -> int:
        """End, with everything sent acknowledged; how many records were sent. Raises what went wrong."""
        self._halt.set()
        self.join(60)
        if self.failure is not None:
            raise self.failure
        return self.sent

    def run(self) -> None:
        try:
            self._pump()
        except Exception as exception:  # noqa: BLE001 - handed to the test by `stop`
            self.failure = exception

    def _pump(self) -> None:
        topic, traffic = self._plan.topics.events.name, Traffic(self._plan.topics, self._plan.seed)
        settings = {"enable.idempotence": True, "linger.ms": 5, "partitioner": "murmur2_random"}
        producer = Producer({"bootstrap.servers": self._plan.bootstrap, **settings})
        began = self._clock()
        while not self._halt.wait(0.01):
            while self.sent < (self._clock() - began) * self._rate:
                sent = traffic.record(self._clock() - began, int(self._clock() * 1_000))
                headers: Any = list(sent.headers.items())
                producer.produce(topic, sent.value, sent.key, sent.partition, headers=headers)
                self.sent += 1
            producer.poll(0)
        if producer.flush(30):
            raise RuntimeError("the broker did not acknowledge all traffic")
