"""The emitter before a real broker: what services publish themselves is what the gateway would have published."""

from collections.abc import Callable
from typing import Any

import pytest

from producers.emitter import Emitter, UndeliveredError
from producers.validation import RefusedError
from schemas.events import AMEND, FeedbackEvent
from schemas.feedback_ids import packed
from schemas.topics import Topics, partition_of
from tests.fixtures.events import make_events_topic, stored_events
from thumbstream.local.ports import free_ports

pytestmark = pytest.mark.integration

NOON = 1_767_268_800_000


@pytest.fixture
def topics(kafka_bootstrap: str, unique: Callable[[str], str]) -> Topics:
    return make_events_topic(kafka_bootstrap, unique)


@pytest.fixture
def nobody() -> Emitter:
    """An emitter whose broker does not exist."""
    (port,) = free_ports(1)
    return Emitter(f"127.0.0.1:{port}", "acme", kafka={"delivery.timeout.ms": 1_000, "log_level": 0}, queue=2)


def vote(**fields: Any) -> dict[str, Any]:
    return {"request_id": "r", "rating": True, **fields}


def test_what_is_sent_arrives_with_an_id_and_a_time(kafka_bootstrap: str, topics: Topics) -> None:
    with Emitter(kafka_bootstrap, "ac|me", topics=topics, source="shop", clock=lambda: NOON) as emitter:
        made = emitter.send(vote(metadata={"model": "m"}))
        kept = emitter.send(vote(event_id="mine", event_time="2026-01-01T00:00:00Z"))
        record = emitter.send(FeedbackEvent("", "r", "", "vote", value=-1.0))
    stored = {found.event.event_id: found for found in stored_events(kafka_bootstrap, topics)}
    assert set(stored) == {made, kept, record}
    assert kept == "mine"
    assert stored[made].event == FeedbackEvent(
        "ac|me", "r", made, "vote", event_time=NOON, rating=True, weight=1.0, metadata={"model": '"m"'}, source="shop"
    )
    assert stored[kept].event.event_time == NOON - 12 * 3_600_000
    assert (stored[record].event.tenant_id, stored[record].event.event_time) == ("ac|me", NOON)
    for found in stored.values():
        assert found.key == b"ac%7Cme|r"
        assert found.partition == partition_of(found.key, topics.events.partitions)


def test_an_amendment_is_refused(nobody: Emitter) -> None:
    made_up = FeedbackEvent("", "", "", AMEND, value=1.0, feedback_id=packed(1, 2, 3))
    for event in (made_up, {"kind": "amend", "value": 1}):
        with pytest.raises(RefusedError) as refused:
            nobody.send(event)
        assert refused.value.violation.reason == "unknown_kind"


def test_a_small_queue_slows_the_sender_and_loses_nothing(kafka_bootstrap: str, topics: Topics) -> None:
    emitter = Emitter(kafka_bootstrap, "acme", topics=topics, queue=5)
    sent = [emitter.send(vote(request_id=f"r{number}")) for number in range(200)]
    emitter.flush(20)
    assert sorted(sent) == sorted(found.event.event_id for found in stored_events(kafka_bootstrap, topics))


def test_flush_names_what_is_not_acknowledged_once(nobody: Emitter) -> None:
    sent = [nobody.send(vote()), nobody.send(vote())]
    with pytest.raises(UndeliveredError) as open_still:
        nobody.flush(0.01)
    assert open_still.value.event_ids == sent
    with pytest.raises(UndeliveredError, match="2 events are not acknowledged") as failed:
        nobody.flush(10)
    assert failed.value.event_ids == sent
    nobody.flush(1)


def test_a_full_queue_waits_until_the_broker_or_time_makes_room(nobody: Emitter) -> None:
    sent = [nobody.send(vote()) for _ in range(5)]
    with pytest.raises(UndeliveredError) as failed:
        nobody.flush(10)
    assert failed.value.event_ids == sent


def _fail_inside(emitter: Emitter) -> None:
    with emitter:
        emitter.send(vote())
        raise KeyError("mine")


def test_the_end_of_a_block_speaks_up_but_never_hides_an_error(nobody: Emitter) -> None:
    with pytest.raises(UndeliveredError), nobody:
        nobody.send(vote())
    with pytest.raises(KeyError) as raised:
        _fail_inside(nobody)
    assert "not acknowledged" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    "event",
    [
        {"rating": True},
        vote(rating=1),
        vote(comment="\ud800"),
        ["no object"],
        FeedbackEvent("other", "r", "e", "vote", rating=True),
        FeedbackEvent("acme", "r", "e", "vote"),
        FeedbackEvent("acme", "r", "e", "vote", rating=True, event_time=5),
    ],
)
def test_what_breaks_a_rule_is_refused_and_nothing_is_sent(nobody: Emitter, event: Any) -> None:
    with pytest.raises(RefusedError):
        nobody.send(event)
    nobody.flush(0)


def test_a_record_with_half_a_character_is_refused_too(nobody: Emitter) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        nobody.send(FeedbackEvent("acme", "r", "e", "vote", rating=True, comment="\ud800"))
    nobody.flush(0)
