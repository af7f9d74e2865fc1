"""`up` that is killed with everything it started, and started again: nothing that was acknowledged is lost."""

import os
import signal
from collections.abc import Callable

import httpx
import psutil
import pytest

from tests.polling import wait_until
from tests.system.conftest import Running, stop

pytestmark = [pytest.mark.system, pytest.mark.integration]
VOTES = "SELECT request_id, polarity, model FROM current_votes WHERE tenant_id = {tenant:String} ORDER BY request_id"


def send(up: Running, key: str, *events: dict[str, object]) -> None:
    url = up.ready["gateway_url"] + "/v1/events"
    reply = httpx.post(url, json=list(events), headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert reply.status_code == 200, reply.text


def test_votes_survive_kill_9_of_everything_and_merge_goes_on(
    start_up: Callable[..., Running], unique: Callable[[str], str]
) -> None:
    up, tenant = start_up(), unique("restart")
    key = up.key(tenant)
    votes = [{"request_id": f"r{index}", "rating": True, "metadata": {"model": "m"}} for index in range(20)]
    send(up, key, *votes)
    expected = sorted((f"r{index}", 1, "m") for index in range(20))
    wait_until(lambda: up.rows(VOTES, tenant=tenant) == expected, 60, "votes are stored")

    pids = list(up.ready["pids"].values())
    send(up, key, {"request_id": "r0", "rating": False})  # acknowledged, so it must survive
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait()
    wait_until(lambda: not [pid for pid in pids if alive(pid)], 60, "no orphan is left")

    again = start_up(up.directory)
    expected[0] = ("r0", -1, "m")
    wait_until(lambda: again.rows(VOTES, tenant=tenant) == expected, 60, "the flip that was acknowledged is there")
    send(again, key, {"request_id": "r1", "kind": "retract"})
    wait_until(lambda: again.rows(VOTES, tenant=tenant) == [expected[0], *expected[2:]], 60, "r1 is retracted")
    stop(again)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
