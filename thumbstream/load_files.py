"""Open a file of events, by its name or a given form: JSON lines or CSV, gzipped or not, or standard input."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from thumbstream.load_records import Plan, RecordError, from_cells, from_object

_FORMS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_LARGEST_CELL = 1 << 20

Line = tuple[int, dict[str, Any] | RecordError]  # number of the record, from 1, and its event or why it is none


def form_of(path: Path, given: str | None) -> str:
    """`jsonl` or `csv`. UsageError when neither name nor option tells."""
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    form = given or (_FORMS.get(suffixes[-1]) if suffixes else None)
    if form is None:
        raise click.UsageError(f"cannot tell the format of {path}: give --format jsonl or --format csv")
    return form


def open_text(path: Path) -> TextIO:
    """The file as text, decompressed; `-` is standard input."""
    if str(path) == "-":
        return io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", newline="")
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), "utf-8-sig", newline="")
    return path.open("r", encoding="utf-8-sig", newline="")


def events(file: TextIO, form: str, plan: Plan) -> Iterator[Line]:
    """Every record's event, or the reason why it is none."""
    return _csv_events(file, plan) if form == "csv" else _json_events(file, plan)


def _csv_events(file: TextIO, plan: Plan) -> Iterator[Line]:
    csv.field_size_limit(_LARGEST_CELL)
    for number, cells in enumerate(csv.DictReader(file), 1):
        named = {column: cell or "" for column, cell in cells.items() if column is not None and not _many(cell)}
        try:
            yield number, from_cells(plan, named)
        except RecordError as error:
            yield number, error


def _many(cell: Any) -> bool:
    return isinstance(cell, list)  # what stands beyond the last named column


def _json_events(file: TextIO, plan: Plan) -> Iterator[Line]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield number, from_object(plan, json.loads(line))
        except RecordError as error:
            yield number, error
        except ValueError as error:
            yield number, RecordError(f"malformed_json: {error}")
