"""Committed schema ids: every message ever written names one, so none may change."""

import json
from dataclasses import fields
from importlib import resources
from pathlib import Path

import pytest

from schemas import events
from schemas.registry import FileRegistry, current

REGISTRY = FileRegistry()
RECORDS = sorted({entry.record for entry in REGISTRY.entries})


def test_ids_and_versions_are_unique() -> None:
    assert len({entry.id for entry in REGISTRY.entries}) == len(REGISTRY.entries)
    assert len({(entry.record, entry.version) for entry in REGISTRY.entries}) == len(REGISTRY.entries)


def test_the_first_ids_stay_what_they_are() -> None:
    first = {entry.record: entry.id for entry in REGISTRY.entries if entry.version == 1}
    assert first == {
        "FeedbackEvent": 1, "ResolvedFeedback": 2, "MinuteCount": 3, "Progress": 4, "Alert": 5, "DeadLetter": 6,
        "MonitorSet": 8,
    }  # fmt: skip


@pytest.mark.parametrize("record", RECORDS)
def test_versions_count_up_and_the_last_is_what_this_release_writes(record: str) -> None:
    versions = [entry.version for entry in REGISTRY.entries if entry.record == record]
    assert versions == list(range(1, len(versions) + 1))
    assert REGISTRY.latest(record).schema == current(record)


@pytest.mark.parametrize("record", RECORDS)
def test_a_schema_has_the_fields_of_its_class_in_their_order(record: str) -> None:
    names = [item.name for item in fields(getattr(events, record))]
    assert [field["name"] for field in current(record)["fields"]] == names


def test_every_file_of_the_history_is_named_once() -> None:
    folder = resources.files("schemas") / "history"
    listed = [entry["file"] for entry in json.loads((folder / "ids.json").read_text("utf-8"))]
    assert sorted(listed) == sorted(file.name for file in folder.iterdir() if file.name.endswith(".avsc"))


def test_an_unknown_record_is_an_error() -> None:
    with pytest.raises(KeyError, match="Nobody"):
        REGISTRY.latest("Nobody")


def test_the_newest_version_is_found_whatever_the_order_of_the_list(tmp_path: Path) -> None:
    for version in (1, 2, 10):
        (tmp_path / f"p.{version}.avsc").write_text(json.dumps({"type": "record", "name": "P", "v": version}))
    listed = [{"id": 90 - v, "record": "P", "version": v, "file": f"p.{v}.avsc"} for v in (10, 1, 2)]
    (tmp_path / "ids.json").write_text(json.dumps(listed))
    assert FileRegistry(tmp_path).latest("P").schema["v"] == 10


def test_a_file_that_holds_no_record_schema_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.avsc").write_text("[]")
    (tmp_path / "ids.json").write_text('[{"id": 1, "record": "X", "version": 1, "file": "x.avsc"}]')
    with pytest.raises(TypeError, match=r"x\.avsc"):
        FileRegistry(tmp_path).latest("X")
