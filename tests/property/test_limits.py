"""Laws of rate limits: no span of time holds more than burst and rate allow, and who waits as told is let through."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from producers.limits import Limiter, Rate

RATES = st.builds(Rate, st.sampled_from([0.5, 1.0, 3.0, 100.0]), st.integers(1, 20))
STEPS = st.lists(st.tuples(st.floats(0, 5), st.sampled_from("ab")), max_size=60)
SLACK = 0.0025  # the rounding, once for each end of a span, in what the slowest rate lets through


@given(RATES, STEPS)
def test_no_span_of_time_holds_more_than_burst_and_rate_allow(rate: Rate, steps: list[tuple[float, str]]) -> None:
    limiter, now, taken = Limiter(rate), 1000.0, dict[str, list[float]](a=[], b=[])
    for pause, name in steps:
        now += pause
        if limiter.take(name, now) == 0:
            taken[name].append(now)
    for moments in taken.values():
        for first, start in enumerate(moments):
            for last in range(first, len(moments)):
                assert last - first + 1 <= rate.burst + rate.per_second * (moments[last] - start) + SLACK


@given(RATES, STEPS)
def test_who_waits_as_told_is_let_through_and_not_before(rate: Rate, steps: list[tuple[float, str]]) -> None:
    limiter, now = Limiter(rate), 1000.0
    for pause, name in steps:
        now += pause
        wait = limiter.take(name, now)
        if wait:
            assert limiter.wait(name, now + wait * 0.99) > 0
            assert limiter.wait(name, now + wait + SLACK) == 0


@given(RATES, STEPS, st.integers(1, 100))
def test_what_was_charged_is_paid_off_at_the_rate(rate: Rate, steps: list[tuple[float, str]], amount: int) -> None:
    limiter, now = Limiter(rate), 1000.0
    for pause, name in steps:
        now += pause
        limiter.take(name, now)
    before = limiter.wait("a", now)
    limiter.charge("a", now, amount + rate.burst)  # whatever was left, now there is a debt
    assert limiter.wait("a", now) >= (amount + 1) / rate.per_second - SLACK
    assert limiter.wait("a", now) <= before + (amount + 1 + rate.burst) / rate.per_second + SLACK


@given(RATES, st.lists(st.tuples(st.floats(0, 5), st.integers(0, 50).map(str)), max_size=100), st.integers(1, 10))
def test_memory_stays_within_its_bound(rate: Rate, steps: list[tuple[float, str]], names: int) -> None:
    limiter, now = Limiter(rate, names=names), 0.0
    for pause, name in steps:
        now += pause
        limiter.take(name, now)
        assert len(limiter) <= names


@given(RATES, STEPS)
def test_taking_and_giving_back_changes_nothing(rate: Rate, steps: list[tuple[float, str]]) -> None:
    plain, other, now = Limiter(rate), Limiter(rate), 1000.0
    for pause, name in steps:
        now += pause
        if other.take("c", now) == 0:
            other.give_back("c", now)
        assert other.wait("c", now) == pytest.approx(0, abs=SLACK)
        assert other.take(name, now) == pytest.approx(plain.take(name, now), abs=SLACK)
