"""Start and stop child processes that never outlive this one, with their output in a log file."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

_WRAPPER = Path(__file__).with_name("die_with_parent.py")
_TAIL_BYTES = 16_384
_LOG_BYTES = 20_000_000  # a log that is longer starts anew with the next process


@cache
def _spawner(process_id: int) -> ThreadPoolExecutor:
    """Give the one thread all children of this process are started from.

    Linux sends the death signal when the *thread* that started a child ends, so it has to be one that lives as long
    as the process. Keyed by process id because threads do not survive a fork.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"spawner-{process_id}")


def spawn(
    argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start `argv` with standard output and error appended to `log`; safe from any thread.

    `env` is added to this process's environment. The child leads its own session, so that Ctrl-C in a terminal
    reaches only the parent, which then stops its children in order.
    """
    return _spawner(os.getpid()).submit(_spawn, list(argv), log, dict(env or {}), cwd).result()


def _spawn(argv: list[str], log: Path, env: dict[str, str], cwd: Path | None) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_name(log.name + ".old"))
    # -I and -S: the wrapper needs nothing but the standard library, and starts in a third of the time
    wrapped = [sys.executable, "-I", "-S", str(_WRAPPER), str(os.getpid()), *argv]
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the caller's own command, no shell
            wrapped,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **env},
            cwd=cwd,
            start_new_session=True,
        )


def send_signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a child and whatever it started (its process group); nothing happens if it is gone."""
    if process.poll() is not None:
        return
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:  # between fork and setsid there is no group yet
        process.send_signal(number)


def stop(process: subprocess.Popen[bytes], grace_seconds: float) -> None:
    """SIGTERM, then SIGKILL after `grace_seconds`; the process is gone and `returncode` set when this returns."""
    stop_all([process], grace_seconds)


def stop_all(processes: Sequence[subprocess.Popen[bytes]], grace_seconds: float) -> None:
    """SIGTERM to all at once, then SIGKILL to those still there `grace_seconds` later."""
    for process in processes:
        send_signal(process, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    for process in processes:
        _wait_or_kill(process, max(0.0, deadline - time.monotonic()))


def _wait_or_kill(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        send_signal(process, signal.SIGKILL)
        process.wait()


def last_lines(log: Path, count: int = 15) -> str:
    """Give the last `count` lines of a log file, or a sentence if there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").rstrip().splitlines()[-count:]
    except FileNotFoundError:
        lines = []
    return "\n".join(lines) or f"(nothing in {log})"
