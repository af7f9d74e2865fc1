"""Replaying what was parked: to its receiver, under its id, and to an Alertmanager only what is so now."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from schemas.codec import Codec
from schemas.events import Alert, DeadLetter
from sinks.delivery.messages import time_text
from sinks.delivery.parking import letter
from sinks.delivery.queue import Parcel
from sinks.delivery.receivers import Receiver, Receivers
from sinks.delivery.replies import Answer, Verdict
from tests.fixtures.receiver import Receiving, receiving
from tests.simulators.delivery import KEY, alert, source
from thumbstream.dead_letters import UnreplayableError
from thumbstream.redelivery import Redelivery, newest_alerts, redelivery

CODEC = Codec()
FIRING, RESOLVED = alert("a", 1), alert("a", 2)


@pytest.fixture
def server() -> Iterator[Receiving]:
    with receiving() as made:
        yield made


def to(server: Receiving, kind: str = "webhook") -> Receiver:
    return Receiver("ops", kind, f"{server.url}/hook", (KEY,), allow_private=True)


def parked(receiver: Receiver, record: Alert = FIRING) -> DeadLetter:
    answer = Answer(Verdict.REFUSED, 404, "HTTP 404")
    return letter(receiver, Parcel(source(record, 7), record, 8), answer)


def again(receiver: Receiver, *alerts: Alert) -> AbstractContextManager[Redelivery]:
    return redelivery(Receivers((receiver,)), CODEC, newest_alerts(alerts))


def test_a_webhook_gets_what_was_parked_under_the_same_id(server: Receiving) -> None:
    with again(to(server), FIRING, RESOLVED) as made:
        made.tell(parked(to(server)))
    assert server.ids == [FIRING.alert_id]


def test_an_alertmanager_gets_what_is_so_now(server: Receiving) -> None:
    manager = to(server, "alertmanager")
    with again(manager, RESOLVED, FIRING) as made:
        made.tell(parked(manager))
    ((posted,),) = server.bodies
    assert posted["endsAt"] == time_text(RESOLVED.ended_at or 0)
    assert posted["annotations"]["alert_id"] == RESOLVED.alert_id


def test_what_cannot_be_told_says_why_and_stays_open(server: Receiving) -> None:
    receiver = to(server)
    good = parked(receiver)
    server.answer = lambda _: 503
    for wrong, sentence in (
        (good, "HTTP 503"),
        (replace(good, headers={}), "no receiver "),
        (replace(good, headers={"receiver": b"gone"}), "no receiver gone: the file has ops"),
        (replace(good, original=None), "its original was not kept"),
        (replace(good, original=b"x"), "undecodable"),
        (replace(good, original=CODEC.encode(good)), "a DeadLetter is told to nobody"),
    ):
        with again(receiver) as made, pytest.raises(UnreplayableError, match=sentence):
            made.tell(wrong)


def test_a_letter_says_who_what_where_and_why_and_no_secret(server: Receiving) -> None:
    made = parked(to(server))
    assert made.message == f"ops at 127.0.0.1: {FIRING.alert_id}: HTTP 404"
    assert (made.topic, made.partition, made.offset, made.tenant_id) == ("feedback.high-negative-rate", 0, 7, "acme")
    assert CODEC.decode(made.original or b"") == FIRING
    assert b"hook" not in CODEC.encode(made)
