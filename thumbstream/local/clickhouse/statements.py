"""Reads just enough of a statement to route it: first word, formats, and where an INSERT's own data begins.

What an analyst may do never rests on this reader: `access` asks the engine's parser.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

SCAN_LIMIT = 1 << 20  # bytes; an INSERT's FORMAT or VALUES stands within the first megabyte
QUOTED = r"'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|\"(?:[^\"\\]|\\.|\"\")*\""
_TOKEN = re.compile(
    rf"(?P<skip>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)|(?P<text>{QUOTED})"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<other>[0-9][0-9,.\s]*|.)",
    re.DOTALL,
)
_GAP = re.compile(r"[ \t\f]*\r?\n?")  # between FORMAT X and the data
_FORBIDDEN = frozenset(
    {("INTO", "OUTFILE"), ("FROM", "INFILE"), ("SYSTEM", "SHUTDOWN"), ("SYSTEM", "KILL"), ("SYSTEM", "SUSPEND")}
)
_QUERY = frozenset({"SELECT", "WITH"})
_BEFORE_A_NAME = {".", "INSERT", "INTO", "TABLE"}
_READING = _QUERY | {"WATCH", "FROM"}  # INSERT ... SELECT carries no data of its own


class Token(NamedTuple):
    """An upper-case word or punctuation ('' for quoted text), its parenthesis depth and its place."""

    word: str
    depth: int
    start: int
    end: int


_NOTHING = Token("", 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Statement:
    """`head` is the SQL without an INSERT's FORMAT clause and data; `data_at` is where inline rows begin, or None."""

    first: str
    head: bytes
    format: str | None = None
    data_at: int | None = None
    forbidden: str | None = None

    @property
    def takes_data(self) -> bool:
        """True for an INSERT whose rows follow its text."""
        return self.data_at is not None


class _Data(NamedTuple):
    """Where an INSERT's own clauses end, how its rows are written, and where they begin."""

    head_end: int
    format: str | None
    begin: int


def read_statement(sql: bytes) -> Statement:
    """Never fails: what it does not understand goes to the engine as it is, and the engine refuses it."""
    text = sql[:SCAN_LIMIT].decode("latin-1")  # one character per byte, so offsets hold for binary data behind FORMAT
    tokens = _tokens(text)
    words = [next(tokens, _NOTHING)]
    data = _find_data(text, tokens, words, len(sql)) if words[0].word == "INSERT" else None
    if data is not None:
        return Statement("INSERT", sql[: data.head_end], data.format, data.begin, _forbidden(words))
    words.extend(tokens)
    first = next((token.word for token in words if token.word != "("), "")
    return Statement(first, sql, _trailing_format(text, words), None, _forbidden(words))


def settings_at(head: bytes) -> int:
    """Where an INSERT's own SETTINGS begin, or its end: a file to read from is named before them."""
    pairs = pairwise(_tokens(head.decode("latin-1")))
    found = (b.start for a, b in pairs if b.word == "SETTINGS" and not b.depth and a.word not in _BEFORE_A_NAME)
    return next(found, len(head))


def _tokens(text: str) -> Iterator[Token]:
    depth = 0
    for found in _TOKEN.finditer(text):
        if found.lastgroup == "skip":
            continue
        value = found.group()
        depth += {"(": 1, ")": -1}.get(value, 0)
        yield Token("" if found.lastgroup == "text" else value.upper(), depth, found.start(), found.end())


def _find_data(text: str, tokens: Iterator[Token], words: list[Token], length: int) -> _Data | None:
    """Move an INSERT's tokens to `words` up to its rows; None when it reads them from a query instead."""
    for token in tokens:
        previous = words[-1]
        words.append(token)
        if previous.word == "(" and token.word in _QUERY:
            return None
        if token.depth or len(words) < (4 if words[1].word == "INTO" else 3):  # the name itself may be any word
            continue
        if token.word in _READING:
            return None
        if token.word == "VALUES" and previous.word != ".":
            return _Data(token.start, "Values", token.end)
        if previous.word == "FORMAT" and token.word.isidentifier():
            return _Data(previous.start, text[token.start : token.end], _skip_gap(text, token.end))
    return _Data(length, None, length)


def _forbidden(words: list[Token]) -> str | None:
    pairs = pairwise(words)
    return next((f"{a.word} {b.word}" for a, b in pairs if (a.word, b.word) in _FORBIDDEN), None)


def _skip_gap(text: str, start: int) -> int:
    gap = _GAP.match(text, start)
    return gap.end() if gap else start


def _trailing_format(text: str, words: list[Token]) -> str | None:
    """The name in a final FORMAT clause (SETTINGS may follow it)."""
    followers = [*words[2:], Token(";", 0, 0, 0)]
    for one, name, after in zip(words, words[1:], followers, strict=False):
        if one.word == "FORMAT" and one.depth == 0 and name.word.isidentifier() and after.word in {";", "SETTINGS"}:
            return text[name.start : name.end]
    return None
