"""The committed schemas can all read each other; the check finds what could not."""

from typing import Any

import pytest

from schemas.compatibility import conflicts
from schemas.registry import FileRegistry, Registered

FIRST: dict[str, Any] = {
    "type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}, {"name": "b", "type": "string"}],
}  # fmt: skip


def versions(*fields: list[dict[str, Any]]) -> list[Registered]:
    return [Registered(n, "R", n, {**FIRST, "fields": entry}) for n, entry in enumerate((FIRST["fields"], *fields), 1)]


def test_the_committed_history_is_compatible_in_every_direction() -> None:
    assert conflicts(FileRegistry().entries) == []


def test_a_new_field_with_a_default_and_a_dropped_one_with_a_default_are_fine() -> None:
    new = {"name": "c", "type": ["null", "string"], "default": None}
    assert conflicts(versions([*FIRST["fields"], new])) == []
    assert conflicts(versions([*FIRST["fields"], new], FIRST["fields"])) == []


@pytest.mark.parametrize(
    ("fields", "reader"),
    [
        ([*FIRST["fields"], {"name": "c", "type": "string"}], "R 2 cannot read version 1"),  # new without default
        ([FIRST["fields"][0]], "R 1 cannot read version 2"),  # dropped without default
        ([{"name": "a", "type": "string"}, FIRST["fields"][1]], "R 2 cannot read version 1"),  # another type
        ([{"name": "z", "type": "long"}, FIRST["fields"][1]], "R 1 cannot read version 2"),  # renamed
        ([{"name": "a", "type": "double"}, FIRST["fields"][1]], "R 1 cannot read version 2"),  # wider one way only
    ],
)
def test_planted_conflicts_are_found(fields: list[dict[str, Any]], reader: str) -> None:
    found = conflicts(versions(fields))
    assert any(sentence.startswith(reader) for sentence in found), found


def test_the_check_is_transitive() -> None:
    # 2 and 3 get on with their neighbours, 3 and 1 do not: the field came back with another type.
    default = {"name": "c", "type": "string", "default": ""}
    other = {"name": "c", "type": "long", "default": 0}
    found = conflicts(versions([*FIRST["fields"], default], FIRST["fields"], [*FIRST["fields"], other]))
    assert {sentence.split(":")[0] for sentence in found} == {"R 4 cannot read version 2", "R 2 cannot read version 4"}


def test_versions_of_different_records_are_not_compared() -> None:
    other = Registered(9, "S", 1, {"type": "record", "name": "S", "fields": [{"name": "x", "type": "bytes"}]})
    assert conflicts([*versions(), other]) == []
