"""Rows, counts, marks and alerts under kill -9, SIGTERM, zombies, joins and frozen sources: nothing may be wrong.

CHAOS_SEED repeats a run's traffic and faults (not the machine's timing). `pytest -m soak` runs for minutes.
"""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.plan import Plan
from tests.chaos.run import Outcome, chaos

pytestmark = pytest.mark.integration
_SOAK_SECONDS = float(os.environ.get("CHAOS_SOAK_SECONDS", "300"))
_EXIT_SECONDS = 20  # SIGTERM must end a worker within seconds; the rest is room for a busy machine


@pytest.fixture
def plan(kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path) -> Plan:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(1_000_000))
    return Plan(kafka_bootstrap, f"{unique('chaos')}.", tmp_path, seed)


def check(outcome: Outcome) -> None:
    """Nothing wrong, and enough has happened for that to mean something."""
    print(outcome)
    assert outcome.right, f"CHAOS_SEED={outcome.plan.seed}\n{outcome}"
    assert outcome.slowest_exit < _EXIT_SECONDS, str(outcome)
    counted = outcome.verdict.counted
    for name in ("rows", "cells", "marks", "refused", "ticks", "firing"):
        assert counted[name] > 0, f"CHAOS_SEED={outcome.plan.seed}: no {name}\n{outcome}"


def test_a_minute_of_faults_leaves_nothing_wrong(plan: Plan) -> None:
    check(chaos(plan, seconds=60, rate=250))


@pytest.mark.soak
def test_a_soak_of_faults_leaves_nothing_wrong(plan: Plan, request: pytest.FixtureRequest) -> None:
    if "soak" not in request.config.option.markexpr:
        pytest.skip(f"takes {_SOAK_SECONDS:.0f} s and more: ask for it with `-m soak`")
    check(chaos(plan, seconds=_SOAK_SECONDS))
