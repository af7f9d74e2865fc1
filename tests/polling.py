"""Wait for something by asking, never by sleeping for as long as it usually takes."""

import time
from collections.abc import Callable
from typing import TypeVar

_Result = TypeVar("_Result")
_POLL_SECONDS = 0.05


def wait_until(predicate: Callable[[], _Result], deadline_seconds: float, message: str) -> _Result:
    """Give the first true value of `predicate`, or fail the test with `message` after `deadline_seconds`."""
    deadline = time.monotonic() + deadline_seconds
    while not (result := predicate()):
        assert time.monotonic() < deadline, f"after {deadline_seconds:g} s still not: {message}"
        time.sleep(_POLL_SECONDS)
    return result
