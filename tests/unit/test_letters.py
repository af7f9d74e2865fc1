"""What of a refused record is kept in its letter."""

from dataclasses import replace

from schemas.codec import Codec
from schemas.events import DeadLetter
from schemas.letters import fitting
from schemas.topics import LARGEST_MESSAGE

LETTER = DeadLetter("t-0-1", "resolve", "invalid", "why", "acme", "t", 0, 1, 5, b"key", b"original", {"h": b"v"})


def test_what_fits_is_kept_as_it_is() -> None:
    for whole in (LETTER, replace(LETTER, original=b"x" * (3 << 20)), replace(LETTER, key=None, original=None)):
        assert fitting(whole) is whole


def test_what_does_not_fit_is_left_out_and_the_letter_says_so() -> None:
    large = b"x" * LARGEST_MESSAGE
    for letter in (
        replace(LETTER, original=large),
        replace(LETTER, key=large),
        replace(LETTER, headers={"h": large}),
        replace(LETTER, headers={"h" * LARGEST_MESSAGE: b""}),
    ):
        kept = fitting(letter)
        assert (kept.original, kept.headers, kept.key) == (None, {}, letter.key and letter.key[:1024])
        assert kept.message == "the record was too large to be kept: why"
        assert len(Codec().encode(kept)) < 2_000
