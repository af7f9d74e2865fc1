"""Generated feedback: few requests, ids, times and values, so that ties and collisions are the rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st

from processors.minutes import Grain
from processors.pipeline import Partition
from schemas.constraints import violation
from schemas.events import Candidate, FeedbackEvent
from schemas.feedback_ids import packed
from schemas.topics import murmur2, request_key

GRAIN = Grain(minute=10, day=40)
ROLLUPS = ((), ("model",), ("prompt_id", "app"))
WHERE = Partition(0, 1, ROLLUPS, grain=GRAIN)
BEGIN = 1_000_000_000_000  # a whole day of GRAIN
APPENDED = BEGIN + 1_000  # append times count from here; event times of the past lie before

_PAST = st.integers(BEGIN, BEGIN + 4) | st.integers(BEGIN, BEGIN + 99)
_NEAR = st.integers(APPENDED, APPENDED + 60)
_JSON = st.sampled_from(['"a"', '"b"', '""', "0", "null", "false", '{"deep": [1]}'])
_TEXT = st.sampled_from(["", "x", "y"])
_CONTEXT: dict[str, st.SearchStrategy[Any]] = {
    "tags": st.lists(_TEXT, max_size=2).map(tuple),
    "user_id": st.sampled_from(["", "ann", "bob"]),
    "metadata": st.dictionaries(st.sampled_from(["model", "prompt_id", "app", "other"]), st.none() | _JSON, max_size=3),
}
_SAID: dict[str, st.SearchStrategy[Any]] = {
    "comment": _TEXT,
    "correction": _TEXT,
    "reasons": st.lists(_TEXT, max_size=2).map(tuple),
    "flagged": st.booleans(),
}
_VOTES = st.one_of(
    st.fixed_dictionaries({"rating": st.booleans()}),
    st.fixed_dictionaries(
        {"value": st.sampled_from([0.0, 1.0, -2.5])}, optional={"weight": st.sampled_from([0.0, 1.0])}
    ),
    st.fixed_dictionaries(
        {"score": st.sampled_from([0.0, 1.0, 2.0, 4.0]), "scale_min": st.just(0.0), "scale_max": st.just(4.0)},
        optional={"feedback_id": _TEXT, "source": _TEXT},
    ),
)
_SIGNAL = st.sampled_from(["explicit", "explicit", "implicit"])


_REQUESTS = st.sampled_from(["r0", "r1|", "r2"])
_HEAD = {
    "tenant_id": st.just("acme"),
    "request_id": _REQUESTS,
    "event_id": st.sampled_from(["e0", "e1", "e2", "e3"]),
}


def feedback_id(request_id: str, number: int) -> str:
    """One of the ids that a gateway might have given to votes on this request."""
    return packed(murmur2(request_key("acme", request_id)), number, 0)


_IDS = st.builds(feedback_id, _REQUESTS, st.integers(0, 1))


def _votes() -> st.SearchStrategy[FeedbackEvent]:
    head = st.fixed_dictionaries(_HEAD | {"kind": st.just("vote"), "signal": _SIGNAL}, optional=_CONTEXT | _SAID)
    return st.builds(lambda fields, vote: FeedbackEvent(**fields, **vote), head, _VOTES)


def _named(votes: st.SearchStrategy[FeedbackEvent]) -> st.SearchStrategy[FeedbackEvent]:
    """Votes with feedback ids: nearly always of their own request, at times of another."""
    own = st.builds(
        lambda vote, number: replace(vote, feedback_id=feedback_id(vote.request_id, number)), votes, st.integers(0, 1)
    )
    return own | own | own | st.builds(lambda vote, other: replace(vote, feedback_id=other), votes, _IDS)


def _kind(
    kind: str, needed: dict[str, st.SearchStrategy[Any]], optional: dict[str, st.SearchStrategy[Any]]
) -> st.SearchStrategy[FeedbackEvent]:
    fields = st.fixed_dictionaries(_HEAD | {"kind": st.just(kind)} | needed, optional=optional)
    return fields.map(lambda fields: FeedbackEvent(**fields))


def _says_something(event: FeedbackEvent) -> bool:
    written = (event.comment, event.correction, event.reasons, event.tags, event.flagged, event.user_id)
    return bool(event.metadata) or any(value is not None for value in written)


_LIVING = st.one_of(
    _votes(),
    _votes(),
    _kind("retract", {"signal": _SIGNAL}, _CONTEXT),
    _kind("context", {}, _CONTEXT | _SAID).filter(_says_something),
    _kind("correction", {"correction": _TEXT}, _CONTEXT),
    _kind("preference", {"preference": st.just((Candidate("r0", 1.0), Candidate("r2", 0.0)))}, {}),
)
_ERASURES = _kind("erase", {}, {})
_AMENDMENTS = _kind(
    "amend",
    {"request_id": st.just(""), "event_id": st.sampled_from(["e0", "e1", "a0", "a1", "z2", "z3"]), "feedback_id": _IDS},
    {
        "value": st.sampled_from([0.0, 2.0, -1.0]),
        "weight": st.sampled_from([0.0, 0.5]),
        "comment": _TEXT,
        **{name: _CONTEXT[name] for name in ("user_id", "metadata")},
    },
).filter(lambda event: violation(event) is None)


def _timed(events: st.SearchStrategy[FeedbackEvent], times: st.SearchStrategy[Any]) -> st.SearchStrategy[FeedbackEvent]:
    return st.builds(lambda event, time: replace(event, event_time=time), events, times)


# Without erasures in one half: else nearly every history of three requests ends in three stubs.
PAST = st.lists(_timed(_LIVING, _PAST), max_size=14) | st.lists(_timed(_LIVING | _ERASURES, _PAST), max_size=10)
SAFE = st.lists(_timed(_LIVING | _ERASURES, _PAST | _NEAR), max_size=14)  # clocks of any kind, but each event has one
# What a vendor's client does that changes its votes: no times of its own, but for what was replayed.
AMENDED = st.lists(
    _timed(_named(_votes()), st.none() | _PAST)
    | _timed(_AMENDMENTS, st.none() | st.none() | _PAST | _NEAR)
    | _timed(_LIVING | _ERASURES, st.none() | _PAST),
    max_size=16,
)
ANY = st.lists(_timed(_LIVING | _ERASURES, st.none() | _PAST | _NEAR), max_size=16) | AMENDED
VOTES = _timed(_votes(), _PAST)


def log(events: Sequence[FeedbackEvent], spread: int = 3) -> list[tuple[int, FeedbackEvent]]:
    """Events in the order of the log, with the broker's append times."""
    return [(APPENDED + spread * place, event) for place, event in enumerate(events)]
