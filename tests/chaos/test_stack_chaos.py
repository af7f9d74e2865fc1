"""The whole product under faults: three brokers, two of every stage, clients that insist, and an independent recount.

A minute of it always, half an hour on request (`pytest -m soak`; CHAOS_MINUTES). CHAOS_SEED repeats the traffic and the
schedule of faults of a run, not the machine's timing. docs/reliability.md tells what a recorded run has shown.
"""

import json
import os
import random
from pathlib import Path

import pytest

from tests.chaos.stack.plan import StackPlan
from tests.chaos.stack.run import Outcome, stack_chaos

pytestmark = [pytest.mark.system, pytest.mark.integration]
_MINUTES = float(os.environ.get("CHAOS_MINUTES", "30"))
_SHORT_SECONDS = 60.0


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))


def check(outcome: Outcome) -> None:
    """Nothing wrong, and enough has happened for that to mean something."""
    report = json.dumps(outcome.as_json(), indent=2, default=str)
    print(report)
    assert outcome.right, f"CHAOS_SEED={outcome.plan.seed}\n{report}"
    counted, traffic = outcome.verdict.counted, outcome.traffic
    for name in ("rows", "cells", "marks", "refused", "ticks", "acknowledged ids", "rolled back ids"):
        assert counted[name] > 0, f"CHAOS_SEED={outcome.plan.seed}: no {name}\n{report}"
    assert traffic["requests sent again for want of an answer"] > 0, report


def test_a_minute_of_faults_anywhere_leaves_nothing_wrong(tmp_path: Path, seed: int) -> None:
    check(stack_chaos(StackPlan(tmp_path, seed, _SHORT_SECONDS, fault_seconds=(3.0, 6.0))))


@pytest.mark.soak
def test_half_an_hour_of_faults_anywhere_leaves_nothing_wrong(
    tmp_path: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    if "soak" not in request.config.option.markexpr:
        pytest.skip(f"takes {_MINUTES:.0f} minutes and more: ask for it with `-m soak`")
    outcome = stack_chaos(StackPlan(tmp_path, seed, _MINUTES * 60))
    check(outcome)
    assert outcome.faults.total() >= 6 * _MINUTES
