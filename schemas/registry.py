"""Schema ids without a service: `history/ids.json` names every schema ever used and is committed beside them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Registered:
    """One version of one record's schema, under the id that stands in every message written with it."""

    id: int
    record: str
    version: int
    schema: Schema


class FileRegistry:
    """The committed registry. `folder` holds `ids.json` and the files it names."""

    def __init__(self, folder: Traversable | None = None) -> None:
        self._folder = folder or resources.files("schemas") / "history"

    @cached_property
    def entries(self) -> tuple[Registered, ...]:
        """All versions of all records, oldest first."""
        listed = json.loads((self._folder / "ids.json").read_text("utf-8"))
        return tuple(
            Registered(entry["id"], entry["record"], entry["version"], _parse(self._folder / entry["file"]))
            for entry in sorted(listed, key=lambda entry: (entry["record"], entry["version"]))
        )

    def latest(self, record: str) -> Registered:
        """The version to write `record` with. KeyError when the record is unknown."""
        found = [entry for entry in self.entries if entry.record == record]
        if not found:
            raise KeyError(record)
        return found[-1]


def current(record: str) -> Schema:
    """The schema this release reads `record` as."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", record).lower()
    return _parse(resources.files("schemas") / "avro" / f"{name}.avsc")


def _parse(file: Traversable) -> Schema:
    schema = json.loads(file.read_text("utf-8"))
    if not isinstance(schema, dict):
        raise TypeError(f"{file} does not hold a record schema")
    return schema
