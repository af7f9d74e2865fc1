"""One run: the system, traffic, faults, rest, verdict. `python -m tests.chaos.stack.run MINUTES [SEED]` prints JSON."""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from confluent_kafka import KafkaException

from tests.chaos.oracle import Verdict
from tests.chaos.stack.clients import Client
from tests.chaos.stack.faults import Chaos, Disk, Schedule
from tests.chaos.stack.fleet import Fleet, wait_complete
from tests.chaos.stack.ledger import Ledger
from tests.chaos.stack.plan import StackPlan
from tests.chaos.stack.publishers import Careless, Publisher, Service, Transactional, last_words
from tests.chaos.stack.recount import judge, rest
from tests.chaos.stack.voices import Voices, incidents

_REST_SECONDS = 150.0
_CLIENT_SKEWS = (0, 0, 90_000, -600_000)  # ms by which each client's clock is off
_SINK_TOPICS = ("events", "latest", "minutes", "high-negative-rate", "dead-letters")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened and whether all of it was right."""

    plan: StackPlan
    verdict: Verdict
    faults: Counter[str]
    passed_over: Counter[str]
    processes: Counter[str]
    traffic: Counter[str]
    complaints: list[str]
    seconds: Mapping[str, float]

    @property
    def right(self) -> bool:
        """True when nothing is wrong, nobody gave up, and no client got an answer it should not get."""
        return not self.verdict.wrong and not self.complaints

    def as_json(self) -> dict[str, Any]:
        """For people and for the record."""
        return {
            "right": self.right,
            "seed": self.plan.seed,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, {platform.system()} {platform.release()}",
            "faults in all": self.faults.total(),
            "faults": dict(sorted(self.faults.items())),
            "faults without a victim": dict(self.passed_over),
            "processes": dict(sorted(self.processes.items())),
            "traffic": dict(sorted(self.traffic.items())),
            "counted": dict(sorted(self.verdict.counted.items())),
            "wrong": dict(self.verdict.wrong),
            "examples": dict(self.verdict.examples),
            "complaints": self.complaints,
        }


class _Traffic:
    """All clients and producers of a run."""

    def __init__(self, plan: StackPlan, fleet: Fleet, ledger: Ledger) -> None:
        self._bootstrap, self._ledger = str(fleet.ready["kafka_bootstrap"]), ledger
        bad = incidents(plan.seed, plan.seconds)
        direct = plan.direct_rate / 3

        def voices(name: str, skew: int = 0) -> Voices:
            return Voices(plan.seed, name, bad, skew)

        self._threads: list[Client | Publisher] = [
            *(
                Client(fleet.gateways, fleet.keys, voices(f"client-{n}", skew), ledger, plan.http_rate / 4)
                for n, skew in enumerate(_CLIENT_SKEWS)
            ),
            Service(self._bootstrap, voices("service"), ledger, direct),
            Careless(self._bootstrap, voices("careless"), ledger, direct),
            Transactional(self._bootstrap, voices("transactional"), ledger, direct, "chaos-1"),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self, attend: Callable[[], None]) -> None:
        """Nothing new; wait until everything pending is acknowledged."""
        for thread in self._threads:
            thread.halt()
        for thread in self._threads:
            _join(thread, attend)
            if thread.is_alive():
                self._ledger.wonder(f"{thread.name} does not end")
        last_words(self._bootstrap, self._ledger)


def _join(thread: Thread, attend: Callable[[], None], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < deadline:
        attend()
        thread.join(0.3)


def stack_chaos(plan: StackPlan) -> Outcome:
    """Traffic under faults for `plan.seconds`, then rest until all is processed, then the verdict."""
    began, times = time.monotonic(), dict[str, float]()
    log = (plan.directory / "chaos.log").open("w", encoding="utf-8")

    def say(text: str) -> None:
        line = f"{time.monotonic() - began:7.1f} {text}"
        print(line, flush=True)
        print(line, file=log, flush=True)

    disk = Disk(str(plan.directory / "clickhouse"))
    disk.mount()
    fleet, ledger = Fleet(plan, say), Ledger(plan.directory / "acknowledged.tsv")
    chaos = Chaos(fleet, plan.seed, say, disk)
    try:
        fleet.start()
        wait_complete(fleet)
        times["start"] = time.monotonic() - began
        _under_faults(plan, fleet, chaos, ledger, say)
        times["until traffic ended"] = time.monotonic() - began
        held = _come_to_rest(fleet, say)
        times["until rest"] = time.monotonic() - began
        verdict = judge(plan, fleet.ready, ledger)
        (plan.directory / "findings.txt").write_text("\n".join(getattr(verdict, "all", ())))
        times["until verdict"] = time.monotonic() - began
        for pid in held:
            fleet.signal(pid, signal.SIGCONT)
    finally:
        chaos.calm()
        fleet.stop()
        disk.unmount()
        ledger.close()
        log.close()
    complaints = [*fleet.complaints, *ledger.strange]
    return Outcome(plan, verdict, chaos.done, chaos.passed_over, fleet.counted, ledger.counted, complaints, times)


def _under_faults(plan: StackPlan, fleet: Fleet, chaos: Chaos, ledger: Ledger, say: Callable[[str], None]) -> None:
    traffic = _Traffic(plan, fleet, ledger)
    traffic.start()
    begin = time.monotonic()
    due = begin
    for wait, kind, whom in Schedule.drawn(plan.seed, plan.seconds, plan.fault_seconds).faults:
        due += wait
        if due > begin + plan.seconds:
            break
        while time.monotonic() < due:
            chaos.tend()
            fleet.attend()
            time.sleep(0.1)
        chaos.hurt(kind, whom)
    chaos.settle_debts(45)
    chaos.calm()
    say(f"faults end: {chaos.done.total()}")
    wait_complete(fleet)
    say("the system is complete; traffic ends")
    traffic.end(fleet.attend)


def _come_to_rest(fleet: Fleet, say: Callable[[str], None]) -> list[int]:
    """Everything resolved; then the marks stop, for `resolve` is put to sleep; then everything watched and stored.

    The pids that sleep: marks go on for ever, and only a log that has an end can be counted.
    """
    _until_nothing_is_left(fleet, ("resolve", "events"))
    say("resolve is at rest")
    held = list(fleet.pids("resolve").values())
    for pid in held:
        fleet.signal(pid, signal.SIGSTOP)
    _until_nothing_is_left(fleet, ("watch", "minutes"))
    say("watch is at rest")
    _until_nothing_is_left(fleet, *(("sink", topic) for topic in _SINK_TOPICS))
    say("the sink is at rest")
    return held


def _left(fleet: Fleet, *pairs: tuple[str, str]) -> int:
    """Records not yet committed; one where the brokers cannot say, for leaders still move after the faults."""
    try:
        return rest(fleet.ready, *pairs)
    except KafkaException:
        return 1


def _until_nothing_is_left(fleet: Fleet, *pairs: tuple[str, str]) -> None:
    deadline = time.monotonic() + _REST_SECONDS
    while left := _left(fleet, *pairs):
        fleet.attend()
        if time.monotonic() > deadline:
            fleet.complaints.append(f"{pairs[0][0]} does not come to rest: {left} records left")
            return
        time.sleep(0.5)


def main(minutes: float, seed: int) -> int:
    """Run once and print the outcome; 1 when anything was wrong."""
    directory = Path(tempfile.mkdtemp(prefix="stack-chaos-"))
    print(f"seed {seed}, everything lies in {directory}", flush=True)
    outcome = stack_chaos(StackPlan(directory, seed, minutes * 60))
    text = json.dumps(outcome.as_json(), indent=2, default=str)
    (directory / "outcome.json").write_text(text)
    print(text, flush=True)
    return 0 if outcome.right else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1_000_000)))
