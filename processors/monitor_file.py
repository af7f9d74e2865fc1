"""monitors.toml to monitors, or to everything that is wrong with it: line, monitor, field, reason. Pure.

The same form as JSON travels in the log, so that what one worker accepted means the same to every other.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from processors.monitor_fields import FIELDS, FieldError
from processors.monitors import PRESETS, TENANT, Monitor
from schemas.events import MonitorSet

MAX_REACH = 7 * 1440  # minutes of a window with its hold and wait; a day less than minutes are kept
_SIMPLE_ONLY, _THRESHOLD_ONLY = ("for", "clear_below"), ("preset", "z", "least_recent", "recovery_votes")
_SIMPLE_DEFAULTS = {"windows": (60,), "hold": 0}
_HEADER = re.compile(r"\s*\[\[\s*[\"']?monitor[\"']?\s*\]\]")
_TOML_PLACE = re.compile(r"^(.*) \(at line (\d+), column \d+\)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `line` counts from 1; 0 where none can be named."""

    line: int
    monitor: str
    field: str
    reason: str

    def __str__(self) -> str:
        parts = (f"monitor {self.monitor}" if self.monitor else "", self.field, self.reason)
        return ": ".join(part for part in parts if part)


class MonitorsError(ValueError):
    """A file that is refused as a whole; `faults` says why, in the order of lines."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__("; ".join(f"line {fault.line}: {fault}" for fault in self.faults))


def parse(text: str) -> tuple[Monitor, ...]:
    """The monitors of a TOML text, in its order. Raises MonitorsError with everything that is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.match(str(error))
        reason, line = (place[1], int(place[2])) if place else (str(error), text.count("\n") + 1)
        raise MonitorsError([Fault(line, "", "", f"not TOML: {reason}")]) from error
    return read(document, _Lines(text).of)


Locate = Callable[[int, str], int]  # (number of the monitor, or -1; field) -> line


def read(document: Mapping[str, Any], locate: Locate = lambda _number, _field: 0) -> tuple[Monitor, ...]:
    """The monitors of a document that is parsed already. Raises MonitorsError."""
    faults = [Fault(locate(-1, name), "", name, "unknown: write [[monitor]]") for name in document if name != "monitor"]
    tables = document.get("monitor", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise MonitorsError([*faults, Fault(locate(-1, "monitor"), "", "monitor", "must be tables: write [[monitor]]")])
    if not tables:
        faults.append(Fault(1, "", "", "no [[monitor]] in it; to watch nothing, set enabled = false"))
    found, names = list[Monitor](), set[str]()
    for number, table in enumerate(tables):
        name = table["name"] if isinstance(table.get("name"), str) else f"number {number + 1}"
        made, wrong = _monitor(table)
        if name in names:
            wrong = [*wrong, ("name", "another monitor has this name already")]
        names.add(name)
        faults += [Fault(locate(number, field), name, field, reason) for field, reason in wrong]
        if made is not None:
            found.append(made)
    if faults:
        raise MonitorsError(faults)
    return tuple(found)


Wrong = list[tuple[str, str]]  # field and reason


def _monitor(table: Mapping[str, Any]) -> tuple[Monitor | None, Wrong]:
    values, wrong = _fields(table)
    kind = values.get("kind", "threshold")
    wrong += [(name, f"unknown for kind {kind}") for name in _foreign(kind) if name in table]
    if "name" not in table:
        wrong.append(("name", "missing"))
    if "preset" in table and "z" in table:
        wrong.append(("z", "give preset or z, not both"))
    if wrong:
        return None, wrong
    if kind == "simple":
        values = {**_SIMPLE_DEFAULTS, **values}
    monitor = Monitor(rollup=values.pop("rollup", ()), **values)
    wrong = list(_contradictions(monitor))
    return (None if wrong else monitor), wrong


def _foreign(kind: str) -> tuple[str, ...]:
    return _THRESHOLD_ONLY if kind == "simple" else _SIMPLE_ONLY


def _fields(table: Mapping[str, Any]) -> tuple[dict[str, Any], Wrong]:
    """(arguments of Monitor, what is wrong with single fields)."""
    values: dict[str, Any] = {}
    wrong: Wrong = []
    for name, given in table.items():
        field = FIELDS.get(name)
        if field is None:
            wrong.append((name, f"unknown; known are {', '.join(FIELDS)}"))
            continue
        try:
            values[field.argument] = field.read(given)
        except FieldError as error:
            wrong.append((name, str(error)))
    return values, wrong


def _contradictions(monitor: Monitor) -> Iterator[tuple[str, str]]:
    if monitor.kind == "simple" and len(monitor.windows) != 1:
        yield "windows", "kind simple looks at exactly one window"
    if monitor.clear_below is not None and monitor.clear_below > monitor.threshold:
        yield "clear_below", f"must not be above the threshold {monitor.threshold:g}"
    if monitor.reach > MAX_REACH:
        longest = "the longest window (or least_recent) with hold and for"
        yield "windows", f"{longest} may take {MAX_REACH // 1440} days at most"
    for name, _values in monitor.where:
        if name != TENANT and name not in monitor.rollup:
            yield "where", f"{name} is not in by: only what the monitor groups by can be filtered, and {TENANT}"


class _Lines:
    """Where things stand in a TOML text. The parser keeps no places, so headers and keys are looked for."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self._headers = [number for number, line in enumerate(self._lines) if _HEADER.match(line)]

    def of(self, monitor: int, field: str) -> int:
        """The line of `field` in the monitor (-1: of the file), or that of its header, or 1."""
        if monitor < 0:
            begin, end = 0, len(self._lines)
        elif monitor < len(self._headers):
            begin, end = self._headers[monitor], [*self._headers, len(self._lines)][monitor + 1]
        else:
            return 1
        name = re.escape(field)
        asked = re.compile(rf"\s*(\[+\s*)?([\w\"']+\s*\.\s*)?[\"']?{name}[\"']?\s*[=.\]]")
        return next((number for number in range(begin, end) if asked.match(self._lines[number])), begin) + 1


def canonical(monitors: Sequence[Monitor]) -> str:
    """The monitors as JSON that does not depend on how the file was written; `read` takes it back."""
    tables = [{name: field.write(getattr(one, field.argument)) for name, field in _written(one)} for one in monitors]
    return json.dumps({"monitor": tables}, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _written(monitor: Monitor) -> Iterator[tuple[str, Any]]:
    for name, field in FIELDS.items():
        absent = getattr(monitor, field.argument) is None or name == "preset"
        if not absent and name not in _foreign(monitor.kind):
            yield name, field


def monitor_set(monitors: Sequence[Monitor]) -> MonitorSet:
    """The record that puts `monitors` in force."""
    content = canonical(monitors)
    return MonitorSet(hashlib.sha256(content.encode()).hexdigest(), content)


def monitors_in(record: MonitorSet) -> tuple[Monitor, ...] | None:
    """The monitors that a record puts in force; None for one that cannot be read, which changes nothing."""
    try:
        document = json.loads(record.content)
        return read(document) if isinstance(document, dict) else None
    except ValueError:
        return None


def hash_number(record: MonitorSet) -> int:
    """The first 12 hex digits of the hash as a number, which a gauge can show."""
    return int(record.hash[:12], 16)


def preset_name(monitor: Monitor) -> str:
    """The name of its z, or the number."""
    return next((name for name, z in PRESETS.items() if z == monitor.z), f"{monitor.z:g}")
