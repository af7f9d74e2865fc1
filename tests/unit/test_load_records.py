"""CSV cells and JSON objects to native events: every rule of mapping, reading, times and ids."""

import json
import re
from typing import Any

import pytest

from thumbstream.load_records import Plan, RecordError, canonical, from_cells, from_object

NOW = 1_790_000_000_000
TIME = 1_780_000_000_000


def plan(mapping: dict[str, str] | None = None, fixed: dict[str, str] | None = None, **options: bool) -> Plan:
    return Plan(
        mapping or {}, fixed or {}, options.get("rest_as_metadata", False), options.get("keep_times", True), NOW
    )


def cells(**values: str) -> dict[str, str]:
    return {"request_id": "r1", "event_time": str(TIME), **values}


def read(**values: str) -> dict[str, Any]:
    """The event of one line, without what every event gets."""
    return {name: value for name, value in from_cells(plan(), cells(**values)).items() if name not in _ALWAYS}


_ALWAYS = ("request_id", "event_time", "event_id")


@pytest.mark.parametrize(
    ("field", "cell", "value"),
    [
        ("rating", "true", True), ("rating", "up", True), ("rating", "positive", True), ("rating", "Thumbs_Up", True),
        ("rating", "false", False), ("rating", "down", False), ("rating", "NEGATIVE", False),
        ("rating", " down ", False), ("rating", "thumbs_down", False),
        ("value", "-1", -1), ("value", "0.5", 0.5), ("score", "4", 4), ("weight", "0.25", 0.25),
        ("scale", "[1, 5]", [1, 5]), ("comment", "1", "1"), ("correction", "true", "true"), ("user_id", "007", "007"),
        ("reasons", "wrong, too long", ["wrong", "too long"]), ("tags", '["a,b", "c"]', ["a,b", "c"]),
        ("flagged", "yes", True), ("flagged", "0", False), ("flagged", "FALSE", False), ("kind", "retract", "retract"),
        ("signal", "implicit", "implicit"), ("metadata", '{"model": "m", "n": 1}', {"model": "m", "n": 1}),
        ("preference", '[{"request_id": "a", "rating": 1}]', [{"request_id": "a", "rating": 1}]),
    ],
)  # fmt: skip
def test_a_cell_becomes_what_its_field_holds(field: str, cell: str, value: object) -> None:
    assert read(**{field: cell}) == {field: value}
    assert type(read(**{field: cell})[field]) is type(value)


@pytest.mark.parametrize(("cell", "value"), [("1", 1), ("-1", -1), ("0", 0), ("0.5", 0.5)])
def test_a_number_in_rating_is_a_value_for_a_thumb_is_true_or_false(cell: str, value: float) -> None:
    assert read(rating=cell) == {"value": value}


@pytest.mark.parametrize(
    ("field", "cell"),
    [
        ("rating", "maybe"), ("value", "many"), ("score", "four"), ("weight", "heavy"), ("scale", "1-5"),
        ("flagged", "perhaps"), ("metadata", "{"), ("preference", "["), ("reasons", "[1,"), ("event_time", "--5"),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_read_is_refused_with_reason_and_field(field: str, cell: str) -> None:
    with pytest.raises(RecordError, match=rf"^wrong_type: {field}: "):
        from_cells(plan(), cells(**{field: cell}))


def test_an_empty_cell_is_absent_and_a_zero_is_not() -> None:
    assert read(comment="", user_id="", value="0") == {"value": 0}


def test_columns_that_name_no_field_are_left_out_or_become_metadata() -> None:
    line = cells(rating="up", colour="red", shape="")
    assert "metadata" not in from_cells(plan(), line)
    assert from_cells(plan(rest_as_metadata=True), line)["metadata"] == {"colour": "red"}


def test_rest_as_metadata_adds_to_metadata_that_is_there() -> None:
    line = cells(metadata='{"a": 1}', colour="red")
    assert from_cells(plan(rest_as_metadata=True), line)["metadata"] == {"a": 1, "colour": "red"}


def test_a_mapped_column_takes_the_place_of_the_one_named_like_the_field() -> None:
    mapping = {"comment": "note", "metadata.model": "bot", "metadata.team": "comment"}
    event = from_cells(plan(mapping), cells(note="bad", bot="atlas", comment="blue"))
    assert event["comment"] == "bad"
    assert event["metadata"] == {"model": "atlas", "team": "blue"}


def test_one_column_may_feed_two_fields() -> None:
    mapping = {"request_id": "id", "metadata.ticket": "id"}
    for event in (from_cells(plan(mapping), {"id": "t1"}), from_object(plan(mapping), {"id": "t1"})):
        assert (event["request_id"], event["metadata"]) == ("t1", {"ticket": "t1"})


def test_a_mapped_column_that_is_not_there_is_named() -> None:
    with pytest.raises(RecordError, match=r"^missing: no column note$"):
        from_cells(plan({"comment": "note"}), cells(rating="up"))


def test_fixed_fields_win_and_are_read_like_cells() -> None:
    fixed = {"rating": "down", "metadata.app": "web", "tags": "a,b"}
    event = from_cells(plan(fixed=fixed), cells(rating="up"))
    assert (event["rating"], event["metadata"], event["tags"]) == (False, {"app": "web"}, ["a", "b"])


@pytest.mark.parametrize(("cell", "time"), [(str(TIME), TIME), ("2026-05-28T21:33:20Z", "2026-05-28T21:33:20Z")])
def test_times_are_kept_as_milliseconds_or_as_text(cell: str, time: object) -> None:
    assert from_cells(plan(), cells(event_time=cell))["event_time"] == time


def test_a_record_without_a_time_and_every_record_on_request_gets_the_time_of_the_load() -> None:
    assert from_cells(plan(), {"request_id": "r1", "event_time": ""})["event_time"] == NOW
    assert from_cells(plan(keep_times=False), cells())["event_time"] == NOW


def test_the_id_follows_from_the_content_and_only_from_it() -> None:
    first = from_cells(plan(), cells(rating="up"))
    assert re.fullmatch(r"load-[0-9a-f]{24}", first["event_id"])
    assert from_cells(plan(), cells(rating="up")) == first
    reversed_line = dict(reversed(cells(rating="up").items()))
    assert from_cells(plan(), reversed_line)["event_id"] == first["event_id"]
    assert from_cells(plan(), cells(rating="down"))["event_id"] != first["event_id"]
    record = {"metadata": {"b": 1, "a": 2}, "rating": True, "event_time": TIME, "request_id": "r1"}
    other_order = {"request_id": "r1", "event_time": TIME, "rating": True, "metadata": {"a": 2, "b": 1}}
    assert from_object(plan(), record)["event_id"] == from_object(plan(), other_order)["event_id"]
    assert (
        from_object(plan(), {"request_id": "r1", "event_time": TIME, "rating": True})["event_id"] == first["event_id"]
    )


def test_an_id_that_is_given_is_kept() -> None:
    assert from_cells(plan(), cells(event_id="mine"))["event_id"] == "mine"


def test_canonical_text_leaves_null_out_and_keeps_nested_null() -> None:
    assert canonical({"b": None, "a": {"x": None}}) == '{"a":{"x":null}}'


def test_an_object_keeps_its_own_fields_for_the_gateway_to_judge() -> None:
    event = from_object(plan(), {"request_id": "r1", "event_time": TIME, "rating": "up", "colour": "red"})
    assert (event["rating"], event["colour"]) == ("up", "red")


def test_an_objects_mapped_names_leave_their_old_place() -> None:
    record = {"id": "r1", "bot": {"name": "atlas"}, "rating": True}
    event = from_object(plan({"request_id": "id", "metadata.model": "bot"}), record)
    assert event["metadata"] == {"model": {"name": "atlas"}}
    assert "id" not in event
    assert "bot" not in event


def test_an_objects_rest_becomes_metadata_and_the_record_is_not_changed() -> None:
    record = {"request_id": "r1", "metadata": {"a": 1}, "colour": "red"}
    before = json.dumps(record)
    assert from_object(plan(rest_as_metadata=True), record)["metadata"] == {"a": 1, "colour": "red"}
    assert json.dumps(record) == before


@pytest.mark.parametrize("record", [[], "text", 1, None])
def test_a_value_that_is_no_object_is_refused(record: object) -> None:
    with pytest.raises(RecordError, match=r"^not_an_object: "):
        from_object(plan(), record)


def test_metadata_that_is_null_can_be_added_to_and_any_other_value_cannot() -> None:
    added = plan(fixed={"metadata.app": "web"})
    assert from_object(added, {"request_id": "r1", "metadata": None})["metadata"] == {"app": "web"}
    with pytest.raises(RecordError, match=r"^wrong_type: metadata"):
        from_object(added, {"request_id": "r1", "metadata": "web"})
