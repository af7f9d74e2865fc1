"""FULL_TRANSITIVE: every version of a record reads what every other version wrote, by Apache Avro's own rules."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import permutations
from typing import Any

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from schemas.registry import Registered


def conflicts(entries: Iterable[Registered]) -> list[str]:
    """One sentence per pair of versions of the same record that cannot read each other; empty when all is well."""
    return [
        f"{reader.record} {reader.version} cannot read version {writer.version}: {problem}"
        for reader, writer in permutations(entries, 2)
        if reader.record == writer.record and (problem := _problem(reader, writer))
    ]


def _problem(reader: Registered, writer: Registered) -> str | None:
    checker: Any = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # the library is not annotated
    result = checker.get_compatibility(parse(json.dumps(reader.schema)), parse(json.dumps(writer.schema)))
    if result.compatibility is SchemaCompatibilityType.compatible:
        return None
    return "; ".join(sorted(result.messages)) or str(result.compatibility)
