"""The gateway as a process before a real broker: a 2xx is a promise, and without a broker there is none."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from producers.keys import create_key
from producers.topic_check import TopicCheck
from schemas.topics import Topic, Topics, partition_of
from tests.fixtures.events import Stored, make_events_topic, stored_events
from tests.fixtures.gateway import GatewayProcess, running_gateway
from tests.polling import wait_until
from thumbstream.local import kafka
from thumbstream.local.kafka import Cluster
from thumbstream.telemetry import Metrics

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A broker of our own, because we kill it."""
    own = kafka.start(tmp_path_factory.mktemp("gateway-kafka"))
    yield own
    own.stop(grace_seconds=2)


@pytest.fixture
def topics(cluster: Cluster, unique: Callable[[str], str]) -> Topics:
    return make_events_topic(cluster.bootstrap, unique)


@pytest.fixture
def gateway(cluster: Cluster, topics: Topics, tmp_path: Path) -> Iterator[GatewayProcess]:
    with running_gateway(cluster.bootstrap, topics, tmp_path / "gateway") as running:
        wait_until(lambda: httpx.get(f"{running.url}/readyz").status_code == 200, 60, "the gateway is ready")
        yield running
    assert running.secret not in running.log.read_text()


def by_id(cluster: Cluster, topics: Topics) -> dict[str, Stored]:
    return {found.event.event_id: found for found in stored_events(cluster.bootstrap, topics)}


def test_an_acknowledged_event_is_on_the_topic(cluster: Cluster, topics: Topics, gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        one = client.post("/v1/events", json={"request_id": "r1", "rating": True, "metadata": {"model": "m"}})
        many = client.post("/v1/events", json=[{"request_id": f"r{n}", "value": n % 3 - 1} for n in range(500)])
        vendor = client.post("/v1/request/r9/feedback", json={"rating": False})
    assert [reply.status_code for reply in (one, many, vendor)] == [200, 200, 200]
    stored = by_id(cluster, topics)
    assert len(stored) == 502
    assert set(one.json()["event_ids"] + many.json()["event_ids"]) < set(stored)
    for found in stored.values():
        assert found.key == f"acme|{found.event.request_id}".encode()
        assert found.partition == partition_of(found.key, topics.events.partitions)
    first = stored[one.json()["event_ids"][0]].event
    assert (first.metadata, first.source, first.event_time) == ({"model": '"m"'}, "native/python-httpx", None)
    (helicone,) = [found.event for found in stored.values() if found.event.source.startswith("helicone")]
    assert (helicone.request_id, helicone.rating) == ("r9", False)


def test_a_new_key_works_soon_and_a_revoked_one_does_not(gateway: GatewayProcess) -> None:
    def status(secret: str) -> int:
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx.post(
            f"{gateway.url}/v1/events", json={"request_id": "r", "rating": True}, headers=headers
        ).status_code

    before = gateway.keys.read_text()
    added = create_key(gateway.keys, "acme", ["ingest"])
    wait_until(lambda: status(added) == 200, 60, "the added key works")
    gateway.keys.write_text("[[broken")
    wait_until(lambda: "keys_file_broken" in gateway.log.read_text() or status(added) != 200, 60, "the fault is logged")
    assert status(added) == 200
    gateway.keys.write_text(before)
    wait_until(lambda: status(added) == 401, 60, "the key is revoked")
    assert status(gateway.secret) == 200


def test_a_refused_upload_leaves_its_connection_in_order(gateway: GatewayProcess) -> None:
    large = {"request_id": "r", "comment": "x" * 900_000}
    with gateway.client(limits=httpx.Limits(max_connections=1)) as client:
        statuses = [
            client.post("/v1/events", json=large, headers={"Authorization": "Bearer wrong"}).status_code,
            client.post("/v1/events", content=b" " * 3_000_000).status_code,
            client.post("/v1/events", json=large).status_code,
            client.post("/v1/events", json={"request_id": "r", "rating": True}).status_code,
        ]
    assert statuses == [401, 413, 400, 200]


def test_a_flood_from_one_key_costs_another_tenant_no_vote(cluster: Cluster, topics: Topics, tmp_path: Path) -> None:
    def votes(tenant: str, number: int) -> Iterator[dict[str, object]]:
        return ({"request_id": f"{tenant}-{turn}", "rating": True} for turn in range(number))

    def send(client: httpx.Client, secret: str, vote: dict[str, object]) -> tuple[int, str | None]:
        reply = client.post("/v1/events", json=vote, headers={"Authorization": f"Bearer {secret}"})
        return reply.status_code, (reply.json()["event_ids"] or [None])[0]

    with running_gateway(cluster.bootstrap, topics, tmp_path / "gateway", limit="40/80") as gateway:
        secrets = {tenant: create_key(gateway.keys, tenant, ["ingest"]) for tenant in ("loud", "quiet")}
        wait_until(
            lambda: all(
                httpx.post(f"{gateway.url}/v1/events", headers={"Authorization": f"Bearer {secret}"}).status_code == 400
                for secret in secrets.values()
            ),
            20,
            "the gateway knows both keys",
        )
        with gateway.client() as client, ThreadPoolExecutor(16) as pool:
            loud = [pool.submit(send, client, secrets["loud"], vote) for vote in votes("loud", 2_000)]
            quiet = [send(client, secrets["quiet"], vote) for vote in votes("quiet", 40)]
            answers = {"loud": [sent.result() for sent in loud], "quiet": quiet}
    assert {status for status, _ in answers["quiet"]} == {200}
    assert {status for status, _ in answers["loud"]} == {200, 429}
    stored = by_id(cluster, topics)
    for tenant, told in answers.items():
        accepted = {event_id for status, event_id in told if status == 200}
        assert accepted == {id_ for id_, found in stored.items() if found.event.tenant_id == tenant}


class Flood:
    """Requests of 200 kB each, all at once: more than the gateway holds."""

    def __init__(self, gateway: GatewayProcess, count: int) -> None:
        # Kept alive all of them: the pool closes idle ones beyond its number under the threads that just took them.
        limits = httpx.Limits(max_connections=count, max_keepalive_connections=count)
        self.client = gateway.client(limits=limits)
        self.pool = ThreadPoolExecutor(count)
        self.sent = [self.pool.submit(self._post, number) for number in range(count)]

    def _post(self, number: int) -> tuple[int, float, Any]:
        started = time.monotonic()
        reply = self.client.post("/v1/events", json={"request_id": f"flood-{number}", "comment": "x" * 200_000})
        return reply.status_code, time.monotonic() - started, reply

    def results(self) -> list[tuple[int, float, Any]]:
        found = [sent.result(120) for sent in self.sent]
        self.pool.shutdown()
        self.client.close()
        return found


def test_without_its_broker_the_gateway_refuses_in_time_in_little_memory_and_recovers(
    cluster: Cluster, topics: Topics, gateway: GatewayProcess
) -> None:
    process = psutil.Process(gateway.process.pid)
    with gateway.client() as client:
        kept = client.post("/v1/events", json={"request_id": "kept", "rating": True}).json()["event_ids"]
        cluster.kill(1)
        before = process.memory_info().rss
        results = Flood(gateway, 300).results()
        assert {status for status, _, _ in results} == {503}
        assert max(seconds for _, seconds, _ in results) < 10
        assert all(int(reply.headers["retry-after"]) > 0 for _, _, reply in results)
        assert any("at once" in reply.text for _, _, reply in results)
        assert process.memory_info().rss - before < 190 << 20
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert "thumbstream_publish_backlog 0.0" in client.get("/metrics").text

        cluster.launch(1)
        cluster.wait_ready(1, 60)
        wait_until(lambda: client.get("/readyz").status_code == 200, 60, "the gateway is ready again")
        again = wait_until(lambda: _accepted(client), 60, "the gateway accepts again")
    assert set(kept + again) <= set(by_id(cluster, topics))


def _accepted(client: httpx.Client) -> list[str]:
    reply = client.post("/v1/events", json={"request_id": "after", "rating": True})
    ids: list[str] = reply.json()["event_ids"]
    return ids if reply.status_code == 200 else []


def test_a_stop_answers_what_is_in_flight(cluster: Cluster, topics: Topics, gateway: GatewayProcess) -> None:
    broker = cluster.pids["kafka-1"]
    with gateway.client() as client, gateway.client() as other, ThreadPoolExecutor(1) as pool:
        assert _accepted(client)  # the producer knows its leader
        other.get("/metrics")  # to be quick later: the event waits for nine seconds only
        os.kill(broker, signal.SIGSTOP)
        try:
            waiting: Future[list[str]] = pool.submit(_accepted, client)
            wait_until(lambda: "thumbstream_publish_backlog 1.0" in other.get("/metrics").text, 60, "the event waits")
            gateway.process.terminate()
            wait_until(lambda: "Shutting down" in gateway.log.read_text(), 60, "the gateway is stopping")
            assert not waiting.done()
        finally:
            os.kill(broker, signal.SIGCONT)
        (event_id,) = waiting.result(15)
    assert gateway.process.wait(15) == 0
    assert event_id in by_id(cluster, topics)


@pytest.mark.parametrize(
    ("partitions", "stamps", "says"),
    [(4, "LogAppendTime", None), (3, "LogAppendTime", "3 partitions, not 4"), (4, "CreateTime", "CreateTime, not Log")],
)
def test_a_topic_of_another_shape_is_trouble(
    cluster: Cluster, unique: Callable[[str], str], partitions: int, stamps: str, says: str | None
) -> None:
    topic = Topic(unique("events"), "tenant|request", 4, {"message.timestamp.type": "LogAppendTime"})
    assert "no topic" in str(_trouble(cluster, topic))
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    wanted = NewTopic(topic.name, partitions, 1, config={"message.timestamp.type": stamps})
    admin.create_topics([wanted])[topic.name].result(20)
    found = wait_until(lambda: (_trouble(cluster, topic) or "none") if _known(admin, topic) else "", 60, "it is there")
    assert found == "none" if says is None else says in found


def _known(admin: AdminClient, topic: Topic) -> bool:
    return topic.name in admin.list_topics(timeout=5).topics


def _trouble(cluster: Cluster, topic: Topic) -> str | None:
    async def ask() -> str | None:
        check = TopicCheck(cluster.bootstrap, topic, Metrics(), {})
        try:
            return await check.trouble()
        finally:
            check.close()

    return asyncio.run(ask())
