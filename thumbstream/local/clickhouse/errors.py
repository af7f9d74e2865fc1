"""ClickHouse errors: codes, names, HTTP statuses, and how the engine's exceptions become them."""

from __future__ import annotations

import re

_MESSAGE = re.compile(r"(?:Code: (\d+)\. (?:DB::Exception: )?)+(.*?)(?: \(([A-Z][A-Z0-9_]+)\))?\s*$", re.DOTALL)

# The table of ClickHouse's own HTTP handler; every other code is 500.
_STATUSES: dict[int, frozenset[int]] = {
    400: frozenset(
        {6, 26, 27, 36, 38, 41, 43, 53, 62, 69, 70, 72, 117, 130, 167, 168, 190, 223, 377, 427, 440, 457, 636}
    ),
    401: frozenset({194}),
    403: frozenset({192, 193, 511, 512, 516}),
    404: frozenset({16, 46, 47, 50, 56, 60, 63, 73, 81, 82, 83, 115, 372}),
    408: frozenset({159}),
    413: frozenset({161, 307}),
    501: frozenset({48}),
    503: frozenset({76, 202, 209, 210}),
}


class ClickHouseError(Exception):
    """An error with ClickHouse's number, name and message."""

    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code, self.name, self.message = code, name, message

    @property
    def status(self) -> int:
        """The HTTP status a ClickHouse server answers with."""
        return next((status for status, codes in _STATUSES.items() if self.code in codes), 500)

    def text(self, version: str) -> str:
        """The body of the answer; clients parse this form."""
        return f"Code: {self.code}. DB::Exception: {self.message} ({self.name}) (version {version} (chDB))\n"


def from_engine(exception: BaseException) -> ClickHouseError:
    """chDB raises ChdbError, RuntimeError and UnicodeError; their text holds ClickHouse's message behind a prefix."""
    text = str(exception)
    found = _MESSAGE.search(text)
    if found is None:
        return ClickHouseError(1002, "UNKNOWN_EXCEPTION", text.strip() or type(exception).__name__)
    return ClickHouseError(int(found[1]), found[3] or "UNKNOWN_EXCEPTION", found[2].strip())
