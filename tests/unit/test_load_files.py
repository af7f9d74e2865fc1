"""Files of events: form, compression, and records that are none."""

import gzip
import io
from pathlib import Path
from typing import Any

import click
import pytest

from thumbstream.load_files import events, form_of, open_text
from thumbstream.load_records import Plan, RecordError

PLAN = Plan({}, {}, rest_as_metadata=False, keep_times=True, now=1_790_000_000_000)


def read(text: str, form: str, plan: Plan = PLAN) -> list[tuple[int, Any]]:
    return list(events(io.StringIO(text, newline=""), form, plan))


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.csv", "csv"), ("a.csv.gz", "csv"), ("a.jsonl", "jsonl"), ("a.ndjson.gz", "jsonl"), ("a.2026.csv", "csv")],
)
def test_the_name_tells_the_form(name: str, form: str) -> None:
    assert form_of(Path(name), None) == form


@pytest.mark.parametrize("name", ["-", "votes", "votes.gz", "votes.txt"])
def test_a_name_that_does_not_tell_needs_the_option(name: str) -> None:
    assert form_of(Path(name), "csv") == "csv"
    with pytest.raises(click.UsageError, match="--format"):
        form_of(Path(name), None)


@pytest.mark.parametrize("name", ["votes.csv", "votes.csv.gz"])
def test_a_file_is_decompressed_and_its_byte_order_mark_is_no_part_of_the_first_column(
    tmp_path: Path, name: str
) -> None:
    text = "\ufeffrequest_id,comment\r\nr1,größer\r\n".encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    with open_text(tmp_path / name) as file:
        [(number, event)] = events(file, "csv", PLAN)
    assert isinstance(event, dict)
    assert (number, event["request_id"], event["comment"]) == (1, "r1", "größer")


def test_a_file_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match=r"cannot open .*none\.csv: No such file"):
        open_text(tmp_path / "none.csv")


def test_quoted_cells_hold_commas_quotes_and_line_breaks() -> None:
    [(_, event)] = read('request_id,comment\nr1,"a, ""b""\nc"\n', "csv")
    assert event["comment"] == 'a, "b"\nc'


def test_short_lines_have_empty_cells_and_what_stands_beyond_the_columns_is_left_out() -> None:
    short, long = (event for _, event in read("request_id,comment\nr1\nr2,good,x,y\n", "csv"))
    assert "comment" not in short
    assert long["comment"] == "good"


def test_a_bad_line_does_not_stop_the_others() -> None:
    first, second = read("request_id,rating\nr1,maybe\nr2,up\n", "csv")
    assert isinstance(first[1], RecordError)
    assert second[1]["rating"] is True


def test_json_lines_are_counted_by_their_place_in_the_file() -> None:
    found = read('{"request_id": "r1"}\n\n[]\n{"request_id": "r2"\n{"request_id": "r3"}\n', "jsonl")
    assert [number for number, _ in found] == [1, 3, 4, 5]
    assert [str(event).partition(":")[0] for _, event in found[1:3]] == ["not_an_object", "malformed_json"]


@pytest.mark.parametrize("line", ["[" * 200_000, '{"request_id": "\\ud800"}'])
def test_what_no_reader_can_take_is_malformed(line: str) -> None:
    [(_, event)] = read(line + "\n", "jsonl")
    assert str(event).startswith("malformed_json: ")


def test_half_a_surrogate_pair_in_a_cell_is_malformed() -> None:
    [(_, event)] = read('request_id,tags\nr1,"[""\\ud800""]"\n', "csv")
    assert str(event).startswith("malformed_json: ")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("cut.csv.gz", gzip.compress(b"request_id\n" + b"r1\n" * 9_000, mtime=0)[:-20]),
        ("latin.csv", "request_id,comment\nr1,größer\n".encode("latin-1")),
        ("huge.csv", b"request_id,comment\nr1," + b"x" * (1 << 21) + b"\n"),
        ("none.csv.gz", b"request_id\nr1\n"),
    ],
)
def test_a_file_that_cannot_be_read_on_ends_with_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with open_text(tmp_path / name) as file, pytest.raises(click.ClickException, match="cannot read on after record"):
        list(events(file, "csv", PLAN))
