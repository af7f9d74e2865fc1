"""A rebalance may come and go while a tail is read or written again: what is lost is forgotten, and stays so."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from processors import tables
from processors.app import WorkerOptions, resolve_app
from processors.tables import LatestTable
from processors.tail import Tail, Versions, heal
from schemas.codec import Codec
from schemas.events import ResolvedFeedback
from schemas.topics import Topics
from thumbstream.telemetry import Metrics

ROW = Codec().encode(ResolvedFeedback(7, False, None, "acme", "r", first_seen=1, updated_at=1))
TOPICS = Topics("t.")


@pytest.fixture
def table(tmp_path: Path) -> LatestTable:
    """The table of a worker that is never started, with one row in each of two partitions."""
    app = resolve_app(WorkerOptions("127.0.0.1:1", TOPICS, "g", tmp_path, kafka={"log_level": "0"}), Metrics())
    (made,) = app.tables.values()
    for partition in (0, 1):
        made.parts[partition] = {b"acme|r": ROW}
    return cast("LatestTable", made)


async def dealt(table: LatestTable, *partitions: int) -> None:
    """A whole rebalance, after which the worker has `partitions`."""
    await table.on_rebalance({TP(TOPICS.latest.name, number) for number in partitions}, set(), set())


def tail(during: Callable[[int], Any]) -> Tail:
    """A tail without news, during whose reading something happens."""

    def read(partition: int, _start: int) -> tuple[Versions, Versions, int]:
        during(partition)
        return {}, {}, 9

    return cast("Tail", SimpleNamespace(read=read))


def test_a_partition_that_is_lost_while_another_ones_tail_is_read_is_left_alone(table: LatestTable) -> None:
    read: list[int] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        def during(partition: int) -> None:
            read.append(partition)
            asyncio.run_coroutine_threadsafe(dealt(table, 0), loop).result(10)

        await heal(SimpleNamespace(rebalancing=False), table, tail(during))

    asyncio.run(scenario())
    assert read == [0]
    assert set(table.parts) == {0}


def test_the_tail_of_a_partition_that_left_and_came_back_says_nothing_of_its_memory(table: LatestTable) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()

        def during(_: int) -> None:
            for partitions in ((), (0,)):
                asyncio.run_coroutine_threadsafe(dealt(table, *partitions), loop).result(10)

        await heal(SimpleNamespace(rebalancing=False), table, tail(during))

    asyncio.run(scenario())
    assert table.persisted_offset(TP(TOPICS.latest.name, 0)) == -1


@pytest.mark.parametrize("after", [(), (0,)], ids=["lost", "lost and dealt again"])
def test_what_was_applied_is_forgotten_with_a_partition_that_is_lost_while_rows_become_durable(
    table: LatestTable, monkeypatch: pytest.MonkeyPatch, after: tuple[int, ...]
) -> None:
    async def barrier() -> None:
        await dealt(table)
        await dealt(table, *after)

    monkeypatch.setattr(table.outputs, "barrier", barrier)
    asyncio.run(table.heal_tail(0, {b"acme|r": 7}, {b"acme|r": 7}, 9))
    assert table.persisted_offset(TP(TOPICS.latest.name, 0)) == -1, "else recovery would begin behind its rows"


def test_what_was_applied_counts_for_a_partition_that_stays(
    table: LatestTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def barrier() -> None:
        await dealt(table, 0)

    monkeypatch.setattr(table.outputs, "barrier", barrier)
    asyncio.run(table.heal_tail(0, {b"acme|r": 7}, {b"acme|r": 7}, 9))
    assert table.persisted_offset(TP(TOPICS.latest.name, 0)) == 8


def test_a_newer_row_under_an_older_one_is_not_taken_for_known(table: LatestTable) -> None:
    """The worker is a zombie: it wrote its 7 again behind the new owner's 9."""
    asyncio.run(table.heal_tail(0, {b"acme|r": 7}, {b"acme|r": 9}, 2))
    assert table.persisted_offset(TP(TOPICS.latest.name, 0)) == -1, "recovery has to read the 9"


def test_a_recovery_whose_end_fails_ends_the_process(table: LatestTable, monkeypatch: pytest.MonkeyPatch) -> None:
    async def verify(_: int) -> None:
        raise TimeoutError("no leader")

    said: list[str] = []
    monkeypatch.setattr(tables, "die", said.append)
    monkeypatch.setattr(table, "verify", verify)
    asyncio.run(table.on_recovery_completed(set(), set()))
    assert said == ["cannot finish the recovery of t.latest: TimeoutError('no leader')"]
