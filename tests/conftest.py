"""Fixtures for the whole suite; the ones that start servers live in `tests/fixtures`."""

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["tests.fixtures.clickhouse", "tests.fixtures.kafka"]

_VOTES = Path(__file__).resolve().parents[2] / "shared" / "data" / "cofacts-votes.csv.gz"


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
