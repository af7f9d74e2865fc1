"""Start and stop the embedded ClickHouse as a child process, with logins that survive a restart."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from thumbstream.local import children
from thumbstream.local.clickhouse.logins import ADMIN, ANALYST

_POLL_SECONDS = 0.02
_STOP_SECONDS = 12.0  # the server itself needs at most ten


class ServerDidNotStartError(RuntimeError):
    """The server ended, or did not answer in time; the message holds the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """(name, password) of both logins, and the file of hashes that the server reads."""

    logins_file: Path
    admin: tuple[str, str]
    analyst: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Server:
    """A running server that this process started."""

    url: str
    admin: tuple[str, str]
    analyst: tuple[str, str]
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self.process.pid

    def stop(self) -> int:
        """End the server in order; returns its exit code, 0 when all went well."""
        children.stop(self.process, _STOP_SECONDS)
        return self.process.wait()


def prepare_logins(data_dir: Path) -> Credentials:
    """Make random passwords at first, read them later: `DIR.passwords.json` beside the data directory, mode 0600.

    `DIR.logins.json` holds their hashes. Both lie outside the data directory, where SQL cannot read them.
    """
    passwords_file = _beside(data_dir, ".passwords.json")
    logins_file = _beside(data_dir, ".logins.json")
    if passwords_file.exists():
        passwords = json.loads(passwords_file.read_text())
    else:
        passwords = {name: secrets.token_urlsafe(24) for name in (ADMIN, ANALYST)}
        _write_private(passwords_file, passwords)
    hashes = {name: hashlib.sha256(passwords[name].encode()).hexdigest() for name in (ADMIN, ANALYST)}
    _write_private(logins_file, {name: {"password_sha256": hashes[name], "kind": name} for name in hashes})
    return Credentials(logins_file, (ADMIN, passwords[ADMIN]), (ANALYST, passwords[ANALYST]))


def ready_file(data_dir: Path) -> Path:
    """Where a server of this data directory says that it answers."""
    return data_dir / "control" / "ready.json"


def announced_url(data_dir: Path, pid: int) -> str | None:
    """Give the URL once server `pid` answers; remove `ready_file` before the start."""
    try:
        report = json.loads(ready_file(data_dir).read_text())
    except FileNotFoundError:
        return None
    return str(report["url"]) if report["pid"] == pid else None


def command(
    data_dir: Path, *, port: int = 0, memory_bytes: int = 3 << 30, max_execution_seconds: int = 300
) -> list[str]:
    """Give the command line of the server; `prepare_logins` comes first, `ready_file` tells when it answers."""
    return [
        sys.executable,
        *("-m", "thumbstream.local.clickhouse"),
        *("--data-dir", str(data_dir)),
        *("--logins", str(_beside(data_dir, ".logins.json"))),
        *("--port", str(port)),
        *("--ready-file", str(ready_file(data_dir))),
        *("--memory-bytes", str(memory_bytes)),
        *("--max-execution-seconds", str(max_execution_seconds)),
    ]


def start(data_dir: Path, *, port: int = 0, memory_bytes: int = 3 << 30, timeout_seconds: float = 60.0) -> Server:
    """Start a server and wait until it answers; `port` 0 takes a free one.

    The server dies with this process. Raises `ServerDidNotStartError`.
    """
    credentials, log = prepare_logins(data_dir), _beside(data_dir, ".log")
    ready_file(data_dir).unlink(missing_ok=True)  # in a container a killed predecessor often had the same pid
    sources = str(Path(__file__).parents[3])  # the child must find this package wherever it is started
    path = os.pathsep.join(filter(None, [sources, os.environ.get("PYTHONPATH")]))
    process = children.spawn(command(data_dir, port=port, memory_bytes=memory_bytes), log, {"PYTHONPATH": path})
    deadline = time.monotonic() + timeout_seconds
    while (url := announced_url(data_dir, process.pid)) is None:
        if process.poll() is not None:
            raise ServerDidNotStartError(f"ClickHouse ended with {process.returncode}:\n{children.last_lines(log)}")
        if time.monotonic() > deadline:
            children.stop(process, 0)
            message = f"ClickHouse did not answer within {timeout_seconds:.0f} s:\n{children.last_lines(log)}"
            raise ServerDidNotStartError(message)
        time.sleep(_POLL_SECONDS)
    return Server(url, credentials.admin, credentials.analyst, process, log)


def _beside(data_dir: Path, suffix: str) -> Path:
    return data_dir.with_name(data_dir.name + suffix)


def _write_private(path: Path, content: object) -> None:
    """Whole or not at all, and never readable for others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file)
    temporary.replace(path)
