"""Generated records of every kind, for laws of the codec."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

import hypothesis.strategies as st

from schemas.events import (
    KINDS,
    SIGNALS,
    Alert,
    Candidate,
    DeadLetter,
    FeedbackEvent,
    MinuteCount,
    Progress,
    Record,
    ResolvedFeedback,
    Stamp,
    Vote,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
LONG = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
INT = st.integers(-(2**31), 2**31 - 1)
FLOAT = st.floats(allow_nan=False)
_INTS = {"polarity", "source_partition", "source_partitions", "window_minutes", "partition"}  # 32 bits in the schema
_BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXT,
    "int": LONG,
    "float": FLOAT,
    "bool": st.booleans(),
    "bytes": st.binary(max_size=6),
    "tuple[str, ...]": st.lists(TEXT, max_size=3).map(tuple),
    "Mapping[str, str]": st.dictionaries(TEXT, TEXT, max_size=3),
    "Mapping[str, str | None]": st.dictionaries(TEXT, st.none() | TEXT, max_size=3),
    "Mapping[str, int]": st.dictionaries(TEXT, INT, max_size=3),
    "Mapping[str, bytes]": st.dictionaries(TEXT, st.binary(max_size=6), max_size=3),
}


def _of(cls: type[Any]) -> st.SearchStrategy[Any]:
    assert get_type_hints(cls)  # every annotation resolves
    return st.builds(cls, **{item.name: _field(item.name, str(item.type)) for item in fields(cls)})


def _field(name: str, kind: str) -> st.SearchStrategy[Any]:
    if name in ("kind", "signal"):
        return st.sampled_from(KINDS if name == "kind" else SIGNALS) | TEXT
    bare = kind.removesuffix(" | None")
    found = INT if name in _INTS else _BY_TYPE[bare]
    return found if bare == kind else st.none() | found


_BY_TYPE["Vote"] = _of(Vote)
_BY_TYPE["tuple[Candidate, ...]"] = st.lists(_of(Candidate), max_size=3).map(tuple)
_BY_TYPE["tuple[Stamp, ...]"] = st.lists(_of(Stamp), max_size=3).map(tuple)

CLASSES: tuple[type[Any], ...] = (FeedbackEvent, ResolvedFeedback, MinuteCount, Progress, Alert, DeadLetter)
RECORDS: dict[str, st.SearchStrategy[Record]] = {cls.__name__: _of(cls) for cls in CLASSES}
ANY_RECORD: st.SearchStrategy[Record] = st.one_of(list(RECORDS.values()))
