"""Made-up traffic: the same for the same seed, valid, and with every kind of behaviour it promises."""

from itertools import chain

from processors.monitors import BUILT_IN
from producers.validation import parse_event
from schemas.events import FeedbackEvent
from thumbstream.traffic import MODELS, Event, Traffic

NOW = 1_790_000_000_000
DAY = 86_400_000


def flow(traffic: Traffic, steps: int) -> list[Event]:
    return list(chain.from_iterable(traffic.next(NOW + step * 1_000) for step in range(steps)))


def parsed(event: Event) -> FeedbackEvent:
    return parse_event(event, tenant_id="t", source="s", new_id=lambda: "none", received_at=NOW)


def test_the_same_seed_gives_the_same_traffic_and_another_one_does_not() -> None:
    assert flow(Traffic(7), 500) == flow(Traffic(7), 500)
    assert flow(Traffic(7), 500) != flow(Traffic(8), 500)


def test_every_event_is_valid_and_names_its_own_id_and_time() -> None:
    for event in [*flow(Traffic(1, incident=MODELS[0], bad=True), 2_000), *Traffic(1).history(50, NOW)]:
        assert parsed(event).event_id == event["event_id"]


def test_people_change_their_minds_retract_repeat_and_come_late() -> None:
    events = flow(Traffic(1), 2_000)
    ids = [event["event_id"] for event in events]
    requests = [event["request_id"] for event in events]
    kinds = {parsed(event).kind for event in events}
    assert len(set(ids)) < len(ids)
    assert len(set(requests)) < len(set(ids))
    assert kinds == {"vote", "retract", "context"}
    assert [event["event_time"] for event in events] != sorted(event["event_time"] for event in events)


def test_a_repeated_event_is_the_very_same() -> None:
    by_id: dict[str, Event] = {}
    for event in flow(Traffic(2), 2_000):
        assert by_id.setdefault(event["event_id"], event) == event


def test_an_incident_is_bad_enough_for_the_rule_in_its_model_only_and_ordinary_traffic_is_not() -> None:
    [monitor] = [monitor for monitor in BUILT_IN if monitor.rollup == ("model",)]

    def surely_bad(traffic: Traffic) -> set[str]:
        votes = [traffic.vote(NOW) for _ in range(3_000)]
        shares = {model: [vote["rating"] for vote in votes if vote["metadata"]["model"] == model] for model in MODELS}
        return {model for model, good in shares.items() if monitor.surely_above(good.count(False), len(good))}

    assert surely_bad(Traffic(3, incident=MODELS[1], bad=True)) == {MODELS[1]}
    assert surely_bad(Traffic(3, incident=MODELS[1])) == set()


def test_history_lies_before_now_in_order_of_time() -> None:
    times = [event["event_time"] for event in Traffic(1).history(100, NOW, days=2)]
    assert times == sorted(times)
    assert times[0] == NOW - 2 * DAY
    assert times[-1] < NOW
    assert list(Traffic(1).history(0, NOW)) == []
