"""What the table of rows derives from them: as large as the rows are, whatever their history."""

import asyncio
from pathlib import Path

import pytest

from processors.app import WorkerOptions, resolve_app
from processors.minutes import Cell, DayCells
from processors.tables import LatestTable
from schemas.codec import Codec
from schemas.events import ResolvedFeedback, Vote
from schemas.topics import Topics
from thumbstream.telemetry import Metrics

DAY = 86_400_000
CODEC = Codec()


@pytest.fixture
def table(tmp_path: Path) -> LatestTable:
    """The table of a worker that is never started, with partition 0."""
    app = resolve_app(WorkerOptions("127.0.0.1:1", Topics("t."), "g", tmp_path, kafka={"log_level": "0"}), Metrics())
    (made,) = app.tables.values()
    made.parts[0] = {}
    return made


def row(version: int, vote_time: int | None) -> bytes:
    vote = None if vote_time is None else Vote(-1)
    return CODEC.encode(ResolvedFeedback(version, False, vote_time, "acme", "r", vote, first_seen=1, updated_at=1))


def negatives(cells: DayCells) -> int:
    return max((cell.negative for cell in cells.values() if isinstance(cell, Cell)), default=0)


def test_a_vote_that_comes_and_goes_takes_the_room_of_one(table: LatestTable) -> None:
    for version in range(1, 2_001):
        table.commit(0, [(b"acme|r", row(version, DAY if version % 2 else None))], {})
    assert sum(map(len, table._index[0].values())) <= 2


def test_a_vote_that_comes_back_to_its_day_after_that_was_built_is_counted(table: LatestTable) -> None:
    async def counted(day: int) -> int:
        return negatives(await table.day(0, day))

    async def scenario() -> None:
        for version, day, found in ((1, 1, (1, 0)), (2, 2, (0, 1)), (3, 1, (1, 0)), (4, None, (0, 0)), (5, 2, (0, 1))):
            table.commit(0, [(b"acme|r", row(version, None if day is None else day * DAY))], {})
            table._drop_days(0)
            assert (await counted(1), await counted(2)) == found, version

    asyncio.run(scenario())


def test_days_without_a_vote_are_not_kept(table: LatestTable) -> None:
    async def scenario() -> None:
        for day in range(1_000):
            assert await table.day(0, day) == {}

    asyncio.run(scenario())
    assert not table._days
