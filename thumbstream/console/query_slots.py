"""How many queries run at once: a few in all, fewer of one tenant, and the others wait a moment or are turned away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class CrowdedError(Exception):
    """No slot came free in time. `own`: it is the tenant's own queries that fill its share."""

    def __init__(self, *, own: bool) -> None:
        super().__init__("too many queries at once")
        self.own = own


@dataclass(frozen=True, slots=True)
class Limits:
    """Queries that run at once in all and of one tenant, queries that wait, the same, and for how many seconds."""

    running: int = 8
    of_one_tenant: int = 4
    waiting: int = 64
    waiting_of_one_tenant: int = 16
    wait_seconds: float = 2.0


class Slots:
    """A tenant that asks without end waits for itself; the others find a slot free."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._all = asyncio.Semaphore(limits.running)
        self._tenants: dict[str, asyncio.Semaphore] = {}
        self._users: dict[str, int] = {}  # running and waiting, by tenant
        self._waiting = 0

    @asynccontextmanager
    async def hold(self, tenant: str) -> AsyncIterator[None]:
        """Keep a slot while a query runs. CrowdedError when none comes free in time, or too many wait already."""
        own = self._tenants.setdefault(tenant, asyncio.Semaphore(self._limits.of_one_tenant))
        self._users[tenant] = self._users.get(tenant, 0) + 1
        try:
            await self._acquire(own, self._users[tenant] - self._limits.of_one_tenant)
            try:
                yield
            finally:
                self._all.release()
                own.release()
        finally:
            self._users[tenant] -= 1
            if not self._users[tenant]:
                del self._users[tenant], self._tenants[tenant]

    async def _acquire(self, own: asyncio.Semaphore, waiting: int) -> None:
        """Both semaphores, or none of them. `waiting` of this tenant, this one included, are beyond its share."""
        if waiting > self._limits.waiting_of_one_tenant:
            raise CrowdedError(own=True)
        if self._waiting >= self._limits.waiting and (own.locked() or self._all.locked()):
            raise CrowdedError(own=own.locked())
        self._waiting += 1
        held = False
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                held = await own.acquire()
                await self._all.acquire()
        except BaseException as stopped:
            if held:
                own.release()
            if isinstance(stopped, TimeoutError):
                raise CrowdedError(own=not held) from None
            raise
        finally:
            self._waiting -= 1
