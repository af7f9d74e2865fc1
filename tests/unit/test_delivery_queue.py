"""One receiver's deliveries on a simulated clock: outages, refusals, crashes, late starts."""

import pytest

from sinks.delivery.replies import Answer, Verdict, judge, pause, retry_after
from tests.simulators.delivery import Delivery, alert, receiver

TEN_MINUTES = 600.0


def ids(*alerts: object) -> list[str]:
    return [one.alert_id for one in alerts]  # type: ignore[attr-defined]  # alerts, whatever a test calls them


def test_a_receiver_that_fails_for_ten_minutes_gets_each_transition_once_and_in_order() -> None:
    delivery = Delivery(lambda now: 503 if 10 <= now < 10 + TEN_MINUTES else 200)
    delivery.run(5)
    transitions = [alert(name, number) for number in range(1, 7) for name in ("a", "b", "c")]
    for number, transition in enumerate(transitions):
        delivery.run(10 + number * 30 - delivery.now)
        delivery.log.append(transition)  # two of three are superseded while the receiver is away
    delivery.run(2 * TEN_MINUTES)
    assert delivery.got == ids(*transitions)
    assert delivery.tries < len(transitions) + 25, "tries grow apart"
    recovered = next(at for at in delivery.got_at if at >= 10 + TEN_MINUTES)
    assert recovered <= 10 + TEN_MINUTES + 60, "and yet not so far that recovery goes unnoticed"
    assert delivery.letters == []


def test_a_crash_between_an_answer_and_its_commit_repeats_that_one_id_and_no_other() -> None:
    delivery = Delivery(lambda now: 200)
    delivery.run(1)
    delivery.log += [alert("a", number) for number in range(1, 6)]
    assert delivery.run(10, until=lambda: len(delivery.got) == 3)
    delivery.start()
    delivery.run(10)
    assert delivery.got == ids(*delivery.log[:3], *delivery.log[2:])


def test_a_transition_that_watch_publishes_twice_is_told_once_also_across_a_restart() -> None:
    first, second = alert("a", 1), alert("a", 2)
    delivery = Delivery(lambda now: 200)
    delivery.run(1)
    delivery.log += [first, first, second]
    delivery.run(1)
    delivery.start()
    delivery.log += [second, first]
    delivery.run(1)
    assert delivery.got == ids(first, second)
    assert delivery.committed == 5, "what is skipped is dealt with, too"


def test_the_first_start_tells_exactly_the_open_alerts_and_then_everything() -> None:
    history = [alert("a", 1), alert("b", 1), alert("a", 2), alert("c", 1), alert("a", 3), alert("b", 2)]
    delivery = Delivery(lambda now: 200, log=list(history))
    delivery.run(1)
    assert delivery.got == ids(history[3], history[4])
    delivery.log += [alert("a", 4), alert("b", 3)]
    delivery.run(1)
    assert delivery.got[2:] == ids(*delivery.log[-2:])
    assert [one.fingerprint for one in delivery.intake.open()] == ["c", "b"]


def test_a_crash_during_the_first_start_tells_the_open_alerts_again_and_skips_none() -> None:
    delivery = Delivery(lambda now: 200, log=[alert(name, 1) for name in "abcd"])
    assert delivery.run(1, until=lambda: len(delivery.got) == 2)
    assert delivery.committed is None
    delivery.start()
    delivery.run(1)
    assert delivery.got[2:] == ids(*delivery.log)


def test_what_is_refused_for_good_is_parked_and_the_rest_goes_on() -> None:
    delivery = Delivery(lambda now: 400 if delivery.tries == 2 else 200)
    delivery.run(1)
    delivery.log += [alert("a", number) for number in range(1, 5)]
    delivery.run(1)
    assert delivery.got == ids(delivery.log[0], *delivery.log[2:])
    assert delivery.letters == ["deliver.ops-feedback.high-negative-rate-0-1"]
    assert delivery.committed == 4


def test_after_a_long_outage_each_is_tried_once_more_and_parked_until_the_receiver_is_back() -> None:
    delivery = Delivery(lambda now: 0 if now < 7_500 else 200, to=receiver(give_up_after=7_200.0))
    delivery.run(1)
    delivery.log += [alert(f"f{number}", 1) for number in range(20)]
    delivery.run(20_000)
    assert 1 < len(delivery.letters) < 20
    assert delivery.got == ids(*delivery.log[len(delivery.letters) :]), "parked is the beginning, told is the rest"


def test_a_log_that_is_shorter_than_what_was_committed_begins_anew() -> None:
    delivery = Delivery(lambda now: 200, log=[alert("a", 1)], committed=50)
    delivery.run(1)
    assert delivery.got == ids(alert("a", 1))
    assert delivery.committed == 1


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 201, 202, 204), Verdict.DELIVERED),
        ((408, 425, 429, 500, 502, 503, 504, 529), Verdict.RETRY),
        ((301, 302, 307, 400, 401, 403, 404, 410, 413, 422), Verdict.REFUSED),
    ],
)
def test_what_a_status_means(statuses: tuple[int, ...], verdict: Verdict) -> None:
    assert {judge(status) for status in statuses} == {verdict}


def test_pauses_double_to_a_minute_and_the_dice_spread_them() -> None:
    assert [pause(failures, 1.0) for failures in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pause(4, 0.0) == 4
    assert pause(10_000, 0.5) == 45


def test_a_receiver_that_says_when_is_asked_no_sooner() -> None:
    assert retry_after("120", 0) == 120
    assert retry_after("Thu, 01 Jan 1970 00:01:30 GMT", 60) == 30
    assert retry_after("Thu, 01 Jan 1970 00:00:30 GMT", 60) == 0
    assert retry_after("999999", 0) == 3_600
    for nonsense in ("Mon, 01 Jan 2026 00:00:00 +99999999999999", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"):
        assert retry_after(nonsense, 0) is None
    assert retry_after("soon", 0) is None
    assert retry_after(None, 0) is None
    assert pause(1, 0.0, 120) == 120
    delivery = Delivery(lambda now: 200)
    delivery.queue.heard(Answer(Verdict.RETRY, 429, "", retry_after=120), 0.0, 0.0)
    assert not delivery.queue.may_try(119.9)
    assert delivery.queue.may_try(120.0)
