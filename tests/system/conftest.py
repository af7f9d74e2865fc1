"""One `thumbstream up` for all system tests; each test has a tenant of its own, so counts do not mix."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import clickhouse_connect
import psutil
import pytest
from clickhouse_connect.driver.client import Client

from tests.fixtures.receiver import Receiving, receiving
from tests.polling import wait_until

START_SECONDS = 150
WEBHOOK_SECRET = "whsec_c2VjcmV0IG9mIGFsbCBzeXN0ZW0gdGVzdHM="
RECEIVERS = f"""
[[receiver]]
name = "tests"
kind = "webhook"
url = "{{url}}"
secret = "{WEBHOOK_SECRET}"
allow_private = true
"""


class Running:
    """A running stack, seen from outside: its ready file, its processes, its SQL."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.process, self.directory = process, directory

    @property
    def ready(self) -> dict[str, Any]:
        """The ready file as it is now; it is rewritten when a child comes back."""
        content: dict[str, Any] = json.loads((self.directory / "ready.json").read_text())
        return content

    def kill(self, name: str) -> int:
        """SIGKILL one child; gives the pid it had."""
        pid: int = wait_until(lambda: self.ready["pids"].get(name), 60, f"{name} runs")
        os.kill(pid, signal.SIGKILL)
        return pid

    def is_back(self, name: str, old: int) -> bool:
        """True once the supervisor has a new one and everything answers."""
        ready = self.ready
        return bool(ready["healthy"] and ready["pids"].get(name, old) != old)

    def key(self, tenant: str) -> str:
        """A new API key for `tenant`."""
        options = ["--tenant", tenant, "--rights", "ingest,query,admin", "--file", str(self.directory / "keys.toml")]
        command = [sys.executable, "-m", "thumbstream", "keys", "create", *options]
        made = subprocess.run(command, check=True, capture_output=True, text=True)
        return made.stdout.strip()

    def rows(self, query: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Ask as the analyst."""
        ready = self.ready
        login = ready["clickhouse_analyst"]
        client = connected(ready["clickhouse_url"], login["user"], login["password"], login["database"])
        return [tuple(row) for row in client.query(query, parameters=parameters).result_rows]


@cache  # to connect takes more questions than most tests ask
def connected(url: str, user: str, password: str, database: str) -> Client:
    """A client of one login; it opens a connection anew when ClickHouse was away."""
    return clickhouse_connect.get_client(
        dsn=url, username=user, password=password, database=database, autogenerate_session_id=False
    )


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiving]:
    """Whom all stacks tell of alerts."""
    with receiving() as server:
        yield server


@pytest.fixture(scope="session")
def start_up(tmp_path_factory: pytest.TempPathFactory, receiver: Receiving) -> Iterator[Callable[..., Running]]:
    """Starts stacks; what still runs at the end is stopped, and must leave nothing behind."""
    started: list[Running] = []

    def start(directory: Path | None = None, *options: str) -> Running:
        directory = directory or tmp_path_factory.mktemp("up")
        command = [sys.executable, "-m", "thumbstream", "up", "--data-dir", str(directory), "--ports", "auto", *options]
        (directory / "receivers.toml").write_text(RECEIVERS.format(url=receiver.url))
        environment = {**os.environ, "THUMBSTREAM_RECEIVERS_FILE": str(directory / "receivers.toml")}
        with (directory / "up.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        running = Running(process, directory)
        started.append(running)
        wait_until(lambda: is_up(running), START_SECONDS, f"`up` is healthy; see {directory}/up.log")
        return running

    yield start
    for running in started:
        if running.process.poll() is None:
            stop(running)


def is_up(running: Running) -> bool:
    """True once all is healthy. Fails at once when `up` ended."""
    code = running.process.poll()
    assert code is None, f"up ended with {code}: {(running.directory / 'up.log').read_text()[-2000:]}"
    file = running.directory / "ready.json"  # a killed predecessor may have left one
    return file.exists() and running.ready["pids"]["supervisor"] == running.process.pid


def stop(running: Running) -> None:
    """SIGTERM, exit code 0, no child left, no ready file."""
    pids = [pid for name, pid in running.ready["pids"].items() if name != "supervisor"]
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 0
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert not (running.directory / "ready.json").exists()


@pytest.fixture(scope="session")
def up(start_up: Callable[..., Running]) -> Running:
    """The shared stack."""
    return start_up()
