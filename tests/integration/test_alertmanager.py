"""What we post to Alertmanager, taken by the real program: one alert, kept by posts, ended by its resolution."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.events import Alert
from sinks.delivery.messages import Notice, time_text
from sinks.delivery.post import Poster
from sinks.delivery.receivers import Receiver
from sinks.delivery.replies import Verdict
from sinks.delivery.requests import reposting, request
from tests.fixtures.receiver import Receiving, receiving
from tests.polling import wait_until
from tests.simulators.delivery import alert
from thumbstream.local.ports import free_ports

pytestmark = pytest.mark.integration
_NAMES = ("alertmanager", "prometheus-alertmanager")
_CONFIG = """
route: {{receiver: hook, group_by: [alertname, model], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}
receivers: [{{name: hook, webhook_configs: [{{url: "{url}", send_resolved: true}}]}}]
"""


@pytest.fixture(scope="module")
def program() -> str:
    found = os.environ.get("ALERTMANAGER") or next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip(f"THE REAL ALERTMANAGER IS MISSING: neither {' nor '.join(_NAMES)} is installed")
    return found


@pytest.fixture
def pager() -> Iterator[Receiving]:
    """Whom Alertmanager tells."""
    with receiving() as server:
        yield server


@pytest.fixture
def manager(program: str, pager: Receiving, tmp_path: Path) -> Iterator[Receiver]:
    """Our receiver for a running Alertmanager."""
    (tmp_path / "am.yml").write_text(_CONFIG.format(url=pager.url))
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    options = (f"--config.file={tmp_path / 'am.yml'}", f"--storage.path={tmp_path}", "--cluster.listen-address=")
    with (tmp_path / "am.log").open("wb") as log:
        command = [program, *options, f"--web.listen-address={url.removeprefix('http://')}"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: _is_ready(url), 30, f"Alertmanager answers: {(tmp_path / 'am.log').read_text()}")
        yield Receiver("am", "alertmanager", url, allow_private=True, repost=60.0)
    finally:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def known(manager: Receiver) -> list[dict[str, Any]]:
    """The alerts that Alertmanager holds."""
    found: list[dict[str, Any]] = httpx.get(f"{manager.url}/api/v2/alerts").json()
    return found


def told(pager: Receiving) -> list[tuple[str, str]]:
    """(status, alert name) of every notification."""
    return [(body["status"], one["labels"]["alertname"]) for body in pager.bodies for one in body["alerts"]]


def post(manager: Receiver, *subjects: Alert | Notice, again: bool = False, now: int) -> None:
    poster = Poster(manager)
    made = reposting(manager, subjects, now) if again else request(manager, subjects[0], now)
    answer = poster.post(made)
    poster.close()
    assert answer.verdict is Verdict.DELIVERED, answer


def test_an_alert_fires_is_kept_and_is_resolved(manager: Receiver, pager: Receiving, now: Callable[[], int]) -> None:
    began = now() // 60_000 * 60_000 - 120_000
    firing = alert(
        version=began, started_at=began, evaluated_at=began, group={"model": 'größe "4"', "prompt-id": "p|1"}
    )
    post(manager, firing, now=now())
    wait_until(lambda: told(pager) == [("firing", "model-negative-rate")], 30, "it pages")
    (held,) = known(manager)
    assert held["labels"] == {
        "alertname": "model-negative-rate", "tenant": "acme", "severity": "warning", "rollup": "model",
        "model": 'größe "4"', "prompt_id": "p|1",
    }  # fmt: skip
    assert held["startsAt"] == time_text(began)
    later = now() + 600_000
    post(manager, firing, again=True, now=later)
    (kept,) = known(manager)
    assert kept["endsAt"] == time_text(later + 600_000), "the newest post says how long it is kept"
    assert kept["fingerprint"] == held["fingerprint"]
    ended = began + 60_000
    post(manager, alert("a", 2, started_at=began, evaluated_at=ended, ended_at=ended, group=firing.group), now=now())
    wait_until(lambda: ("resolved", "model-negative-rate") in told(pager), 30, "it is called off")
    assert known(manager) == []
    assert len(told(pager)) == 2, "once each, however often it was posted"


def test_a_notice_of_stale_evaluation_and_a_test_are_taken(
    manager: Receiver, pager: Receiving, now: Callable[[], int]
) -> None:
    since = now() - 60_000
    stale = Notice("evaluation_stale:1:firing", "evaluation_stale", "firing", since, since, "Not evaluated.")
    post(manager, stale, now=now())
    wait_until(lambda: told(pager) == [("firing", "ThumbstreamEvaluationStale")], 30, "it pages")
    over = Notice("evaluation_stale:1:resolved", "evaluation_stale", "resolved", now(), since, "Evaluated again.")
    post(manager, over, now=now())
    wait_until(lambda: ("resolved", "ThumbstreamEvaluationStale") in told(pager), 30, "it is called off")
    post(manager, Notice("test_1", "test", "resolved", now() + 60_000, now(), "A test."), now=now())
    wait_until(lambda: told(pager)[2:] == [("firing", "ThumbstreamTest")], 30, "a test pages, too")


@pytest.fixture
def now() -> Callable[[], int]:
    """The wall clock, which Alertmanager goes by, in epoch ms."""
    import time

    return lambda: time.time_ns() // 1_000_000
