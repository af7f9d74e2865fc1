"""`thumbstream dead-letters` on a real broker: what is listed, what comes back to the events topic, and where."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from producers.kafka import producer_settings
from schemas.codec import Codec
from schemas.events import AMEND, DeadLetter, FeedbackEvent
from schemas.feedback_ids import event_key, hash_in, packed
from schemas.topics import Topics, partition_of, request_key
from tests.fixtures.events import stored_events
from thumbstream import topic_admin
from thumbstream.cli import main

pytestmark = pytest.mark.integration
CODEC = Codec()
NOON = 1_767_268_800_000
VOTE = FeedbackEvent("acme", "r1", "e1", "vote", NOON - 5_000, rating=False, comment="nicht gut")


@dataclass(frozen=True, slots=True)
class Place:
    """Topics of one's own and the command line that is pointed at them."""

    bootstrap: str
    topics: Topics

    def put(self, *letters: DeadLetter | bytes) -> None:
        producer = Producer(producer_settings(self.bootstrap, {}, {}))
        for letter in letters:
            value = letter if isinstance(letter, bytes) else CODEC.encode(letter)
            producer.produce(self.topics.dead_letters.name, value, b"id")
        assert producer.flush(20) == 0

    def letter(self, number: int, event: FeedbackEvent | bytes, reason: str, **fields: Any) -> DeadLetter:
        name = self.topics.events.name
        original = event if isinstance(event, bytes) else CODEC.encode(event)
        made = DeadLetter(
            f"{name}-0-{number}",
            "resolve",
            reason,
            "why",
            "acme",
            name,
            0,
            number,
            NOON,
            b"wrong",
            original,
            {"h": b"1"},
        )
        return replace(made, **fields)

    def call(self, *arguments: str, answer: str | None = None) -> Result:
        environment = {
            "THUMBSTREAM_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap,
            "THUMBSTREAM_TOPIC_PREFIX": self.topics.prefix,
        }
        return CliRunner().invoke(main, ["dead-letters", *arguments], answer, environment)

    def listed(self, *options: str) -> list[tuple[str, str | None]]:
        """(end of the letter's id, what became of it)."""
        answer = self.call("list", "--json", *options)
        assert answer.exit_code == 0, answer.output
        lines = [json.loads(line) for line in answer.stdout.splitlines()]
        return [(line["letter_id"].rpartition("-")[2], line["handled"]) for line in lines]


@pytest.fixture
def place(
    kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    monkeypatch.chdir(tmp_path)
    topics = Topics(unique("letters") + ".")
    admin = topic_admin.client(kafka_bootstrap)
    topic_admin.create(admin, topics, 1)
    yield Place(kafka_bootstrap, topics)
    for future in admin.delete_topics([topic.name for topic in topics]).values():
        future.result(20)


def test_replay_puts_events_where_they_belong_and_refuses_what_it_must(place: Place) -> None:
    timeless = replace(VOTE, request_id="r2", event_id="e2", event_time=None)
    place.put(
        place.letter(1, VOTE, "misrouted"),
        place.letter(2, b"junk", "undecodable", tenant_id=None),
        place.letter(3, replace(VOTE, rating=None), "invalid"),
        place.letter(4, timeless, "invalid"),  # valid by the rules of now
        place.letter(5, VOTE, "misrouted", failed_at=NOON - 3_600_000),
        b"no letter at all",
    )
    answer = place.call("replay", "--stage", "resolve", "--since", "2026-01-01T12:00:00Z", answer="y\n")
    assert answer.exit_code == 1
    assert "Replay 4 letters? [y/N]" in answer.stdout
    assert "1 records on" in answer.stderr
    said = {
        line.partition(": ")[0].rpartition("-")[2]: line.partition(": ")[2] for line in answer.stdout.splitlines()[1:]
    }
    assert said["2"].startswith("not replayed: undecodable: not in Confluent framing")
    assert said["3"].startswith("not replayed: still invalid: rating: missing")
    assert (said["1"], said["4"]) == ("replayed", "replayed")

    found = {stored.event.request_id: stored for stored in stored_events(place.bootstrap, place.topics)}
    assert found["r1"].event == VOTE
    assert found["r2"].event == replace(timeless, event_time=NOON)
    for stored in found.values():
        assert stored.key == request_key("acme", stored.event.request_id)
        assert stored.partition == partition_of(stored.key, place.topics.events.partitions)
    assert place.listed() == [("2", None), ("3", None), ("5", None)]
    assert place.listed("--all") == [("1", "replayed"), ("2", None), ("3", None), ("4", "replayed"), ("5", None)]


def test_a_replayed_amendment_goes_to_the_partition_of_its_vote(place: Place) -> None:
    changes = [
        FeedbackEvent("acme", "", f"a{number}", AMEND, value=1.0, feedback_id=packed(number, 0, 0))
        for number in range(9)
    ]
    place.put(*(place.letter(number, one, "misrouted") for number, one in enumerate(changes)))
    assert place.call("replay", "--reason", "misrouted", "--yes").exit_code == 0
    found = stored_events(place.bootstrap, place.topics)
    assert sorted(one.event.event_id for one in found) == sorted(one.event_id for one in changes)
    for stored in found:
        assert stored.event.event_time == NOON  # it counts where it belonged, not as newer than what came since
        assert stored.key == event_key(stored.event)
        assert stored.partition == (hash_in(stored.event.feedback_id) or 0) % place.topics.events.partitions


def test_a_replayed_letter_is_left_alone_unless_it_is_named(place: Place) -> None:
    place.put(place.letter(1, VOTE, "misrouted"))
    assert place.call("replay", "--reason", "misrouted", "--yes").exit_code == 0
    again = place.call("replay", "--reason", "misrouted", "--yes")
    assert (again.exit_code, again.stdout) == (0, "")
    assert len(stored_events(place.bootstrap, place.topics)) == 1
    assert place.call("replay", f"{place.topics.events.name}-0-1", "--yes").exit_code == 0
    assert [stored.event for stored in stored_events(place.bootstrap, place.topics)] == [VOTE, VOTE]


def test_dropped_letters_are_listed_no_more(place: Place) -> None:
    place.put(*(place.letter(number, VOTE, "misrouted") for number in (1, 2, 3)))
    name = place.topics.events.name
    assert place.call("drop", f"{name}-0-2", "--yes").stdout == f"{name}-0-2: dropped\n"
    assert place.listed() == [("1", None), ("3", None)]
    assert place.call("drop", "--tenant", "acme", "--limit", "1", "--yes").exit_code == 0
    assert place.listed("--all") == [("1", "dropped"), ("2", "dropped"), ("3", None)]
    assert stored_events(place.bootstrap, place.topics) == []


def test_nothing_happens_without_a_yes_or_without_a_choice(place: Place) -> None:
    place.put(place.letter(1, VOTE, "misrouted"))
    for verb in ("replay", "drop"):
        assert place.call(verb, "--stage", "resolve", answer="n\n").exit_code == 1
        assert place.call(verb, "--yes").exit_code == 2
        unknown = place.call(verb, "no-such-letter", f"{place.topics.events.name}-0-1", "--yes")
        assert (unknown.exit_code, "no letter no-such-letter" in unknown.stderr) == (1, True)
    assert place.listed() == [("1", None)]
    assert stored_events(place.bootstrap, place.topics) == []


def test_a_letter_is_shown_whole_and_a_table_lists_it(place: Place) -> None:
    place.put(place.letter(1, VOTE, "misrouted", message="\x1b[2J[bold]"), place.letter(2, b"a\xff", "undecodable"))
    name = place.topics.events.name
    shown = json.loads(place.call("show", f"{name}-0-1").stdout)
    assert (shown["key"], shown["offset"], shown["headers"]) == ("wrong", 1, {"h": "1"})
    assert shown["original"]["FeedbackEvent"]["comment"] == "nicht gut"
    assert json.loads(place.call("show", f"{name}-0-2").stdout)["original"] == {"bytes": 2, "escaped": "a\\xff"}
    assert place.call("show", "other").exit_code == 1
    table = place.call("list").stdout
    assert "2 letters" in table
    assert "\x1b" not in table
    assert f"{name}-0-1" in table


def test_a_missing_topic_is_a_sentence(place: Place) -> None:
    nowhere = replace(place, topics=Topics("no.such."))
    assert "no topic no.such.dead-letters" in nowhere.call("list").stderr
