"""A crowd of one tenant's queries waits for itself; nobody waits for ever, and no slot is lost."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from thumbstream.console.query_slots import CrowdedError, Limits, Slots

LIMITS = Limits(running=3, of_one_tenant=2, waiting=2, wait_seconds=0.05)


class Crowd:
    """Queries that run until they are told to end."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.slots, self.end, self.running = Slots(limits), asyncio.Event(), 0

    async def query(self, tenant: str) -> str:
        async with self.slots.hold(tenant):
            self.running += 1
            await self.end.wait()
            self.running -= 1
        return tenant

    async def start(self, *tenants: str) -> list[asyncio.Task[str]]:
        tasks = [asyncio.create_task(self.query(tenant)) for tenant in tenants]
        await asyncio.sleep(0)  # lets each go as far as it can
        return tasks


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


async def outcome(task: asyncio.Task[str]) -> str:
    try:
        return await task
    except CrowdedError as crowded:
        return "own" if crowded.own else "all"


def test_one_tenant_gets_its_share_and_another_still_finds_room() -> None:
    async def scenario() -> None:
        crowd = Crowd()
        held = await crowd.start("a", "a")
        (third,) = await crowd.start("a")
        (other,) = await crowd.start("b")
        assert crowd.running == 3
        assert await outcome(third) == "own"
        crowd.end.set()
        assert [await task for task in (*held, other)] == ["a", "a", "b"]

    run(scenario())


def test_when_all_slots_are_taken_it_is_not_the_tenants_own_fault() -> None:
    async def scenario() -> None:
        crowd = Crowd()
        held = await crowd.start("a", "a", "b")
        (late,) = await crowd.start("c")
        assert await outcome(late) == "all"
        crowd.end.set()
        assert await asyncio.gather(*held) == ["a", "a", "b"]
        assert await outcome((await crowd.start("c"))[0]) == "c"

    run(scenario())


def test_who_waits_gets_the_slot_that_comes_free() -> None:
    async def scenario() -> None:
        crowd = Crowd(Limits(running=1, of_one_tenant=1, waiting=2, wait_seconds=30))
        tasks = await crowd.start("a", "a", "b")
        crowd.end.set()
        assert await asyncio.gather(*tasks) == ["a", "a", "b"]

    run(scenario())


def test_a_long_queue_turns_away_at_once() -> None:
    async def scenario() -> None:
        crowd = Crowd(Limits(running=1, of_one_tenant=1, waiting=2, wait_seconds=30))
        tasks = await crowd.start("a", "a", "a")
        (turned,) = await crowd.start("a")
        with pytest.raises(CrowdedError):
            await turned
        crowd.end.set()
        assert await asyncio.gather(*tasks) == ["a", "a", "a"]

    run(scenario())


def test_whoever_finds_a_slot_free_takes_it_however_many_of_others_wait() -> None:
    async def scenario() -> None:
        crowd = Crowd(Limits(running=2, of_one_tenant=1, waiting=2, wait_seconds=30))
        tasks = await crowd.start("a", "a", "a", "b")
        assert crowd.running == 2
        crowd.end.set()
        assert await asyncio.gather(*tasks) == ["a", "a", "a", "b"]

    run(scenario())


def test_one_tenant_leaves_the_others_room_to_wait() -> None:
    async def scenario() -> None:
        crowd = Crowd(Limits(running=2, of_one_tenant=1, waiting=3, waiting_of_one_tenant=1, wait_seconds=30))
        tasks = await crowd.start("a", "a", "b")
        (turned,) = await crowd.start("a")
        assert await outcome(turned) == "own"
        tasks += await crowd.start("c")
        crowd.end.set()
        assert await asyncio.gather(*tasks) == ["a", "a", "b", "c"]

    run(scenario())


def test_queries_that_are_given_up_leave_every_slot_free() -> None:
    async def scenario() -> None:
        crowd = Crowd(Limits(running=2, of_one_tenant=1, waiting=9, wait_seconds=30))
        tasks = await crowd.start("a", "a", "b", "c", "c")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        again = await crowd.start("a", "b")
        assert crowd.running == 2 + 2  # the two that were cancelled while they ran never counted down
        crowd.end.set()
        assert await asyncio.gather(*again) == ["a", "b"]

    run(scenario())
