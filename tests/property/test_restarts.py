"""Alerts are a function of the log: crashes and restarts change none, and a slow evaluator finds the same ones."""

import pytest

from tests.simulators.every_tick import EveryTick, Transition, told
from tests.simulators.minutes_log import MINUTE
from tests.simulators.restarts import GRACE, MONITORS, SETS, Habits, engine, feed, is_wrong, log_of

BROKEN = {name: Habits(**{name: True}) for name in Habits.__slots__}


def slowly(seed: int) -> list[Transition]:
    oracle = EveryTick(MONITORS, MINUTE, GRACE, SETS)
    for append_time, record in log_of(seed):
        oracle.read(append_time, record)
    return sorted(oracle.transitions)


def quickly(seed: int) -> list[Transition]:
    log = log_of(seed)
    return sorted(told(alert, MINUTE) for alert in feed(engine(), log, 0, len(log)))


def test_the_engine_makes_the_transitions_that_sums_from_scratch_make() -> None:
    found = [(quickly(seed), slowly(seed)) for seed in range(100)]
    assert sum(len(transitions) for transitions, _ in found) > 400  # else the logs are too quiet to show anything
    assert {transition.status for transitions, _ in found for transition in transitions} == {"firing", "resolved"}
    assert [seed for seed, (one, other) in enumerate(found) if one != other] == []


def test_crashes_and_restarts_change_no_transition() -> None:
    assert [seed for seed in range(150) if is_wrong(seed, Habits())] == []


@pytest.mark.soak
def test_crashes_and_restarts_change_no_transition_of_many_logs() -> None:
    assert [seed for seed in range(10_000, 13_000) if is_wrong(seed, Habits())] == []


@pytest.mark.soak
def test_sums_from_scratch_agree_on_many_logs() -> None:
    assert [seed for seed in range(10_000, 13_000) if quickly(seed) != slowly(seed)] == []


@pytest.mark.parametrize("habits", BROKEN.values(), ids=BROKEN.keys())
def test_the_simulator_finds_each_broken_habit(habits: Habits) -> None:
    assert any(is_wrong(seed, habits) for seed in range(400))
