"""What the batch transport leans on, on a real broker and against the Faust that is installed (decision 0003)."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from faust.tables.table import Table
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver

from processors import tables, transport
from schemas.events import FeedbackEvent, Progress, ResolvedFeedback
from schemas.topics import partition_of, request_key, version_of
from tests.chaos.log import read
from tests.chaos.stage import Stage, stage
from tests.polling import wait_until
from thumbstream.telemetry import EXIT_CRASH

pytestmark = pytest.mark.integration
_PATIENCE = 60  # seconds; the machine may be busy
_OVERRIDDEN: dict[Any, set[str]] = {
    transport.BatchConsumer: {
        "_drain_messages",
        "_filter_tps_with_pending_acks",
        "_new_consumer_thread",
        "_new_offset",
        "ack",
        "on_partitions_assigned",
        "perform_seek",
        "seek_wait",
    },
    transport._CommittedReads: {"_create_worker_consumer"},
    tables.VersionedTable: {"apply_changelog_batch", "on_rebalance", "on_recovery_completed", "persisted_offset"},
}


@pytest.fixture
def place(kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Stage]:
    with stage(kafka_bootstrap, unique("transport"), tmp_path) as made:
        made.create()
        yield made


def votes(count: int, *, first: int = 0) -> list[FeedbackEvent]:
    return [FeedbackEvent("acme", f"r{n}", f"e{n}", "vote", rating=True) for n in range(first, first + count)]


def on_partition(partition: int, count: int) -> list[FeedbackEvent]:
    """Votes whose keys belong on one of two partitions."""
    found = (vote for vote in votes(10_000) if partition_of(request_key("acme", vote.request_id), 2) == partition)
    return [next(found) for _ in range(count)]


def offsets(lines: list[dict[str, Any]], partition: int) -> list[int]:
    batches = [line["offsets"] for line in lines if line.get("kind") and line["partition"] == partition]
    return [offset for batch in batches for offset in batch]


def transactional(place: Stage) -> Producer:
    settings = {"bootstrap.servers": place.bootstrap, "transactional.id": place.group, "partitioner": "murmur2_random"}
    producer = Producer({**settings, "transaction.timeout.ms": 60_000})
    producer.init_transactions(30)
    return producer


def in_transaction(place: Stage, producer: Producer, events: list[FeedbackEvent]) -> None:
    producer.begin_transaction()
    for event in events:
        key, value = place.keyed(event)
        producer.produce(place.topics.events.name, value, key)
    assert producer.flush(30) == 0


def delete_before(place: Stage, partition: int, offset: int) -> None:
    admin, cut = (
        AdminClient({"bootstrap.servers": place.bootstrap}),
        TopicPartition(place.topics.events.name, partition, offset),
    )
    admin.delete_records([cut])[cut].result(30)


# on the broker


def test_an_agent_gets_lists_of_records_from_the_first_offset_on(place: Stage) -> None:
    place.put(place.topics.events, *((b"", str(n).encode()) for n in range(20)), partition=1)
    delete_before(place, 1, 5)
    probe = place.probe()
    wait_until(lambda: len(offsets(probe.lines(), 1)) >= 15, _PATIENCE, "all records arrive")
    assert offsets(probe.lines(), 1) == list(range(5, 20))
    assert {line["kind"] for line in probe.lines() if "kind" in line} == {"list"}
    assert probe.terminate() == 0


def test_a_failing_batch_commits_nothing(place: Stage) -> None:
    place.put(place.topics.events, (b"", b"one"), (b"", b"two"), partition=0)
    assert place.probe(fail=True).exit_code() == EXIT_CRASH
    assert all(offset < 0 for offset in place.committed("probe", place.topics.events).values())


def test_what_is_committed_is_what_the_agent_called_done(place: Stage) -> None:
    place.put(place.topics.events, *((b"", str(n).encode()) for n in range(20)), partition=0)
    first = place.probe(done=7)
    wait_until(lambda: len(offsets(first.lines(), 0)) >= 20, _PATIENCE, "all records arrive")
    assert first.terminate() == 0
    assert place.committed("probe", place.topics.events)[0] == 7
    second = place.probe()
    wait_until(lambda: len(offsets(second.lines(), 0)) >= 13, _PATIENCE, "the rest arrives again")
    assert offsets(second.lines(), 0) == list(range(7, 20))


def test_a_dropped_batch_holds_no_rebalance_up(place: Stage) -> None:
    """A member that waits for what it has dropped would lose its partitions to the newcomer, both of them."""
    for partition in range(2):
        place.put(place.topics.events, (b"", b"one"), (b"", b"two"), partition=partition)
    first = place.probe(drop=True)
    wait_until(lambda: offsets(first.lines(), 0) and offsets(first.lines(), 1), _PATIENCE, "all records arrive")
    second = place.probe()
    wait_until(lambda: [line for line in second.lines() if "kind" in line], _PATIENCE, "the newcomer gets its share")
    assert {line["partition"] for line in second.lines() if "kind" in line} in ({0}, {1})
    assert first.terminate() == 0


def test_aborted_records_are_never_seen_and_markers_hold_nothing_up(place: Stage) -> None:
    producer = transactional(place)
    for number, end in enumerate((producer.abort_transaction, producer.commit_transaction, producer.abort_transaction)):
        in_transaction(place, producer, votes(10, first=10 * number))
        end(30)
    place.put_events(*votes(1, first=100))
    worker = place.ready_worker("resolve")
    wait_until(lambda: len(place.found(place.topics.latest, ResolvedFeedback)) >= 11, _PATIENCE, "rows of what counts")
    rows = {row.request_id for row in place.found(place.topics.latest, ResolvedFeedback)}
    assert rows == {f"r{n}" for n in (*range(10, 20), 100)}
    newest = max(entry.append_time for entry in read(place.bootstrap, place.topics.events.name))
    wait_until(lambda: _caught_up(place, newest), _PATIENCE, "marks pass the last event although markers follow it")
    assert worker.terminate() == 0


def _caught_up(place: Stage, time: int) -> bool:
    marks = place.found(place.topics.minutes, Progress)
    return {mark.source_partition for mark in marks if mark.watermark > time + 1_000} == {1000, 1001}


def test_no_mark_passes_an_open_transaction(place: Stage) -> None:
    """append time ->  open: [vote .................. commit]
    watermark     ->      stays at or before the vote until its transaction has ended
    """
    worker, events = place.ready_worker("resolve"), (on_partition(0, 2), on_partition(1, 2))
    place.put_events(events[0][0], events[1][0])
    wait_until(lambda: _caught_up(place, 0), _PATIENCE, "marks of both partitions")
    producer = transactional(place)
    in_transaction(place, producer, [events[0][1], events[1][1]])
    seen = len(place.found(place.topics.minutes, Progress))
    wait_until(lambda: len(place.found(place.topics.minutes, Progress)) > seen + 16, _PATIENCE, "more marks")
    producer.commit_transaction(30)
    wait_until(lambda: len(place.found(place.topics.latest, ResolvedFeedback)) == 4, _PATIENCE, "all rows")
    late = [entry for entry in read(place.bootstrap, place.topics.events.name) if entry.offset == 1]
    assert len(late) == 2
    for entry in late:
        marks = [mark for mark in place.found(place.topics.minutes, Progress) if mark.offset <= entry.offset]
        lying = [mark for mark in marks if mark.source_partition == 1000 + entry.partition]
        assert [mark for mark in lying if mark.watermark > entry.append_time] == []
    assert worker.terminate() == 0


def test_records_deleted_in_front_are_a_gap_that_is_counted(place: Stage) -> None:
    events = on_partition(0, 20)
    place.put_events(*events[:10])
    worker = place.ready_worker("resolve")
    wait_until(lambda: place.committed("resolve", place.topics.events)[0] == 10, _PATIENCE, "the first ten are done")
    assert worker.terminate() == 0
    place.put_events(*events[10:])
    delete_before(place, 0, 15)
    again = place.ready_worker("resolve")
    wait_until(lambda: place.committed("resolve", place.topics.events)[0] == 20, _PATIENCE, "the rest is done")
    rows = {row.request_id for row in place.found(place.topics.latest, ResolvedFeedback)}
    assert rows == {event.request_id for event in events[:10] + events[15:]}
    assert again.counted("offset_gaps") == 1
    assert again.terminate() == 0


def test_recovery_writes_the_newest_row_again_behind_an_older_one(place: Stage) -> None:
    """A zombie's older record came last: compaction would keep it."""
    (vote,) = on_partition(0, 1)
    place.put_events(*[vote] * 6)
    key = request_key(vote.tenant_id, vote.request_id)
    newer, older = (
        place.codec.encode(ResolvedFeedback(version_of(1, offset), False, None, "acme", vote.request_id))
        for offset in (5, 3)
    )
    place.put(place.topics.latest, (key, newer), (key, older), partition=0)
    worker = place.ready_worker("resolve")
    wait_until(lambda: worker.counted("keys_healed") == 1, _PATIENCE, "the key is healed")
    records = [entry.value for entry in read(place.bootstrap, place.topics.latest.name)]
    assert records[:3] == [newer, older, newer]
    assert worker.terminate() == 0


# in Faust's own code


@pytest.mark.parametrize("cls", _OVERRIDDEN, ids=lambda cls: cls.__name__)
def test_everything_overridden_exists_in_faust_with_the_same_parameters(cls: type[Any]) -> None:
    for name in _OVERRIDDEN[cls]:
        theirs = inspect.signature(getattr(cls.__mro__[1], name))
        assert list(inspect.signature(vars(cls)[name]).parameters) == list(theirs.parameters), name


@pytest.mark.parametrize("cls", _OVERRIDDEN, ids=lambda cls: cls.__name__)
def test_nothing_of_faust_is_overridden_by_accident(cls: type[Any]) -> None:
    ours = {name for name, value in vars(cls).items() if not name.startswith("__") and callable(value)}
    assert {name for name in ours if hasattr(cls.__mro__[1], name)} == _OVERRIDDEN[cls]


@pytest.mark.parametrize("name", ["_drain_messages", "_filter_tps_with_pending_acks", "_new_offset", "ack"])
def test_faust_still_calls_what_is_overridden(name: str) -> None:
    assert f".{name}(" in inspect.getsource(faust_consumer)


@pytest.mark.parametrize(
    "name",
    ["_active_partitions", "_getmany", "_read_offset", "_thread", "_unacked_messages", "_waiting_for_ack"],
)
def test_faust_still_has_what_the_transport_touches(name: str) -> None:
    assert f"self.{name}" in inspect.getsource(faust_consumer) + inspect.getsource(driver)


def test_the_driver_still_keeps_the_client_where_isolation_is_set() -> None:
    source = inspect.getsource(driver.AIOKafkaConsumerThread)
    assert "isolation_level" in source
    assert "self._consumer" in source
    assert Table in tables.VersionedTable.__mro__
