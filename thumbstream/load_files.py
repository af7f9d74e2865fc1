"""Open a file of events, by its name or a given form: JSON lines or CSV, gzipped or not, or standard input."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
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
    """The file as text, decompressed; `-` is standard input. UsageError for a file that cannot be opened."""
    if str(path) == "-":
        return io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", newline="")
    try:
        if path.suffix == ".gz":
            return io.TextIOWrapper(gzip.open(path), "utf-8-sig", newline="")
        return path.open("r", encoding="utf-8-sig", newline="")
    except OSError as error:
        raise click.UsageError(f"cannot open {path}: {error.strerror}") from error


def events(file: TextIO, form: str, plan: Plan) -> Iterator[Line]:
    """Every record's event, or the reason why it is none. ClickException when the file cannot be read further."""
    number = 0
    try:
        for number, event in _csv_events(file, plan) if form == "csv" else _json_events(file, plan):
            yield number, event
    except (csv.Error, UnicodeDecodeError, EOFError, OSError, zlib.error) as error:
        raise click.ClickException(f"cannot read on after record {number}: {error}") from error


def _csv_events(file: TextIO, plan: Plan) -> Iterator[Line]:
    csv.field_size_limit(_LARGEST_CELL)
    for number, cells in enumerate(csv.DictReader(file), 1):
        named = {column: cell or "" for column, cell in cells.items() if column is not None and not _many(cell)}
        yield number, _made(partial(from_cells, plan, named))


def _many(cell: Any) -> bool:
    return isinstance(cell, list)  # what stands beyond the last named column


def _json_events(file: TextIO, plan: Plan) -> Iterator[Line]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        yield number, _made(partial(_from_line, plan, line))


def _from_line(plan: Plan, line: str) -> dict[str, Any]:
    return from_object(plan, json.loads(line))


def _made(make: Callable[[], dict[str, Any]]) -> dict[str, Any] | RecordError:
    try:
        return make()
    except RecordError as error:
        return error
    except (ValueError, RecursionError) as error:  # no JSON, or half a surrogate pair, or too deep to read
        return RecordError(f"malformed_json: {error}")
