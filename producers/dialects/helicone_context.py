"""Helicone's `PUT .../property` and `POST .../score`: what else is known about a request. Both merge key by key."""

from __future__ import annotations

from producers.dialects.exchange import Call, Dialect, Result, renamed, single
from producers.dialects.helicone import envelope, secret, trouble
from schemas.constraints import Violation

_NO_PROPERTY = Violation(None, "not_an_object", "the body must be an object with the texts key and value")
_NO_SCORES = Violation("scores", "wrong_type", "scores must be an object of numbers and booleans")


def property_results(call: Call) -> list[Result]:
    """One property as metadata under its own name, so that `model` or `environment` is the dimension of that name."""
    found = single(call)
    if found is None:
        return [_NO_PROPERTY]
    value, original = found
    for name in ("key", "value"):
        if not isinstance(value.get(name), str):
            return [Violation(name, "wrong_type" if name in value else "missing", f"{name} must be a string")]
    event = {"request_id": call.path["request_id"], "metadata": {value["key"]: value["value"]}}
    return [renamed(call.event(event, original), {"metadata": "key"})]


def score_results(call: Call) -> list[Result]:
    """Scores as metadata `score.NAME`: numbers stay numbers, whole or not, and booleans stay booleans."""
    found = single(call)
    scores = found[0].get("scores") if found is not None else None
    if found is None or not isinstance(scores, dict):
        return [_NO_SCORES]
    for name, score in scores.items():
        if not isinstance(score, (bool, int, float)):
            return [Violation(f"scores.{name}"[:64], "wrong_type", "a score must be a number or a boolean")]
    metadata = {f"score.{name}": score for name, score in scores.items()}
    return [renamed(call.event({"request_id": call.path["request_id"], "metadata": metadata}, found[1]), _SCORES)]


_SCORES = {"metadata": "scores"}
PROPERTY = Dialect("helicone", secret, property_results, envelope(200), trouble)
SCORE = Dialect("helicone", secret, score_results, envelope(201), trouble)
