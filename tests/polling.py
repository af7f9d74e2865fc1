"""Wait for something by asking, never by sleeping for as long as it usually takes."""

import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
_POLL_SECONDS = 0.05
_REST = 2.0  # times what a question took: those who wait must not keep busy whom they wait for
_LONGEST_SECONDS = 2.0


def wait_until(predicate: Callable[[], _Result], deadline_seconds: float, message: str) -> _Result:
    """Give the first true value of `predicate`, or fail the test with `message` after `deadline_seconds`."""
    asked = time.monotonic()
    deadline = asked + deadline_seconds
    while not (result := predicate()):
        answered = time.monotonic()
        assert answered < deadline, f"after {deadline_seconds:g} s still not: {message}"
        time.sleep(min(max(_POLL_SECONDS, _REST * (answered - asked)), _LONGEST_SECONDS))
        asked = time.monotonic()
    return result
