"""Fixtures for the whole suite (the ones that start servers live in `tests/fixtures`) and the order of tests."""

import os
import random
import uuid
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = [
    "tests.fixtures.browser",
    "tests.fixtures.clickhouse",
    "tests.fixtures.kafka",
    "tests.fixtures.parallel",
]

_VOTES = Path(__file__).resolve().parents[2] / "shared" / "data" / "cofacts-votes.csv.gz"
_FASTEST_FIRST = ("unit", "property", "contract", "browser", "clients", "integration", "chaos", "system")
# Processes of one run must agree on the order, so they inherit it.
_ORDER_SEED = int(os.environ.setdefault("TEST_ORDER_SEED", str(random.randrange(1_000_000))))


# The same examples at every run; HYPOTHESIS_PROFILE=search looks for new ones. That a machine is slow is no failure.
settings.register_profile(
    "same", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_report_header() -> str:
    return f"test order: TEST_ORDER_SEED={_ORDER_SEED} repeats it"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle, so that no test comes to lean on the one before it.

    A module's tests stay together, for its fixtures are made once. In one process fast folders come first; with `-n`
    the slow ones do, so that none is left alone at the end.
    """
    dice = random.Random(_ORDER_SEED)
    modules = [list(tests) for _path, tests in groupby(items, key=lambda item: item.path)]
    dice.shuffle(modules)
    for tests in modules:
        dice.shuffle(tests)
    several = hasattr(config, "workerinput")
    modules.sort(key=lambda tests: _folder_rank(tests[0]), reverse=several)
    items[:] = [test for tests in modules for test in tests]


def _folder_rank(test: pytest.Item) -> int:
    folder = test.path.parent.name
    return _FASTEST_FIRST.index(folder) if folder in _FASTEST_FIRST else len(_FASTEST_FIRST)


@pytest.fixture(scope="session")
def unique() -> Callable[[str], str]:
    """Name maker: `unique("events")` -> `events-3f9c...`; servers are shared, so no two tests may share a name."""
    return lambda prefix: f"{prefix}-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def votes_file() -> Path:
    """Give the file of real votes; a checkout without it skips the tests that read it."""
    if not _VOTES.exists():
        pytest.skip(f"THE REAL VOTES ARE MISSING: no {_VOTES.name} in {_VOTES.parent}")
    return _VOTES
