"""`thumbstream load`: a file of events to the gateway, in batches, until every one is acknowledged or refused."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from schemas.constraints import MAX_EVENT_BYTES
from thumbstream import target
from thumbstream.load_files import Line, events, form_of, open_text
from thumbstream.load_records import FIELDS, Plan, RecordError
from thumbstream.posting import GaveUpError, Poster

_PARALLEL = 4
_BODY_BYTES = 900_000  # of the gateway's 1 MiB

Numbered = tuple[int, dict[str, Any], bytes]  # number of the record, its event, and that as JSON


@dataclass(slots=True)
class Tally:
    """What became of the records."""

    accepted: int = 0
    refused: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


def run(
    file: Path,
    form: str | None,
    mapping: tuple[str, ...],
    fixed: tuple[str, ...],
    rest_as_metadata: bool,
    keep_times: bool,
    batch: int,
    rejects: Path | None,
    ready_file: Path | None,
    url: str | None,
    api_key: str | None,
) -> int:
    """Load and say what happened; 1 if anything was refused or the gateway stayed away, else 0."""
    plan = Plan(pairs(mapping), pairs(fixed), rest_as_metadata, keep_times, time.time_ns() // 1_000_000)
    gateway, chosen, tally = target.find(url, api_key, ready_file), form_of(file, form), Tally()
    began = time.monotonic()
    with open_text(file) as source, Poster(gateway) as poster, _Rejects(rejects) as refused, _bar() as bar:
        task = bar.add_task("loading", total=None)
        lines = events(source, chosen, plan)
        try:
            for done in _results(poster, lines, batch, refused, tally):
                bar.update(task, completed=done, description=f"loading {done:,} events")
        except GaveUpError as error:
            raise click.ClickException(f"{error}; load the file again, that is harmless") from error
    seconds = time.monotonic() - began
    click.echo(f"{tally.accepted:,} accepted, {tally.refused:,} refused in {seconds:.1f} s")
    for reason, count in sorted(tally.reasons.items()):
        click.echo(f"  {count:,} {reason}", err=True)
    return 1 if tally.refused else 0


def pairs(texts: tuple[str, ...]) -> dict[str, str]:
    """`FIELD=...` options as a mapping. UsageError for a field that is none."""
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or (name not in FIELDS and not name.startswith("metadata.")):
            raise click.UsageError(
                f"{text!r}: write FIELD=..., where FIELD is metadata.KEY or one of {', '.join(FIELDS)}"
            )
        found[name] = value
    return found


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


class _Rejects:
    """Where refused records are written, if anywhere."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._file = path, None if path is None else path.open("w", encoding="utf-8")

    def __enter__(self) -> _Rejects:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, number: int, event: dict[str, Any] | None, why: Any) -> None:
        """One refused record."""
        if self._file is not None:
            _write_line(self._file, {"record": number, "event": event, "error": why})


def _write_line(file: TextIO, content: dict[str, Any]) -> None:
    file.write(json.dumps(content, ensure_ascii=False) + "\n")


def _results(poster: Poster, lines: Iterable[Line], size: int, rejects: _Rejects, tally: Tally) -> Iterator[int]:
    """Post batches, a few at a time; yields how many records are done."""
    batches = _batches(_readable(lines, rejects, tally), size)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        while group := list(itertools.islice(batches, _PARALLEL)):
            replies = pool.map(lambda batch: poster.post([encoded for _, _, encoded in batch]), group)
            for batch, reply in zip(group, replies, strict=True):
                _count(batch, reply, rejects, tally)
            yield tally.accepted + tally.refused


def _readable(lines: Iterable[Line], rejects: _Rejects, tally: Tally) -> Iterator[Numbered]:
    for number, event in lines:
        try:
            if isinstance(event, RecordError):
                raise event
            yield number, event, _encoded(event)
        except RecordError as error:
            _refuse(tally, str(error).partition(":")[0])
            rejects.write(number, None, str(error))


def _encoded(event: dict[str, Any]) -> bytes:
    try:
        encoded = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:  # NaN, infinities and lone surrogates are no JSON
        raise RecordError(f"malformed_json: {error}") from error
    if len(encoded) > MAX_EVENT_BYTES:  # the gateway would refuse its whole batch
        raise RecordError(f"too_long: an event must be at most {MAX_EVENT_BYTES} bytes")
    return encoded


def _batches(numbered: Iterable[Numbered], size: int) -> Iterator[list[Numbered]]:
    """Batches within the gateway's limits of events and bytes."""
    batch: list[Numbered] = []
    held = 0
    for one in numbered:
        length = len(one[2]) + 1
        if batch and (len(batch) == size or held + length > _BODY_BYTES):
            yield batch
            batch, held = [], 0
        batch.append(one)
        held += length
    if batch:
        yield batch


def _count(batch: list[Numbered], reply: dict[str, Any], rejects: _Rejects, tally: Tally) -> None:
    errors = {error["index"]: error for error in reply["errors"]}
    tally.accepted += len(batch) - len(errors)
    for index, error in errors.items():
        _refuse(tally, error["reason"])
        number, event, _ = batch[index]
        rejects.write(number, event, error)


def _refuse(tally: Tally, reason: str) -> None:
    tally.refused += 1
    tally.reasons[reason] = tally.reasons.get(reason, 0) + 1
