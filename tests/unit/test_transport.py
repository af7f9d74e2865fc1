"""What the batch transport remembers of its partitions, without a broker: fakes stand for the client and its thread."""

from __future__ import annotations

import asyncio
from itertools import combinations_with_replacement
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.tables.recovery import ServiceStopped
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from processors import transport
from processors.transport import BatchConsumer

ONE, OTHER = TP("events", 0), TP("events", 1)
# An answer of the broker arrives in the client's thread, which sets the end and then the time.
ARRIVING = ((10, 1_000.0), (20, 1_000.0), (20, 2_000.0))


class Client:
    """An aiokafka consumer; each question after the first one finds the next of some moments."""

    def __init__(self, *moments: tuple[int, float]) -> None:
        self._moments = list(moments)

    def assignment(self) -> set[TP]:
        return {ONE}

    def highwater(self, _: TP) -> int:
        return self._moments.pop(0)[0]

    def last_poll_timestamp(self, _: TP) -> float:
        return self._moments.pop(0)[1]


class Recovery:
    """Faust's, as far as the consumer sees it."""

    def __init__(self) -> None:
        self.signal_recovery_start, self.should_stop = asyncio.Event(), False

    async def _wait(self, *_: Any, **__: Any) -> None:
        """What a wait does that is not answered in time, and one during which the service is stopped."""
        raise ServiceStopped


def consumer(client: Client | None = None) -> BatchConsumer:
    """A consumer with the memory that the tests look at; Faust's own needs an app and its loop."""
    made: Any = object.__new__(BatchConsumer)
    made.app = SimpleNamespace(consumer_generation_id=1, rebalancing=False, tables=SimpleNamespace(recovery=Recovery()))
    made.flow_active, made.can_resume_flow, made.suspend_flow = True, asyncio.Event(), asyncio.Event()
    made._done, made._reached, made.started_at, made.gaps = {}, {}, {}, set()
    made._thread = SimpleNamespace(_consumer=client)
    return cast("BatchConsumer", made)


@pytest.mark.parametrize(("first", "second"), [*combinations_with_replacement(ARRIVING, 2)])
def test_an_old_end_is_never_told_with_a_new_time(first: tuple[int, float], second: tuple[int, float]) -> None:
    told = consumer(Client(first, second)).fetch_state(ONE)
    assert told in ARRIVING


def test_gaps_are_forgotten_once_the_position_has_passed_them() -> None:
    made = consumer()
    made.gaps = {(ONE, 5), (ONE, 9), (OTHER, 5)}
    made.done(ONE, 5, generation=1)
    assert made.gaps == {(ONE, 5), (ONE, 9), (OTHER, 5)}, "the record behind the gap is still to come"
    made.done(ONE, 6, generation=1)
    assert made.gaps == {(ONE, 9), (OTHER, 5)}
    made.done(ONE, 10, generation=2)
    assert (ONE, 9) in made.gaps, "what was done in another generation says nothing"


def test_gaps_are_forgotten_when_partitions_are_dealt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dealt(*_: Any) -> None:
        """What Faust does then."""

    monkeypatch.setattr(driver.Consumer, "on_partitions_assigned", dealt)
    made = consumer()
    made.gaps = {(ONE, 5)}
    asyncio.run(made.on_partitions_assigned({OTHER}, 2))
    assert made.gaps == set()


@pytest.mark.parametrize("begun", [False, True], ids=["before its own recovery", "after its own recovery began"])
def test_while_partitions_are_dealt_nothing_flows_whatever_an_older_recovery_said(
    monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    seen: list[tuple[bool, bool]] = []

    async def dealt(made: BatchConsumer, *_: Any) -> None:
        """What Faust does then; an older recovery ends now."""
        seen.append((made.flow_active, made.app.rebalancing))
        if not begun:
            made.app.tables.recovery.signal_recovery_start.set()
        made.resume_flow()
        made.app.rebalancing = False

    monkeypatch.setattr(driver.Consumer, "on_partitions_assigned", dealt)
    made = consumer()
    asyncio.run(made.on_partitions_assigned({ONE}, 2))
    assert seen == [(False, True)]
    assert (made.flow_active, made.app.rebalancing) == ((True, False) if begun else (False, True))


@pytest.mark.parametrize("stopping", [False, True])
def test_a_recovery_that_is_not_answered_in_time_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, *, stopping: bool
) -> None:
    async def dealt(*_: Any) -> None:
        """What Faust does then."""

    said: list[str] = []
    monkeypatch.setattr(driver.Consumer, "on_partitions_assigned", dealt)
    monkeypatch.setattr(transport, "die", said.append)
    made = consumer()
    recovery: Any = made.app.tables.recovery

    async def scenario() -> None:
        for generation in (2, 3):
            await made.on_partitions_assigned({ONE}, generation)
        recovery.should_stop = stopping
        with pytest.raises(ServiceStopped):
            await recovery._wait(None, timeout=0.1)

    asyncio.run(scenario())
    assert said == ([] if stopping else ["recovery: the broker did not answer in time"])
