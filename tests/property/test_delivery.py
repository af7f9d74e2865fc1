"""Whatever fails and whenever it crashes: every transition is told, in order, and repeated only after a crash."""

import hypothesis.strategies as st
from hypothesis import given

from tests.simulators.delivery import Delivery, alert

_OUTAGES = st.lists(st.tuples(st.integers(0, 300), st.integers(1, 200)), max_size=3)
_STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 60)), max_size=25)
_CRASHES = st.lists(st.integers(1, 25), max_size=4, unique=True)


def _without_repetitions(got: list[str]) -> list[str]:
    return list(dict.fromkeys(got))


@given(steps=_STEPS, outages=_OUTAGES, crashes=_CRASHES, repeats=st.integers(0, 3))
def test_told_is_the_log_in_order_and_nothing_twice_without_a_crash(
    steps: list[tuple[str, int]], outages: list[tuple[int, int]], crashes: list[int], repeats: int
) -> None:
    """A crash strikes after the n-th answer, before anything is committed; watch repeats its last records."""
    delivery = Delivery(lambda now: 503 if any(start <= now < start + length for start, length in outages) else 200)
    delivery.run(0.5, until=lambda: False)
    numbers = dict.fromkeys("abc", 0)
    wanted, crashed, due = [], 0, sorted(crashes)
    for name, seconds in (*steps, ("", 2_000)):
        if name:
            numbers[name] += 1
            wanted.append(alert(name, numbers[name]))
            delivery.log += [wanted[-1], *wanted[-repeats or len(wanted) :]]
        while delivery.run(seconds, until=lambda: bool(due) and delivery.tries >= due[0]):
            due.pop(0)
            crashed += 1
            delivery.start()
    assert _without_repetitions(delivery.got) == [one.alert_id for one in wanted]
    assert len(delivery.got) - len(wanted) <= crashed
    assert delivery.committed in (len(delivery.log), None)


@given(steps=_STEPS)
def test_who_starts_late_knows_exactly_the_open_alerts(steps: list[tuple[str, int]]) -> None:
    numbers = dict.fromkeys("abc", 0)
    log = []
    for name, _ in steps:
        numbers[name] += 1
        log.append(alert(name, numbers[name]))
    delivery = Delivery(lambda now: 200, log=log)
    delivery.run(1)
    still = {name for name, number in numbers.items() if number % 2 == 1}
    assert {one.fingerprint for one in delivery.intake.open()} == still
    assert len(delivery.got) == len(still)
