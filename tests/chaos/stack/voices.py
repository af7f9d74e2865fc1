"""What people say, seeded: votes, changes of mind, retractions, erasures, late context, wrong clocks, incidents."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.chaos.stack.plan import MINUTE, TENANTS

_MODELS, _PROMPTS = 8, 4
_REQUESTS_A_SECOND = 14.0  # requests that are new, over all voices: they share a numbered world and meet in it
_KINDS = {"vote": 78, "context": 9, "implicit": 3, "retract": 4, "correction": 2, "preference": 2, "erase": 1.5}
_CLOCKS = {"none": 15, "right": 68, "late": 10, "very late": 3, "ahead": 4}
Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Incident:
    """Seconds since the begin of the run in which a model's answers are bad; `spam`: a single user says so."""

    begins: float
    ends: float
    model: int
    rate: float
    spam: bool


def incidents(seed: int, seconds: float) -> list[Incident]:
    """The bad times of a run; the first begins at once, so that a short run has an alert too."""
    dice, found, begins = random.Random(f"incidents-{seed}"), list[Incident](), 1.0
    while begins < seconds:
        ends = begins + dice.uniform(60, 360)
        found.append(Incident(begins, ends, dice.randrange(_MODELS), dice.choice((0.5, 0.7, 0.9)), dice.random() < 0.2))
        begins += dice.uniform(20, 150)
    return found


class Voices:
    """One source of events in the native form; `skew` is how many ms its clock is off."""

    def __init__(self, seed: int, name: str, bad: list[Incident], skew: int = 0) -> None:
        self.dice = random.Random(f"voices-{name}-{seed}")
        self._bad, self._skew = bad, skew

    def event(self, elapsed: float, now: int, *, named: bool) -> tuple[str, Event]:
        """A tenant and an event. `named` gives it an id and a time, so that sending it again is harmless."""
        dice = self.dice
        newest = int(elapsed * _REQUESTS_A_SECOND) + 40
        number = dice.randrange(max(0, newest - 120), newest) if dice.random() < 0.75 else dice.randrange(newest)
        kind = self._weighted(_KINDS)
        event: Event = {"request_id": f"r{number}", "kind": "vote" if kind == "implicit" else kind}
        if kind != "erase":
            event |= self._metadata(number)
        event |= getattr(self, f"_{kind}")(elapsed, number)
        time = self._time(now)
        if named:
            event |= {"event_id": f"{dice.getrandbits(96):024x}", "event_time": now if time is None else time}
        elif time is not None:
            event["event_time"] = time
        return TENANTS[number % len(TENANTS)], event

    def rating(self, elapsed: float) -> tuple[str, str, bool]:
        """Tenant, request id and rating of a bare vote."""
        newest = int(elapsed * _REQUESTS_A_SECOND) + 40
        number = self.dice.randrange(max(0, newest - 120), newest)
        return TENANTS[number % len(TENANTS)], f"r{number}", not self._negative(elapsed, number)

    def _weighted(self, choices: Mapping[str, float]) -> str:
        return self.dice.choices(list(choices), list(choices.values()))[0]

    def _time(self, now: int) -> int | None:
        dice, now = self.dice, now + self._skew
        match self._weighted(_CLOCKS):
            case "none":
                return None
            case "right":
                return now - dice.randrange(600)
            case "late":
                return now - dice.randrange(20 * MINUTE)
            case "very late":
                return now - dice.randrange(30 * 60 * MINUTE)
            case _:
                return now + dice.choice((2_000, 90_000, 3_600_000))

    def _metadata(self, number: int) -> Event:
        """The dimensions of a request are mostly the same whoever speaks, sometimes absent, sometimes corrected."""
        dice, said = self.dice, Event()
        if dice.random() < 0.8:
            said["model"] = f"m{number % _MODELS if dice.random() < 0.97 else dice.randrange(_MODELS)}"
        if dice.random() < 0.5:
            said["environment"] = ("production", "staging")[number % 5 == 0]
        if dice.random() < 0.5:
            said |= {"prompt_id": f"p{number % _PROMPTS}|", "prompt_version": f"v{number % 2}"}
        if dice.random() < 0.2:
            said[f"note{dice.randrange(3)}"] = dice.choice((None, 1, {"a": [True]}, "x", 0.5))
        return {"metadata": said} if said else {}

    def _negative(self, elapsed: float, number: int) -> bool:
        return self.dice.random() < max((bad.rate for bad in self._now_bad(elapsed, number)), default=0.06)

    def _now_bad(self, elapsed: float, number: int) -> list[Incident]:
        model = number % _MODELS
        return [bad for bad in self._bad if bad.model == model and bad.begins <= elapsed < bad.ends]

    def _vote(self, elapsed: float, number: int) -> Event:
        dice, negative = self.dice, self._negative(elapsed, number)
        spam = negative and any(bad.spam for bad in self._now_bad(elapsed, number))
        user = {"user_id": "spammer" if spam else f"u{dice.randrange(2_000)}"}
        match dice.randrange(10):
            case 0:
                return {"value": -3.5 if negative else dice.choice((0.0, 2.0, 10.0)), **user}
            case 1:
                return {"score": 1 if negative else dice.choice((3, 5)), "scale": [1, 5], **user}
            case 2:
                return {"rating": not negative, "comment": f"because {dice.randrange(1_000)}", "tags": ["a", "b"]}
            case _:
                return {"rating": not negative, **user}

    def _implicit(self, elapsed: float, number: int) -> Event:
        return {"rating": self.dice.random() < 0.5, "signal": "implicit"}

    def _context(self, elapsed: float, number: int) -> Event:
        if self.dice.random() < 0.5:
            return {"flagged": self.dice.random() < 0.5, "reasons": ["slow"]}
        return {"comment": f"note {self.dice.randrange(1_000)}"}

    def _retract(self, elapsed: float, number: int) -> Event:
        return {"signal": self.dice.choice(("explicit", "explicit", "implicit"))}

    def _correction(self, elapsed: float, number: int) -> Event:
        return {"correction": f"better {self.dice.randrange(1_000)}"}

    def _preference(self, elapsed: float, number: int) -> Event:
        return {"preference": [{"request_id": f"r{number}", "rating": 1}, {"request_id": "other", "rating": -1}]}

    def _erase(self, elapsed: float, number: int) -> Event:
        return {}
