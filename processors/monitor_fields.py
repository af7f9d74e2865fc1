"""The fields of a monitor in monitors.toml: what each may hold, and how it is written back. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from processors.monitors import KINDS, PRESETS, SEVERITIES, TENANT, Where
from schemas.events import PROMOTED

_MINUTES = {"m": 1, "h": 60, "d": 1440}
_DURATION = re.compile(r"(\d{1,6})([mhd])")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MOST_VOTES = 1_000_000


class FieldError(ValueError):
    """A value that a field cannot hold; the message says what it may."""


@dataclass(frozen=True, slots=True)
class FileField:
    """A field of the file: the argument of Monitor it becomes, its reader, its writer, one sentence."""

    argument: str
    read: Callable[[Any], Any]
    sentence: str
    write: Callable[[Any], Any] = lambda value: value


def minutes(text: Any) -> int:
    """`15m`, `6h` or `2d` in minutes. Raises FieldError."""
    found = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise FieldError(f'must be a text as "15m", "6h" or "2d", is {text!r}')
    return int(found[1]) * _MINUTES[found[2]]


def duration(length: int) -> str:
    """Minutes in the largest unit that fits, days only from two on: `90m`, `24h`, `2d`."""
    fits = [unit for unit in ("d", "h", "m") if length and length % _MINUTES[unit] == 0]
    unit = next((unit for unit in fits if length > _MINUTES["d"] or unit != "d"), "m")
    return f"{length // _MINUTES[unit]}{unit}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise FieldError(f"must be 1 to 100 letters, digits or ._-, and begin with a letter or digit, is {value!r}")
    return value


def _one_of(allowed: tuple[str, ...]) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise FieldError(f"must be one of {', '.join(allowed)}, is {value!r}")
        return str(value)

    return read


def _number(value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
        raise FieldError(f"must be a number above {low:g} and below {high:g}, is {value!r}")
    return float(value)


def _share(value: Any) -> float:
    return _number(value, 0, 1)


def _preset(value: Any) -> float:
    if isinstance(value, str):
        return PRESETS[_one_of(tuple(PRESETS))(value)]
    return _number(value, 0, 10)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_VOTES:
        raise FieldError(f"must be a whole number from 1 to {_MOST_VOTES}, is {value!r}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise FieldError(f"must be a list, is {value!r}")
    if len({repr(item) for item in value}) != len(value):
        raise FieldError(f"names something twice: {value!r}")
    return value


def _rollup(value: Any) -> tuple[str, ...]:
    """In a fixed order: groups by model and app are the same groups as those by app and model."""
    unknown = [name for name in _list(value) if name not in PROMOTED]
    if unknown:
        raise FieldError(f"{unknown[0]!r} is no dimension; there are {', '.join(PROMOTED)}")
    return tuple(name for name in PROMOTED if name in value)


def _windows(value: Any) -> tuple[int, ...]:
    found = tuple(sorted(minutes(item) for item in _list(value)))
    if not found or found[0] < 1:
        raise FieldError("must name one window or more, of one minute or more")
    return found


def _where(value: Any) -> Where:
    if not isinstance(value, dict):
        raise FieldError('must be a table as { model = "atlas-2" }')
    for name in value:
        if name not in (*PROMOTED, TENANT):
            raise FieldError(f"{name!r} is no dimension; there are {', '.join((TENANT, *PROMOTED))}")
    return tuple((name, _values(name, value[name])) for name in sorted(value))


def _values(name: str, given: Any) -> tuple[str, ...]:
    values = given if isinstance(given, list) else [given]
    if not values or not all(isinstance(item, str) and item for item in values):
        raise FieldError(f"{name} must be a text or a list of texts, is {given!r}")
    return tuple(sorted(set(values)))


def _names(value: Any) -> tuple[str, ...]:
    return tuple(_text(item) for item in _list(value))


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise FieldError(f"must be true or false, is {value!r}")
    return value


def _written(where: Where) -> dict[str, list[str]]:
    return {name: list(values) for name, values in where}


def _durations(windows: tuple[int, ...]) -> list[str]:
    return [duration(window) for window in windows]


FIELDS = {
    "name": FileField("name", _text, "required; part of an alert's identity"),
    "kind": FileField("kind", _one_of(KINDS), "`threshold` (default) or `simple`"),
    "by": FileField("rollup", _rollup, "dimensions whose values make the groups; `[]` (default): the tenant", list),
    "threshold": FileField("threshold", _share, "share of negatives among votes, default 0.2"),
    "preset": FileField("z", _preset, "`sensitive`, `standard` (default) or `strict`; only `threshold`"),
    "z": FileField("z", _preset, "standard deviations instead of a preset; only `threshold`"),
    "windows": FileField(
        "windows", _windows, 'default `["15m", "1h", "6h", "24h"]`; `simple` has one, `["1h"]`', _durations
    ),
    "min_votes": FileField("min_votes", _count, "votes that a window must hold, default 10"),
    "for": FileField("wait", minutes, 'how long the rate must be above, default `"0m"`; only `simple`', duration),
    "clear_below": FileField(
        "clear_below", _share, "an alert stays while the rate is above this, default: the threshold; only `simple`"
    ),
    "hold": FileField(
        "hold", minutes, 'an alert ends so long after it last stayed, default `"30m"`, for `simple` `"0m"`', duration
    ),
    "least_recent": FileField(
        "least_recent", _count, "the last sixth of a window has so many minutes at least, default 5; only `threshold`"
    ),
    "recovery_votes": FileField(
        "recovery_votes", _count, "so many votes there can show recovery, default 5; only `threshold`"
    ),
    "where": FileField(
        "where", _where, 'only these groups, as `{ model = ["a", "b"] }`; dimensions of `by`, and `tenant`', _written
    ),
    "severity": FileField("severity", _one_of(SEVERITIES), "`info`, `warning` (default) or `critical`"),
    "receivers": FileField("receivers", _names, "names of receivers that alerts go to, default `[]`", list),
    "enabled": FileField("enabled", _flag, "default true"),
}
