"""Golden examples: every client must write these bytes, and every release must read them."""

import json
from dataclasses import replace

import pytest

from processors.merge import merge
from schemas.codec import Codec
from schemas.constraints import violation
from schemas.events import Alert, FeedbackEvent, Progress, ResolvedFeedback
from schemas.topics import version_of
from tests.simulators.golden import CLASSES, FOLDER, examples, read

CODEC = Codec()
ALL = [(folder, name) for folder in CLASSES for name in examples(folder)]


@pytest.mark.parametrize(("folder", "name"), ALL)
def test_an_example_is_written_and_read_both_ways(folder: str, name: str) -> None:
    example = examples(folder)[name]
    assert CODEC.decode(example.framed) == example.record
    assert CODEC.encode(example.record) == example.framed
    assert example.says.endswith(".")


def test_every_record_has_examples_and_every_folder_is_a_record() -> None:
    assert {folder.name for folder in FOLDER.iterdir()} == set(CLASSES)
    assert all(len(examples(folder)) >= 2 for folder in CLASSES)


def test_example_events_are_valid() -> None:
    for example in examples("feedback_event").values():
        assert isinstance(example.record, FeedbackEvent)
        assert violation(example.record) is None


def test_the_example_rows_are_what_the_example_events_make() -> None:
    events, rows = examples("feedback_event"), examples("resolved_feedback")
    down, erase = events["thumb_down"].record, events["erase"].record
    assert isinstance(down, FeedbackEvent)
    assert isinstance(erase, FeedbackEvent)
    voted, retracted, erased = (rows[name].record for name in ("voted", "retracted", "erased"))
    assert isinstance(retracted, ResolvedFeedback)
    assert down.event_time is not None
    assert merge(None, down, version_of(1, 41), down.event_time + 90) == voted
    assert merge(retracted, erase, version_of(1, 43), down.event_time + 5_100) == erased


@pytest.mark.parametrize(
    "document",
    [
        {"says": "x.", "record": {"source_partition": 1}},
        {"says": "x.", "record": {}, "framed": "", "more": 1},
        {"says": "x.", "record": {"source_partition": 1, "ofset": 2}, "framed": ""},
        [],
    ],
)
def test_the_loader_rejects_keys_that_are_missing_or_unknown(document: object) -> None:
    with pytest.raises(ValueError, match=r"exactly|no field ofset"):
        read(json.dumps(document), Progress)


def test_alerts_of_before_definitions_are_read_without_one() -> None:
    """A record of the first version: another id, and nothing where the definition stands now."""
    example = examples("alert")["firing"]
    assert isinstance(example.record, Alert)
    first = b"\x00" + (5).to_bytes(4, "big") + example.framed[5 : -len(example.record.definition) - 1]
    assert CODEC.decode(first) == replace(example.record, definition="")
