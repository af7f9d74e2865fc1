"""What of a refused record a dead letter can hold. Pure."""

from __future__ import annotations

from dataclasses import replace

from schemas.events import DeadLetter
from schemas.topics import LARGEST_MESSAGE

_MOST = LARGEST_MESSAGE - (512 << 10)  # bytes, so that the letter itself always finds room
_KEY = 1_024  # bytes
_SAID = "the record was too large to be kept: "


def fitting(letter: DeadLetter) -> DeadLetter:
    """The letter, or one without original and headers where they do not fit: brokers measure batches compressed."""
    headers = sum(len(name) + len(value) for name, value in letter.headers.items())
    if len(letter.key or b"") + len(letter.original or b"") + headers <= _MOST:
        return letter
    key = None if letter.key is None else letter.key[:_KEY]
    return replace(letter, key=key, original=None, headers={}, message=_SAID + letter.message)
