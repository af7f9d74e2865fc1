"""Monitors on a real broker: they are put in force through the log, changed by SIGHUP, and known after a crash."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from processors.alerts import Engine
from processors.monitor_file import monitor_set, parse
from processors.monitors import BUILT_IN
from schemas.events import Alert, FeedbackEvent, MinuteCount, MonitorSet, Progress
from schemas.topics import PROGRESS_KEY, Topics, minute_key
from tests.chaos.log import read
from tests.chaos.stage import Child, Stage, stage
from tests.polling import wait_until
from thumbstream.telemetry import EXIT_STOP

pytestmark = pytest.mark.integration
_PATIENCE = 60  # seconds; the machine may be busy
MINUTE = 60_000
FIRST = '[[monitor]]\nname = "first"\nby = ["model"]\n'
SECOND = '[[monitor]]\nname = "second"\nkind = "simple"\nby = ["model"]\nwindows = ["2d"]\nmin_votes = 5\n'


@pytest.fixture
def place(kafka_bootstrap: str, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Stage]:
    with stage(kafka_bootstrap, unique("monitors"), tmp_path) as made:
        made.create()
        yield made


def in_force(place: Stage) -> dict[int, str]:
    """Partition of minutes -> hash of the last set of monitors on it."""
    entries = read(place.bootstrap, place.topics.minutes.name)
    decoded = ((entry.partition, place.codec.decode(entry.value or b"")) for entry in entries)
    return {partition: record.hash for partition, record in decoded if isinstance(record, MonitorSet)}


def wait_for_monitors(place: Stage, text: str) -> None:
    wanted = dict.fromkeys(range(place.topics.minute_partitions), monitor_set(parse(text)).hash)
    wait_until(lambda: in_force(place) == wanted, _PATIENCE, f"in force everywhere: {text}")


def count(place: Stage, minute: int, model: str, negative: int) -> None:
    """What `resolve` would say of one minute."""
    cell = MinuteCount("acme", "model", (model,), minute * MINUTE, 1000, minute, negative, 0, 0, {"": negative})
    place.put(place.topics.minutes, (minute_key("acme", "model", (model,)), place.codec.encode(cell)))


def move_to(place: Stage, tick: int) -> None:
    """Let stream time pass a minute, as the marks of `resolve` do. Real time is far ahead: nothing else moves it."""
    for source in range(place.topics.event_partitions):
        mark = Progress(1000 + source, place.topics.event_partitions, 0, tick * MINUTE + 6_000)
        for partition in range(place.topics.minute_partitions):
            place.put(place.topics.minutes, (PROGRESS_KEY, place.codec.encode(mark)), partition=partition)


def transitions(place: Stage) -> list[tuple[str, str, int, str]]:
    found = {alert.alert_id: alert for alert in place.found(place.topics.alerts, Alert)}.values()
    return sorted((alert.monitor, alert.status, alert.evaluated_at // MINUTE, alert.reason) for alert in found)


def settled(place: Stage, tick: int, watch: Child) -> bool:
    """True when the worker has evaluated `tick` on every partition."""
    assert watch.process.poll() is None, watch.said
    return watch.shown("stream_time_seconds") == [tick * 60 + 6.0] * place.topics.minute_partitions


def wait_for_tick(place: Stage, tick: int, watch: Child) -> None:
    move_to(place, tick)
    wait_until(lambda: settled(place, tick, watch), _PATIENCE, f"tick {tick} is evaluated")


def log_of(place: Stage, partition: int) -> list[tuple[int, int, MinuteCount | Progress | MonitorSet]]:
    """(offset, append time, record) of everything on one partition of minutes."""
    found = []
    for entry in read(place.bootstrap, place.topics.minutes.name):
        record = place.codec.decode(entry.value or b"")
        assert isinstance(record, MinuteCount | Progress | MonitorSet)
        if entry.partition == partition:
            found.append((entry.offset, entry.append_time, record))
    return found


def test_monitors_change_through_the_log_and_a_crashed_worker_knows_them(place: Stage, tmp_path: Path) -> None:
    file, begin = tmp_path / "monitors.toml", int(time.time()) // 60 - 30
    file.write_text(FIRST)
    watch = place.ready_worker("watch", monitors_file=file)
    wait_for_monitors(place, FIRST)
    count(place, begin - 1_600, "old", 9)  # before any window of the first monitor
    count(place, begin - 1, "bad", 20)
    wait_for_tick(place, begin, watch)
    fired = ("first", "firing", begin, "rate above threshold")
    assert transitions(place) == [fired]

    file.write_text(FIRST + "threshold = 3\n")
    watch.process.send_signal(signal.SIGHUP)
    wait_until(lambda: watch.counted("monitor_reloads") == 1, _PATIENCE, "the wrong file is read")
    assert f"{file}:4: monitor first: threshold: must be a number above 0 and below 1, is 3" in watch.said
    wait_for_tick(place, begin + 1, watch)
    assert transitions(place) == [fired]

    file.write_text(SECOND)
    watch.process.send_signal(signal.SIGHUP)
    wait_for_monitors(place, SECOND)
    wait_for_tick(place, begin + 2, watch)
    removed = ("first", "resolved", begin + 2, "monitor removed")
    second = ("second", "firing", begin + 2, "rate above threshold")
    assert transitions(place) == [fired, removed, second, second]  # `old` lies in the two days of the second monitor

    watch.process.kill()
    watch.exit_code()
    again = place.ready_worker("watch", monitors_file=file)
    wait_for_tick(place, begin + 3, again)
    assert transitions(place) == [fired, removed, second, second]
    assert_law(place)


def assert_law(place: Stage) -> None:
    """What was published is what one engine makes of each partition's log, from its beginning."""
    published = {alert.alert_id: alert for alert in place.found(place.topics.alerts, Alert)}
    expected: dict[str, Alert] = {}
    for partition in range(place.topics.minute_partitions):
        engine = Engine(BUILT_IN, keep=10_000)
        for entry in log_of(place, partition):
            expected |= {alert.alert_id: alert for alert in engine.feed(*entry)}
    assert published == expected


@pytest.mark.parametrize("role", ["resolve", "watch"])
def test_a_worker_refuses_to_start_with_a_wrong_file(place: Stage, tmp_path: Path, role: str) -> None:
    file = tmp_path / "monitors.toml"
    file.write_text(FIRST + "\nseverity = 1\n")
    worker = place.worker(role, monitors_file=file)
    assert worker.exit_code() == EXIT_STOP
    assert f"{file}:5: monitor first: severity: must be one of info, warning, critical, is 1" in worker.said


def vote(number: int, time: int) -> FeedbackEvent:
    return FeedbackEvent(
        "acme", f"r{number}", f"e{number}", "vote", time, rating=False, metadata={"app": '"web"', "model": '"m"'}
    )


def cells(topics: Topics, place: Stage, rollup: str) -> dict[tuple[int, int], int]:
    """(minute, source partition) -> negatives, as the newest record says."""
    found = [cell for cell in place.found(topics.minutes, MinuteCount) if cell.rollup == rollup]
    newest = sorted(found, key=lambda cell: cell.version)
    return {(cell.minute // MINUTE, cell.source_partition): cell.negative for cell in newest}


def test_a_new_rollup_counts_a_minute_whole_from_its_next_vote_on(place: Stage, tmp_path: Path) -> None:
    file, minute = tmp_path / "monitors.toml", int(time.time()) // 60 - 10
    file.write_text(FIRST)
    worker = place.ready_worker("resolve", monitors_file=file)
    events = [vote(number, (minute + number % 2) * MINUTE) for number in range(40)]
    place.put_events(*events)
    wait_until(lambda: sum(cells(place.topics, place, "model").values()) == 40, _PATIENCE, "votes by model")
    assert cells(place.topics, place, "app") == {}

    file.write_text(FIRST + '[[monitor]]\nname = "by-app"\nby = ["app"]\n')
    before = worker.shown("monitors_given")
    worker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: worker.shown("monitors_given") not in (before, []), _PATIENCE, "the file is read again")
    place.put_events(*(vote(number, minute * MINUTE) for number in range(100, 140)))

    def by_model() -> dict[tuple[int, int], int]:
        return {at: negative for at, negative in cells(place.topics, place, "model").items() if at[0] == minute}

    wait_until(lambda: sum(by_model().values()) == 60, _PATIENCE, "the late votes are counted")
    assert cells(place.topics, place, "app") == by_model()  # earlier votes too; the other minute was not touched
    assert worker.terminate() == 0
