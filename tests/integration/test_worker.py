"""The workers as `thumbstream worker` runs them: what they refuse, when they stop for good, and how they end."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from schemas.events import AMEND, DeadLetter, FeedbackEvent, MinuteCount, Progress, ResolvedFeedback
from schemas.feedback_ids import packed
from schemas.topics import Topic, Topics, murmur2, partition_of, request_key
from tests.chaos.log import committed, lag
from tests.chaos.stage import Stage, stage
from tests.polling import wait_until
from thumbstream import topic_admin
from thumbstream.telemetry import EXIT_STOP

pytestmark = pytest.mark.integration
_PATIENCE = 60  # seconds; the machine may be busy


@pytest.fixture
def place(kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Stage]:
    with stage(kafka_bootstrap, unique("worker"), tmp_path) as made:
        yield made


def vote(number: int, **written: object) -> FeedbackEvent:
    fields: dict[str, object] = {"rating": True, **written}
    event_id = str(fields.pop("event_id", f"e{number}"))
    return FeedbackEvent("acme", f"r{number}", event_id, "vote", **fields)  # type: ignore[arg-type]  # see above


def rows(place: Stage) -> set[str]:
    return {row.request_id for row in place.found(place.topics.latest, ResolvedFeedback)}


def rewritten(place: Stage) -> Counter[str]:
    """Every record of `latest`, how often it is there; partitions are read side by side, so their order is chance."""
    return Counter(map(repr, place.records(place.topics.latest)))


def at_rest(place: Stage, role: str, topic: Topic, group: str | None = None) -> bool:
    return lag(place.bootstrap, f"{group or place.group}-{role}", topic.name) == 0


def test_what_cannot_be_folded_becomes_a_dead_letter_with_its_reason(place: Stage) -> None:
    place.create()
    key, value = place.keyed(vote(1))
    broken = place.keyed(vote(2, value=99.0, rating=None))
    stranger = place.codec.encode(Progress(1, 2, 3, 4))
    wrong_partition = 1 - partition_of(key, 2)
    place.put(place.topics.events, (key, b"junk"), (key, None), (key, stranger), broken, (b"acme|other", value))
    place.put(place.topics.events, (key, value), partition=wrong_partition)
    place.put_events(vote(3))
    worker = place.ready_worker("resolve")
    wait_until(lambda: rows(place) == {"r3"}, _PATIENCE, "the good event is folded")
    wait_until(lambda: len(place.found(place.topics.dead_letters, DeadLetter)) == 6, _PATIENCE, "six letters")
    letters = place.found(place.topics.dead_letters, DeadLetter)
    assert Counter(letter.reason for letter in letters) == {"undecodable": 3, "invalid": 1, "misrouted": 2}
    assert {letter.letter_id for letter in letters} == {
        f"{place.topics.events.name}-{letter.partition}-{letter.offset}" for letter in letters
    }
    assert {letter.original for letter in letters} == {b"junk", None, stranger, broken[1], value}
    (invalid,) = (letter for letter in letters if letter.reason == "invalid")
    assert (invalid.tenant_id, invalid.key, invalid.stage) == ("acme", broken[0], "resolve")
    assert "value" in invalid.message
    assert worker.counted("dead_letters") == 6
    assert worker.terminate() == 0


def test_a_refused_record_of_any_form_and_size_stops_nobody(place: Stage) -> None:
    """A header without a value, and one that the broker took because it measures batches compressed."""
    place.create()
    key, _ = place.keyed(vote(1))
    producer = Producer(
        {"bootstrap.servers": place.bootstrap, "compression.type": "gzip", "message.max.bytes": 9_000_000}
    )
    headers: list[tuple[str, str | bytes | None]] = [("trace", None), ("by", b"java")]
    producer.produce(place.topics.events.name, b"junk", key, headers=headers)
    producer.produce(place.topics.events.name, b"x" * (5 << 20), key)
    assert producer.flush(30) == 0
    place.put_events(vote(3))
    worker = place.ready_worker("resolve")
    wait_until(lambda: rows(place) == {"r3"}, _PATIENCE, "the good event is folded")
    wait_until(lambda: len(place.found(place.topics.dead_letters, DeadLetter)) == 2, _PATIENCE, "both letters")
    small, large = sorted(place.found(place.topics.dead_letters, DeadLetter), key=lambda letter: letter.offset or 0)
    assert (small.original, small.headers) == (b"junk", {"trace": b"", "by": b"java"})
    assert (large.original, large.reason, "too large to be kept" in large.message) == (None, "undecodable", True)
    assert worker.terminate() == 0


def test_a_flood_of_bad_events_stops_the_worker_until_a_person_starts_it_again(place: Stage) -> None:
    """The next start goes on behind what has become dead letters."""
    place.create()
    place.put(place.topics.events, *[(b"acme|x", b"junk")] * 60, partition=0)
    worker = place.worker("resolve")
    assert worker.exit_code() == EXIT_STOP
    assert "too many events are refused" in worker.said
    assert len(place.found(place.topics.dead_letters, DeadLetter)) == 60
    place.put_events(vote(1))
    again = place.ready_worker("resolve")
    wait_until(lambda: rows(place) == {"r1"}, _PATIENCE, "the good event is folded")
    assert again.terminate() == 0


def test_an_events_topic_that_was_made_anew_is_refused(place: Stage) -> None:
    """Versions would start at 0 again, below those of the rows: newer votes would lose."""
    place.create()
    place.put_events(*(vote(number) for number in range(10)))
    first = place.ready_worker("resolve")
    wait_until(lambda: len(rows(place)) == 10, _PATIENCE, "all rows")
    assert first.terminate() == 0
    admin, name = topic_admin.client(place.bootstrap), place.topics.events.name
    admin.delete_topics([name])[name].result(30)
    wait_until(lambda: name not in admin.list_topics(timeout=10).topics, 60, "the topic is gone")
    place.create()
    place.put_events(vote(100))
    second = place.worker("resolve")
    assert second.exit_code() == EXIT_STOP
    assert "was it re-created?" in second.said
    assert "r100" not in rows(place)


def named_vote(number: int, **written: object) -> FeedbackEvent:
    """A vote under a feedback id, as a vendor's client casts it."""
    feedback_id = packed(murmur2(request_key("acme", f"r{number}")), number, 0)
    return vote(number, **{"rating": None, "value": -1.0, "feedback_id": feedback_id, **written})


def change(of: FeedbackEvent, event_id: str, **written: object) -> FeedbackEvent:
    return FeedbackEvent("acme", "", event_id, AMEND, feedback_id=of.feedback_id, **written)  # type: ignore[arg-type]  # see above


def values(place: Stage) -> dict[str, float | None]:
    """Request -> the value of the vote that stands."""
    newest = {row.request_id: row for row in sorted(place.found(place.topics.latest, ResolvedFeedback), key=_version)}
    return {request: row.vote.value for request, row in newest.items() if row.vote is not None}


def _version(record: ResolvedFeedback | MinuteCount) -> int:
    return record.version


def test_a_change_right_after_its_vote_is_folded_and_one_after_a_restart_finds_its_vote_again(place: Stage) -> None:
    """The index of feedback ids is nowhere but in memory: a new worker makes it from the rows that it recovers."""
    place.create()
    votes = [named_vote(number) for number in range(6)]
    place.put_events(*(event for one in votes for event in (one, change(one, f"a{one.request_id}", value=3.0))))
    first = place.ready_worker("resolve")
    wait_until(lambda: values(place) == {f"r{number}": 3.0 for number in range(6)}, _PATIENCE, "all are changed")
    assert first.terminate() == 0
    second = place.ready_worker("resolve")
    superseded = vote(5, event_id="later", rating=None, value=0.0)
    place.put_events(*(change(one, f"b{one.request_id}", value=-7.0) for one in votes[:5]), superseded)
    place.put_events(change(votes[5], "too late", value=9.0), change(named_vote(99), "nobody's", value=9.0))
    wanted = {**{f"r{number}": -7.0 for number in range(5)}, "r5": 0.0}
    wait_until(lambda: values(place) == wanted, _PATIENCE, "those whose vote stands are changed again")
    wait_until(lambda: second.counted("amendments_unanswered") == 2, _PATIENCE, "the others are counted")
    assert place.found(place.topics.dead_letters, DeadLetter) == []
    assert standing(place) == (5, 0, 1)
    assert second.terminate() == 0


def standing(place: Stage) -> tuple[int, int, int]:
    """Negative, positive and neutral votes of the tenant, over all minutes and partitions."""
    counts = (count for count in place.found(place.topics.minutes, MinuteCount) if count.rollup == "tenant")
    newest = {(count.minute, count.source_partition): count for count in sorted(counts, key=_version)}
    cells = newest.values()
    return (
        sum(cell.negative for cell in cells),
        sum(cell.positive for cell in cells),
        sum(cell.neutral for cell in cells),
    )


def client_clock(topics: Topics) -> tuple[Topic, ...]:
    config = {**topics.events.config, "message.timestamp.type": "CreateTime"}
    return (replace(topics.events, config=config), *list(topics)[1:])


def too_many(topics: Topics) -> tuple[Topic, ...]:
    return tuple(replace(topic, partitions=3) if topic is topics.latest else topic for topic in topics)


def uncompacted(topics: Topics) -> tuple[Topic, ...]:
    config = {**topics.latest.config, "cleanup.policy": "delete"}
    return tuple(replace(topic, config=config) if topic is topics.latest else topic for topic in topics)


def incomplete(topics: Topics) -> tuple[Topic, ...]:
    return tuple(topic for topic in topics if topic is not topics.minutes)


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        (client_clock, "message.timestamp.type=CreateTime"),
        (too_many, "has 3 partitions, settings say 2"),
        (uncompacted, "cleanup.policy=delete"),
        (incomplete, "is missing"),
    ],
)
def test_topics_of_another_shape_are_refused(
    place: Stage, shape: Callable[[Topics], tuple[Topic, ...]], complaint: str
) -> None:
    admin = AdminClient({"bootstrap.servers": place.bootstrap})
    topic_admin.create(admin, shape(place.topics), 1)  # type: ignore[arg-type]  # it only iterates
    worker = place.worker("resolve")
    assert worker.exit_code() == EXIT_STOP
    assert complaint in worker.said


NONSENSE = MinuteCount("acme", "model", (), 0, 1000, 1, 1, 1, 1)  # a group without its dimension


def test_a_stranger_s_record_among_the_minutes_stops_nobody(place: Stage) -> None:
    """Neither when it is read first nor when a restarted worker replays it."""
    place.create()
    for _ in range(2):
        place.put(
            place.topics.minutes, (b"x", b"junk"), (b"x", None), (b"x", place.codec.encode(NONSENSE)), partition=0
        )
        watch = place.ready_worker("watch")
        wait_until(lambda: at_rest(place, "watch", place.topics.minutes), _PATIENCE, "all minutes are read")
        place.put(place.topics.minutes, (b"x", b"more junk"), partition=0)
        wait_until(lambda: at_rest(place, "watch", place.topics.minutes), _PATIENCE, "that too")
        assert watch.terminate() == 0


def test_a_group_that_starts_over_writes_no_row_again(place: Stage) -> None:
    """What a row's version already holds is skipped, so lost commits cost time and change nothing."""
    place.create()
    place.put_events(*(vote(number % 5, user_id=f"u{number}") for number in range(40)))
    first = place.ready_worker("resolve")
    wait_until(lambda: at_rest(place, "resolve", place.topics.events), _PATIENCE, "done")
    assert first.terminate() == 0
    before = rewritten(place)
    again = place.ready_worker("resolve", group=f"{place.group}-over")
    wait_until(lambda: at_rest(place, "resolve", place.topics.events, f"{place.group}-over"), _PATIENCE, "done again")
    assert again.terminate() == 0
    assert rewritten(place) == before


@pytest.mark.parametrize("role", ["resolve", "watch"])
def test_sigterm_ends_a_worker_with_exit_code_0(place: Stage, role: str) -> None:
    place.create()
    events = [vote(number) for number in range(500)]
    worker = place.ready_worker(role)
    place.put_events(*events)
    assert worker.terminate() == 0
    if role == "resolve":
        done = committed(place.bootstrap, f"{place.group}-resolve", place.topics.events.name)
        folded = sum(max(offset, 0) for offset in done.values())
        assert folded <= len(rows(place)) <= len(events)
