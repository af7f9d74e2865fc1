"""A live incident: sixty people, one model, half of them thumbs down. The alert arrives and says what was seen."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, Popen, run
from threading import Thread
from typing import Any

import httpx
import pytest
from confluent_kafka import TopicPartition

from examples.verify_webhook import verify
from processors.reading import read, reader
from tests.fixtures.receiver import Receiving
from tests.polling import wait_until
from tests.system.conftest import WEBHOOK_SECRET, Running

pytestmark = [pytest.mark.system, pytest.mark.integration]
CONSUMER = Path(__file__).parents[2] / "examples" / "alert_consumer.py"
ALERT_SECONDS = 120  # the minute must end first, and a busy machine is slow


@pytest.fixture
def alerts(up: Running) -> Iterator[list[dict[str, Any]]]:
    """What the example consumer prints, as it arrives."""
    ready, seen = up.ready, []
    command = [sys.executable, str(CONSUMER), ready["kafka_bootstrap"]]
    consumer = Popen(command, stdout=PIPE, text=True)
    assert consumer.stdout is not None
    printer = Thread(target=lambda: seen.extend(map(json.loads, consumer.stdout or ())), daemon=True)
    printer.start()
    yield seen
    consumer.terminate()
    consumer.wait(10)
    printer.join(10)
    consumer.stdout.close()


def test_an_incident_in_one_model_fires_for_that_model(
    up: Running, alerts: list[dict[str, Any]], receiver: Receiving, unique: Callable[[str], str]
) -> None:
    tenant, now = unique("incident"), time.time_ns() // 1_000_000
    events = [
        {
            "request_id": f"r{index}",
            "event_id": f"e{index}",
            "event_time": now,  # one minute holds them all, so no tick sees only some of them
            "rating": index % 2 == 0,
            "user_id": f"user-{index}",
            "metadata": {"model": "atlas-2"},
        }
        for index in range(60)
    ]
    url, headers = up.ready["gateway_url"] + "/v1/events", {"Authorization": f"Bearer {up.key(tenant)}"}
    assert httpx.post(url, json=events, headers=headers, timeout=30).status_code == 200

    def fired() -> dict[str, Any] | None:
        mine = [alert for alert in alerts if alert["tenant_id"] == tenant]
        return next((alert for alert in mine if alert["monitor"] == "model-negative-rate"), None)

    alert = wait_until(fired, ALERT_SECONDS, "the alert arrives on the topic")
    assert (alert["status"], alert["group"], alert["negative"], alert["total"]) == (
        "firing", {"model": "atlas-2"}, 30, 60,
    )  # fmt: skip
    assert alert["evaluated_at"] % 60_000 == 0
    query = "SELECT alert_id, negative, total FROM alerts_open WHERE tenant_id = {tenant:String} AND rollup = 'model'"
    stored = wait_until(lambda: up.rows(query, tenant=tenant), 60, "the alert is in alerts_open")
    assert stored == [(alert["alert_id"], 30, 60)]
    headers = headers_of(up, alert["fingerprint"])
    assert (headers["ce_id"], headers["ce_type"]) == (alert["alert_id"].encode(), b"thumbstream.alert.firing")
    assert alert is not None
    was_told(receiver, alert)
    can_be_shown(up, alert)
    wait_until(lambda: evaluation_goes_on(up), 60, "delivery sees that alerts are evaluated")


def evaluation_goes_on(up: Running) -> bool:
    """What the process that delivers says about marks and about watch."""
    metrics = httpx.get(f"http://127.0.0.1:{up.ready['health_ports']['deliver']}/metrics").text
    return all(f'thumbstream_evaluation_stale{{cause="{cause}"}} 0.0' in metrics for cause in ("marks", "watch"))


def was_told(receiver: Receiving, alert: dict[str, Any]) -> None:
    """A signed webhook about the alert arrived."""
    query = "the webhook arrives"
    found = wait_until(lambda: [got for got in receiver.got if got[1]["webhook-id"] == alert["alert_id"]], 60, query)
    _, headers, body = found[0]
    assert verify(WEBHOOK_SECRET, headers, body, time.time())
    assert json.loads(body)["data"]["negative"] == 30


def can_be_shown(up: Running, alert: dict[str, Any]) -> None:
    """An analyst sees evidence and votes."""
    options = [alert["alert_id"], "--json", "--examples", "40", "--ready-file", str(up.directory / "ready.json")]
    command = [sys.executable, "-m", "thumbstream", "alerts", "show", *options]
    shown = json.loads(run(command, check=True, capture_output=True, text=True).stdout)
    assert (shown["evidence"]["negative"], len(shown["examples"])) == (30, 30)


def headers_of(up: Running, fingerprint: str) -> dict[str, Any]:
    """Headers of the first record of an alert."""
    ready = up.ready
    consumer = reader(ready["kafka_bootstrap"], {})
    try:
        topic = ready["topics"]["alerts"]
        for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
            for message in read(consumer, topic, partition, 0, end):
                if message.key() == fingerprint.encode():
                    return dict(message.headers() or ())
    finally:
        consumer.close()
    raise AssertionError(f"no record of {fingerprint}")
