"""What is erased is gone: from views at once, from ClickHouse's files after a purge, and for whatever comes late."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import clickhouse_connect
import httpx
import pytest

from tests.polling import wait_until
from tests.system.conftest import Running

pytestmark = [pytest.mark.system, pytest.mark.integration]
HASTE = "old_parts_lifetime = 1, cleanup_delay_period = 1, max_cleanup_delay_period = 1"
OF_TENANT = "SELECT DISTINCT request_id FROM {} WHERE tenant_id = {{tenant:String}} ORDER BY request_id"
VOTES, HISTORY = (OF_TENANT.format(view) for view in ("current_votes", "vote_history"))
COUNTED = """SELECT sum(votes) FROM negative_rate_by_day
WHERE tenant_id = {tenant:String} AND rollup = 'tenant'"""


class Place:
    """One tenant of the running stack."""

    def __init__(self, up: Running, tenant: str) -> None:
        self.up, self.tenant, self.key = up, tenant, up.key(tenant)

    def send(self, *events: dict[str, Any]) -> None:
        reply = self._call("POST", "/v1/events", json=list(events))
        assert reply.status_code == 200, reply.text

    def delete(self, request_id: str) -> None:
        assert self._call("DELETE", f"/v1/requests/{request_id}/").json()["accepted"] == 1

    def _call(self, method: str, path: str, **body: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.request(method, self.up.ready["gateway_url"] + path, headers=headers, timeout=30, **body)

    def known(self, query: str) -> list[str]:
        return [row[0] for row in self.up.rows(query, tenant=self.tenant)]

    def erase(self, *options: str) -> str:
        where = ["--ready-file", str(self.up.directory / "ready.json"), "--api-key", self.key, "--tenant", self.tenant]
        command = [sys.executable, "-m", "thumbstream", "erase", *options, *where]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def restart_store(self) -> None:
        """Stop ClickHouse in order: it takes old parts off the disk then, or soon after; else at leisure."""
        pid: int = self.up.ready["pids"]["clickhouse"]
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: self.up.is_back("clickhouse", pid), 120, "ClickHouse is back")

    def settle(self, name: str) -> None:
        """Wait until whatever was sent before is processed: each partition keeps its order, and these meet all."""
        marks = [f"{name}-{index:02}" for index in range(24)]
        self.send(*({"request_id": mark, "rating": True} for mark in marks))
        wait_until(lambda: set(marks) <= set(self.known(VOTES)), 60, f"{name} is processed")
        wait_until(lambda: set(marks) <= set(self.known(HISTORY)), 60, f"{name} is stored")


@pytest.fixture
def place(up: Running, unique: Callable[[str], str]) -> Place:
    return Place(up, unique("erase"))


@pytest.fixture
def hasty(up: Running) -> None:
    """Parts that were replaced may leave the disk at once, not after eight minutes."""
    ready = up.ready
    login = ready["clickhouse_admin"]
    with closing(
        clickhouse_connect.get_client(
            dsn=ready["clickhouse_url"],
            username=login["user"],
            password=login["password"],
            autogenerate_session_id=False,
        )
    ) as client:
        for table in ("feedback_events", "feedback_latest"):
            client.command(f"ALTER TABLE {login['database']}.{table} MODIFY SETTING {HASTE}")


def files_with(directory: Path, text: str) -> list[Path]:
    names = (Path(folder) / name for folder, _, files in os.walk(directory) for name in files)  # parts come and go
    return [file for file in names if text.encode() in content(file)]


def content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:  # a merge was quicker
        return b""


def vote(request_id: str, marker: str, **fields: Any) -> dict[str, Any]:
    said = {"comment": f"said {marker}", "user_id": f"user-{marker}", "metadata": {"note": f"noted {marker}"}}
    return {"request_id": request_id, "rating": False, **said, **fields}


@pytest.mark.usefixtures("hasty")
def test_nothing_of_an_erased_user_is_left_in_views_files_logs_or_metrics(
    place: Place, up: Running, unique: Callable[[str], str]
) -> None:
    marker, kept = unique("gone"), unique("kept")
    place.send(vote("r1", marker), vote("r2", marker), vote("r3", kept))
    place.send({"request_id": "r2", "user_id": f"user-{kept}", "comment": "another person, later"})
    wait_until(lambda: place.known(VOTES) == place.known(HISTORY) == ["r1", "r2", "r3"], 60, "votes are stored")
    store = up.directory / "clickhouse"
    assert files_with(store, marker), "the search below would find nothing whatever happens"

    said = place.erase("--user", f"user-{marker}", "--now", "--yes")
    assert "2 requests erased" in said
    assert "feedback.latest" in said
    assert place.known(VOTES) == place.known(HISTORY) == ["r3"]
    place.restart_store()
    wait_until(lambda: not files_with(store, marker), 60, "no file of ClickHouse holds what was erased")
    wait_until(lambda: files_with(store, kept), 60, "what was not erased is there")
    assert place.erase("--user", f"user-{marker}", "--yes").startswith("no request of")

    assert not files_with(up.directory / "logs", marker)
    assert marker not in (up.directory / "up.log").read_text()
    urls = [up.ready["gateway_url"], *(f"http://127.0.0.1:{port}" for port in up.ready["health_ports"].values())]
    for url in urls:
        assert marker not in httpx.get(f"{url}/metrics").text


@pytest.mark.usefixtures("hasty")
def test_late_context_and_old_votes_bring_nothing_back(place: Place, up: Running, unique: Callable[[str], str]) -> None:
    store = up.directory / "clickhouse"
    marker, now = unique("late"), time.time_ns() // 1_000_000
    place.send(vote("r1", "early"), vote("r2", "early"))
    wait_until(lambda: place.known(VOTES) == ["r1", "r2"], 60, "votes are stored")
    place.erase("--request", "r1")
    place.delete("r2")
    for request_id in ("r1", "r2"):
        place.send(
            {"request_id": request_id, "metadata": {"model": marker}},
            vote(request_id, marker, event_id=f"old-{request_id}", event_time=now - 86_400_000),
            vote(request_id, marker),
            {"request_id": request_id, "kind": "retract"},
        )
    place.settle("after")
    assert {name.partition("-")[0] for name in place.known(VOTES) + place.known(HISTORY)} == {"after"}
    wait_until(lambda: up.rows(COUNTED, tenant=place.tenant) == [(24,)], 60, "the erased votes are not counted")

    assert files_with(store, marker)
    place.erase("--request", "r1", "--now")  # the second time takes what came late off the disk
    place.restart_store()
    wait_until(lambda: not files_with(store, marker), 60, "no file of ClickHouse holds what was erased")


def test_what_a_user_said_a_moment_ago_is_found_by_the_user_too(place: Place) -> None:
    place.send({"request_id": "just-now", "rating": False, "user_id": "eve", "comment": "oh"})
    assert "1 requests erased" in place.erase("--user", "eve", "--yes")
    assert "just-now" not in place.known(VOTES)
