"""25,642 real votes through the whole product: counts are exactly those of the file, whatever is killed meanwhile."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.polling import wait_until
from tests.system.conftest import Running
from tests.system.votes import by_current_votes, by_day, load, recount, start_load, total_by_day

pytestmark = [pytest.mark.system, pytest.mark.integration]
SETTLE_SECONDS = 180


def settled(up: Running, tenant: str, votes_file: Path) -> None:
    """Wait until every view equals a recount of the file."""
    wanted = recount(votes_file)
    negative = sum(count for (_, _, bad), count in wanted.items() if bad)
    total = (negative, sum(wanted.values()))
    assert total == (2137, 25642)
    wait_until(lambda: total_by_day(up, tenant) == total, SETTLE_SECONDS, f"{total} in negative_rate_by_day")
    wait_until(lambda: by_current_votes(up, tenant) == wanted, SETTLE_SECONDS, "current_votes equals the file")
    wait_until(lambda: by_day(up, tenant) == wanted, SETTLE_SECONDS, "negative_rate_by_day equals the file")


def newest(up: Running, tenant: str) -> object:
    """What would change if anything of the tenant's rows changed."""
    query = "SELECT count(), max(updated_at), sum(cityHash64(*)) FROM requests WHERE tenant_id = {tenant:String}"
    return up.rows(query, tenant=tenant)


def test_views_equal_the_file_and_a_second_load_changes_nothing(
    up: Running, votes_file: Path, unique: Callable[[str], str]
) -> None:
    tenant = unique("quiet")
    key = up.key(tenant)
    assert "25,642 accepted, 0 refused" in load(up, votes_file, key)
    settled(up, tenant, votes_file)
    before = newest(up, tenant)
    assert "25,642 accepted, 0 refused" in load(up, votes_file, key)
    marker = unique("marker")
    send_marker(up, key, marker)
    wait_until(lambda: stored(up, tenant, marker), SETTLE_SECONDS, "what came after the second load is stored")
    forget_marker(up, key, marker)
    wait_until(lambda: not stored(up, tenant, marker), SETTLE_SECONDS, "the marker is erased again")
    assert newest(up, tenant) == before
    settled(up, tenant, votes_file)


def send_marker(up: Running, key: str, marker: str) -> None:
    """One context event per partition and more, so that everything sent before is through."""
    events = [{"request_id": f"{marker}-{index}", "metadata": {"note": "end"}} for index in range(64)]
    post(up, key, events)


def forget_marker(up: Running, key: str, marker: str) -> None:
    post(up, key, [{"request_id": f"{marker}-{index}", "kind": "erase"} for index in range(64)])


def post(up: Running, key: str, events: list[dict[str, object]]) -> None:
    url = up.ready["gateway_url"] + "/v1/events"
    reply = httpx.post(url, json=events, headers={"Authorization": f"Bearer {key}"}, timeout=30)
    assert reply.status_code == 200, reply.text


def stored(up: Running, tenant: str, marker: str) -> bool:
    query = "SELECT count() FROM requests WHERE tenant_id = {tenant:String} AND startsWith(request_id, {marker:String})"
    count = up.rows(query, tenant=tenant, marker=marker)[0][0]
    return bool(count == 64)


def holds(up: Running, events: int) -> bool:
    return appended(up) >= events


def appended(up: Running) -> int:
    """How many events the topic holds."""
    ready = up.ready
    consumer = Consumer({"bootstrap.servers": ready["kafka_bootstrap"], "group.id": "count", "log_level": 0})
    try:
        topic = ready["topics"]["events"]
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ends = [consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1] for number in partitions]
        return sum(ends)
    finally:
        consumer.close()


def test_views_equal_the_file_although_each_part_is_killed_while_it_loads(
    up: Running, votes_file: Path, unique: Callable[[str], str]
) -> None:
    tenant = unique("killed")
    key, before = up.key(tenant), appended(up)
    loading = start_load(up, votes_file, key, "--batch", "100")
    killed = {}
    for events, victim in ((1_000, "resolve-1"), (4_000, "gateway"), (7_000, "sink"), (10_000, "clickhouse")):
        wait_until(partial(holds, up, before + events), 120, f"{events} events are appended")
        assert loading.poll() is None, "the load must still run"
        killed[victim] = up.kill(victim)
    output, _ = loading.communicate(timeout=300)
    assert "25,642 accepted, 0 refused" in output
    assert loading.returncode == 0
    for victim, pid in killed.items():
        wait_until(partial(up.is_back, victim, pid), 60, f"{victim} is back")
    settled(up, tenant, votes_file)
