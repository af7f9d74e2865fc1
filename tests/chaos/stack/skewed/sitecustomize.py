"""Gives one process a wrong wall clock: with this folder on PYTHONPATH, all clocks of Python are SKEW_SECONDS off."""

import os
import time

_SECONDS = int(os.environ.get("SKEW_SECONDS", "0"))
_time, _time_ns = time.time, time.time_ns

time.time = lambda: _time() + _SECONDS
time.time_ns = lambda: _time_ns() + _SECONDS * 1_000_000_000
