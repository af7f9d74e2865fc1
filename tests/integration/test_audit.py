"""The audit over real topics and tables: a clean system balances, and each damage is found, by tenant and id."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, TopicPartition

from processors.deduplicate import Arrival, Refusal
from processors.minutes import published
from processors.monitor_file import monitor_set
from processors.monitors import BUILT_IN, rollups
from processors.pipeline import Folded, Partition, letter
from schemas.codec import DecodeError
from schemas.events import FeedbackEvent, MinuteCount, Progress
from schemas.topics import partition_of, request_key, version_of
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.sink import CODEC, PARTITIONS, Bench, bench, sink
from tests.simulators.memory import Memory
from thumbstream.audit.topic_books import TopicBooks
from thumbstream.cli import main

pytestmark = pytest.mark.integration
NOON = 1_780_000_000_000 // 60_000 * 60_000
TENANTS = ("deleted", "tombstoned", "recounted", "doubled", "fine")


def vote(tenant: str, number: int, time: int | None = NOON, **written: Any) -> FeedbackEvent:
    fields: dict[str, Any] = {"kind": "vote", "rating": number % 3 == 0, "user_id": f"u{number % 5}", **written}
    return FeedbackEvent(tenant, f"r{number}", f"e{number}-{time}", event_time=time, **fields)


@dataclass(slots=True)
class Resolve:
    """What `thumbstream worker resolve` does, without Faust, and able to do it wrong."""

    place: Bench
    group: str
    memories: list[Memory] = field(default_factory=list)
    position: dict[int, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        where = [Partition(number, PARTITIONS, rollups()) for number in range(PARTITIONS)]
        self.memories = [Memory(one) for one in where]

    def run(self, *, seeing: bool = True, telling: bool = True) -> None:
        """Fold what is new and commit. Without `seeing` only commit; without `telling` no dead letters."""
        with TopicBooks(self.place.options.bootstrap_servers, {}, self.group) as books:
            for partition, end in books.ends(self.place.topics.events.name).items():
                start = self.position.get(partition, 0)
                messages = books.read(self.place.topics.events.name, partition, start, end)
                records = [self._arrival(message) for message in messages]
                if records and seeing:
                    self._publish(partition, records, self.memories[partition].run(records), telling=telling)
                self.position[partition] = end
        assert self.place.producer.flush(20) == 0
        self._commit("resolve", self.place.topics.events.name, self.position)

    def _arrival(self, message: Any) -> Arrival:
        event: FeedbackEvent | Refusal
        try:
            event = CODEC.decode_as(FeedbackEvent, message.value() or b"")
        except DecodeError as error:
            event = Refusal("undecodable", str(error))
        return Arrival(message.offset(), message.timestamp()[1], message.key(), event)

    def _publish(self, partition: int, records: list[Arrival], folded: Folded, *, telling: bool) -> None:
        place, topics = self.place, self.place.topics
        version = version_of(1, records[-1].offset)
        place.publish(*(published(key, cell, 1000 + partition, version) for key, cell in folded.cells.items()))
        letters = [letter(*refused, topics.events.name, partition, b"", {}) for refused in folded.refused]
        self.refused += [made.letter_id for made in letters]
        place.publish(*(letters if telling else ()))
        for key, row in folded.rows.items():
            place.produce(topics.latest.name, key, CODEC.encode(row), partition)
        place.publish(Progress(1000 + partition, PARTITIONS, records[-1].offset, records[-1].append_time))
        place.publish(monitor_set(BUILT_IN))

    def _commit(self, role: str, topic: str, offsets: dict[int, int]) -> None:
        about = {"bootstrap.servers": self.place.options.bootstrap_servers, "group.id": f"{self.group}-{role}"}
        consumer = Consumer({**about, "enable.auto.commit": False})
        places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()


@dataclass(slots=True)
class Books:
    """The audits of one system: while all was well, and after every damage was done to a tenant of its own."""

    place: Bench
    environment: dict[str, str]
    clean: dict[str, Any] = field(default_factory=dict)
    damaged: dict[str, Any] = field(default_factory=dict)
    resolve: Resolve | None = None

    def audit(self, *options: str, **settings: str) -> Result:
        return CliRunner().invoke(main, ["audit", *options], env={**self.environment, **settings})

    def found(self, tenant: str) -> set[tuple[str, str]]:
        """(hop, what) of every difference of a tenant."""
        return {(item["hop"], item["what"]) for item in self.damaged["differences"] if item["tenant"] == tenant}

    def examples(self, tenant: str, hop: str) -> str:
        listed = (item for item in self.damaged["differences"] if (item["tenant"], item["hop"]) == (tenant, hop))
        return "\n".join(example for item in listed for example in item["examples"])


@pytest.fixture(scope="module")
def books(kafka_bootstrap: str, clickhouse: ClickHouse, unique: Callable[[str], str]) -> Iterator[Books]:
    group = unique("audit")
    with bench(kafka_bootstrap, clickhouse, group) as made:
        place = replace(made, options=replace(made.options, group=f"{group}-sink"))
        result = Books(place, _environment(place, group))
        with sink(place.options):
            resolve = result.resolve = Resolve(place, group)
            _ordinary_day(place, resolve)
            first = result.audit("--json")
            _damage(place, resolve)
            second = result.audit("--json")
            result.clean, result.damaged = json.loads(first.stdout), json.loads(second.stdout)
            assert (first.exit_code, second.exit_code) == (0, 1), first.stdout
            yield result


def _environment(place: Bench, group: str) -> dict[str, str]:
    address = place.options.clickhouse
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": place.options.bootstrap_servers,
        "TOPIC_PREFIX": place.topics.prefix,
        "EVENT_PARTITIONS": str(PARTITIONS),
        "MINUTE_PARTITIONS": str(PARTITIONS),
        "GROUP": group,
        "CLICKHOUSE_URL": address.url,
        "CLICKHOUSE_USER": address.user,
        "CLICKHOUSE_PASSWORD": address.password or "unused",
        "CLICKHOUSE_DATABASE": address.database,
        "CLICKHOUSE_VIEWS": place.views,
    }
    return {f"THUMBSTREAM_{name}": value for name, value in settings.items()}


def _ordinary_day(place: Bench, resolve: Resolve) -> None:
    """Votes, flips, retractions, erasures, clocks that run ahead, re-sends, and what must be refused."""
    ahead = vote("fine", 1, NOON * 2, comment="a secret")
    for tenant in TENANTS:
        model = {"model": '"m|1"', "prompt_id": '"p"'}
        place.publish(*(vote(tenant, number, NOON + 1000 * number, metadata=model) for number in range(30)))
    place.publish(ahead, vote("fine", 2, None), vote("fine", 3, NOON - 1, tags=("late",)))
    resolve.run()
    place.publish(ahead, *(vote("fine", number, NOON + 10**6, rating=False) for number in range(6)))
    place.publish(*(vote("fine", number, None, kind=kind, rating=None, user_id=None) for number, kind in (
        (7, "retract"), (8, "erase"), (99, "erase"),
    )))  # fmt: skip
    place.publish(vote("fine", 8, NOON + 10**7), vote("fine", 9, value=99.0, rating=None))
    place.publish(vote("unlettered", 1, value=99.0, rating=None))
    place.produce(place.topics.events.name, b"fine|junk", b"junk", 0)
    place.produce(place.topics.events.name, b"fine|another", CODEC.encode(vote("fine", 10)), 1)
    assert place.producer.flush(20) == 0
    resolve.run()


def _damage(place: Bench, resolve: Resolve) -> None:
    tombstone = request_key("tombstoned", "r1")
    place.produce(place.topics.latest.name, tombstone, None, partition_of(tombstone, PARTITIONS))
    place.publish(vote("skipped", 1))
    resolve.run(seeing=False)
    place.publish(vote("silenced", 1, value=99.0, rating=None))
    resolve.run(telling=False)
    end = resolve.position[0]
    place.publish(MinuteCount("recounted", "tenant", (), NOON, 1000, version_of(1, end - 1), 0, 999, 0, {}))
    delete = "ALTER TABLE {t}.%s DELETE WHERE %s SETTINGS mutations_sync = 1"
    (unlettered,) = (id_ for id_, tenant in _stored_letters(place) if tenant == "unlettered")
    for table, which in (
        ("feedback_latest", "tenant_id = 'deleted' AND request_id = 'r1'"),
        ("feedback_events", "tenant_id = 'deleted' AND request_id = 'r2'"),
        ("feedback_dead_letters", f"letter_id = '{unlettered}'"),
    ):
        place.client.command((delete % (table, which)).replace("{t}", place.options.clickhouse.database))
    doubled = f"{place.options.clickhouse.database}.feedback_minutes"
    place.client.command(
        f"INSERT INTO {doubled} SELECT tenant_id, rollup, group_key, dimensions, minute, source_partition, version + 1,"
        f" negative * 2, positive * 2, neutral FROM {doubled} FINAL WHERE tenant_id = 'doubled' AND rollup = 'model'"
    )


def _stored_letters(place: Bench) -> list[tuple[Any, ...]]:
    return place.query("SELECT letter_id, tenant_id FROM {t}.feedback_dead_letters")


def test_a_clean_system_balances(books: Books) -> None:
    clean = books.clean
    assert (clean["balanced"], clean["differences"], clean["not_judged"]) == (True, [], {})
    totals = clean["totals"]
    assert totals["accepted"] == totals["stored"] + totals["refused"] + totals["erased"] == 168
    assert (totals["refused"], totals["parked"], totals["missing"]) == (4, 0, 0)
    assert clean["checked"]["dead letters"] == 4
    assert clean["checked"]["rows"] == 30 * len(TENANTS) + 1
    assert clean["checked"]["cells"] == clean["checked"]["stored cells"] > 40
    assert {account["tenant"] for account in clean["accounts"]} == {*TENANTS, "unlettered", "?"}
    assert clean["lag"]["resolve"] == 0
    assert sum(clean["offsets_without_a_record"].values()) == 0
    assert clean["seconds_since_progress_mark"] is not None


def test_nothing_else_is_off_after_the_damage(books: Books) -> None:
    assert books.found("fine") == set()
    assert {item["tenant"] for item in books.damaged["differences"]} == {
        "deleted", "tombstoned", "recounted", "doubled", "skipped", "silenced", "unlettered",
    }  # fmt: skip


def test_a_row_and_an_event_that_clickhouse_lost_are_found(books: Books) -> None:
    assert books.found("deleted") == {
        ("clickhouse", "row missing in feedback_latest"),
        ("clickhouse", "event missing in feedback_events"),
        ("views", "votes and counts disagree"),
    }
    assert "deleted|r1" in books.examples("deleted", "clickhouse")
    assert books.damaged["totals"]["missing"] == 1


def test_a_row_that_the_topic_lost_is_found(books: Books) -> None:
    """The row is gone, and with it its votes from a recount of the cells; ClickHouse holds what the topic does not."""
    found = books.found("tombstoned")
    assert ("resolve", "row missing on the topic") in found
    assert ("clickhouse", "row without a record on the topic") in found
    assert "tombstoned|r1" in books.examples("tombstoned", "resolve")


def test_a_wrong_count_on_the_topic_is_found(books: Books) -> None:
    assert books.found("recounted") == {
        ("minutes", "cell differs from a recount of the rows"),
        ("views", "votes and counts disagree"),
    }
    assert "-0/+999/0 found" in books.examples("recounted", "minutes")


def test_a_doubled_count_in_clickhouse_is_found(books: Books) -> None:
    assert books.found("doubled") == {("clickhouse", "cell differs from the topic")}
    assert "model|m%7C1" in books.examples("doubled", "clickhouse")


def test_an_event_that_resolve_never_saw_is_found(books: Books) -> None:
    assert books.found("skipped") == {("resolve", "row missing on the topic")}
    assert "skipped|r1 at offset" in books.examples("skipped", "resolve")


def test_a_refused_event_without_its_letter_is_found(books: Books) -> None:
    assert books.found("silenced") == {("resolve", "refused event without its dead letter")}
    assert books.resolve is not None
    assert books.examples("silenced", "resolve") == books.resolve.refused[-1]


def test_a_letter_that_clickhouse_lost_is_found(books: Books) -> None:
    assert books.found("unlettered") == {("clickhouse", "dead letter missing in feedback_dead_letters")}


def test_nothing_that_people_wrote_is_shown(books: Books) -> None:
    assert "secret" not in json.dumps([books.clean, books.damaged])


def test_for_people_each_difference_has_place_hour_and_ids(books: Books) -> None:
    answer = books.audit()
    assert answer.exit_code == 1
    assert "resolve: row missing on the topic: tenant skipped, 20" in answer.output
    assert "expected 1, found 0\n    skipped|r1 at offset" in answer.output


def test_since_reads_the_events_that_are_newer(books: Books) -> None:
    answer = books.audit("--json", "--since", "2099-01-01T00:00Z")
    document = json.loads(answer.stdout)
    assert document["totals"]["accepted"] == 0
    assert "silenced" not in {item["tenant"] for item in document["differences"]}


def test_what_cannot_be_judged_is_neither_good_nor_bad(books: Books) -> None:
    behind = books.audit("--json", "--wait", "0", THUMBSTREAM_GROUP="nobody")
    away = books.audit("--json", THUMBSTREAM_CLICKHOUSE_URL="http://127.0.0.1:9")
    assert (behind.exit_code, away.exit_code) == (2, 2)
    assert "resolve is behind" in json.loads(behind.stdout)["reason"]
    assert json.loads(away.stdout)["balanced"] is None
