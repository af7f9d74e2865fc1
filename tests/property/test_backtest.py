"""A backtest says what live says: for one log however it was cut and replayed, and for votes that come in time."""

from __future__ import annotations

from random import Random

import pytest

from processors.deduplicate import Arrival
from processors.minutes import published
from processors.monitors import Monitor, rollups
from processors.pipeline import Partition
from processors.ticks import GRACE
from schemas.events import Alert, FeedbackEvent, MinuteCount, Progress
from schemas.topics import request_key
from tests.simulators.every_tick import EveryTick, Transition, told
from tests.simulators.memory import Memory
from tests.simulators.minutes_log import MINUTE as SHORT
from tests.simulators.restarts import GRACE as SHORT_GRACE
from tests.simulators.restarts import MONITORS, Habits, Watch, log_of
from thumbstream.backtest.run import backtest, transitions
from thumbstream.backtest.tallies import MINUTE, Tally, log, tally

LAX = (
    Monitor("few", ("model",), min_votes=4, z=1.0, windows=(15, 60, 240)),
    Monitor("rate", ("model",), kind="simple", windows=(60,), min_votes=3, hold=0),
    Monitor("waits", ("model",), kind="simple", windows=(60,), min_votes=3, wait=20, clear_below=0.1, hold=5),
)
BEGIN = 29_000_000  # a minute


def by_alert(alerts: list[Alert]) -> dict[str, list[Alert]]:
    found: dict[str, list[Alert]] = {}
    for alert in {alert.alert_id: alert for alert in alerts}.values():
        found.setdefault(alert.fingerprint, []).append(alert)
    return found


def differs(seed: int) -> bool:
    """True when a live run with crashes and replays published other transitions than the backtest of its log."""
    live = Watch(seed, Habits())
    live.run()
    return by_alert(live.got) != by_alert(list(transitions(MONITORS, log_of(seed), minute=SHORT, grace=SHORT_GRACE)))


def test_live_and_backtest_say_the_same_of_one_log_whatever_happened_to_live() -> None:
    assert [seed for seed in range(500, 530) if differs(seed)] == []


@pytest.mark.soak
def test_live_and_backtest_say_the_same_of_many_logs() -> None:
    assert [seed for seed in range(20_000, 22_000) if differs(seed)] == []


def sparse(seed: int, days: int = 2) -> list[Tally]:
    """A few votes, long nothing, a few bad ones: most ticks are quiet."""
    dice, found = Random(seed), list[Tally]()
    for _ in range(dice.randrange(3, 9)):
        begin, bad = BEGIN + dice.randrange(days * 1440), dice.choice((0.05, 0.7))
        for _ in range(dice.randrange(1, 14)):
            values = ("(none)", "(none)", "(none)", "(none)")
            negative = dice.random() < bad
            user = dice.choice(("", "ann", "bob"))
            minute = begin + dice.randrange(60)
            found.append(Tally(minute, "acme", (dice.choice("ab"), *values), user, int(negative), int(not negative)))
    return sorted(found)


def quickly_and_slowly(seed: int) -> tuple[list[Transition], list[Transition]]:
    tallies = sparse(seed)
    until = tallies[-1].minute + 400
    oracle = EveryTick(LAX, MINUTE, GRACE)
    for append_time, record in log(tallies, (("model",),), until):
        oracle.read(append_time, record)
    return sorted(told(alert, MINUTE) for alert in backtest(LAX, tallies, until)), sorted(oracle.transitions)


def test_quiet_ticks_that_are_passed_over_hide_nothing() -> None:
    found = [quickly_and_slowly(seed) for seed in range(6)]
    assert sum(len(quick) for quick, _ in found) > 10
    assert [seed for seed, (quick, slow) in enumerate(found) if quick != slow] == []


def same(seed: int) -> bool:
    quick, slow = quickly_and_slowly(seed)
    return quick == slow


@pytest.mark.soak
def test_quiet_ticks_of_many_logs_hide_nothing() -> None:
    assert [seed for seed in range(100, 400) if not same(seed)] == []


def votes(seed: int) -> list[FeedbackEvent]:
    """Events in the order of their times, one a request, of an incident and of better times."""
    dice, found = Random(seed), list[FeedbackEvent]()
    for number in range(dice.randrange(60, 140)):
        time = BEGIN * MINUTE + dice.randrange(6 * 60) * MINUTE + dice.randrange(MINUTE)
        bad = 0.7 if 120 < time // MINUTE - BEGIN < 240 else 0.05
        fields = {"rating": dice.random() >= bad, "user_id": dice.choice((None, "ann", "bob", "cid"))}
        metadata = {"model": f'"{dice.choice("ab")}"'}
        found.append(
            FeedbackEvent("acme", f"r{number}", f"e{number}", "vote", time, metadata=metadata, **fields)  # type: ignore[arg-type]  # of both types
        )
    return sorted(found, key=lambda event: event.event_time or 0)


def live(events: list[FeedbackEvent], dice: Random) -> tuple[list[tuple[int, MinuteCount | Progress]], Memory]:
    """What `resolve` publishes when every vote arrives at once, in batches of any size, marks behind them."""
    entries, memory = list[tuple[int, MinuteCount | Progress]](), Memory(Partition(0, 1, rollups(LAX)))
    start, offset = BEGIN * MINUTE + GRACE, 0
    entries.append((start, Progress(1000, 1, 0, start)))
    while offset < len(events):
        batch = [
            Arrival(at, event.event_time or 0, request_key(event.tenant_id, event.request_id), event)
            for at, event in enumerate(events[offset : offset + dice.randrange(1, 9)], offset)
        ]
        offset, now = offset + len(batch), batch[-1].append_time
        folded = memory.run(batch)
        entries += [(now, published(key, cell, 1000, offset)) for key, cell in folded.cells.items()]
        entries.append((now, Progress(1000, 1, offset, now)))
    return entries, memory


def test_votes_that_come_in_time_fire_live_as_in_the_backtest() -> None:
    told_of = 0
    for seed in range(20):
        events = votes(seed)
        entries, memory = live(events, Random(seed))
        tallies = sorted(found for row in memory.rows.values() if (found := tally(row)) is not None)
        end = tallies[-1].minute + 1_600
        entries.append((end * MINUTE + GRACE, Progress(1000, 1, len(events), end * MINUTE + GRACE)))
        one = list(transitions(LAX, entries))
        first = [(BEGIN * MINUTE + GRACE, Progress(1000, 1, 0, BEGIN * MINUTE + GRACE))]
        other = list(transitions(LAX, [*first, *log(tallies, rollups(LAX), end)]))
        assert one == other
        told_of += len(one)
    assert told_of > 40
