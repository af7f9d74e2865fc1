"""Two workers of each role, and everything that can happen to a process: kill, stop, freeze, company."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.plan import SESSION_SECONDS, UP, Plan

ROLES = ("resolve", "watch")
_WANTED = 2
_START_SECONDS = 60.0
_EXIT_CRASH = 70
_FAULTS = ("kill", "kill", "terminate", "pause", "freeze", "join", "outage")


@dataclass(slots=True)
class _Worker:
    """One process; `paused` tells that it was a zombie once, which may end it."""

    name: str
    role: str
    process: subprocess.Popen[bytes]
    log: Path
    paused: bool = False
    resume_at: float | None = None
    terminated_at: float | None = None

    @property
    def is_up(self) -> bool:
        """True once signals are handled: before, SIGTERM simply kills."""
        return UP in self.log.read_text("utf-8", "replace")


@dataclass(slots=True)
class Fleet:
    """Starts, hurts and stops workers. `complaints` lists what no fault explains."""

    plan: Plan
    say: Callable[[str], None] = print
    counted: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    slowest_exit: float = 0.0
    _workers: list[_Worker] = field(default_factory=list)
    _retired: set[str] = field(default_factory=set)
    _bag: list[str] = field(default_factory=list)
    _started: int = 0
    _dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(f"faults-{self.plan.seed}")

    def attend(self) -> None:
        """Wake the paused in time, bury the dead, and start workers until there are two of each role."""
        for worker in list(self._workers):
            if worker.resume_at is not None and time.monotonic() >= worker.resume_at:
                self._wake(worker)
            self._inspect(worker)
        for role in ROLES:
            while role not in self._retired and len(self._of(role)) < _WANTED:
                self._start(role)

    @property
    def all_up(self) -> bool:
        """True when every worker handles signals."""
        return all(worker.is_up for worker in self._workers)

    def hurt(self) -> None:
        """Do one fault; each kind comes once before any comes again."""
        if not self._bag:
            self._bag = list(_FAULTS)
            self._dice.shuffle(self._bag)
        fault = self._bag.pop()
        victims = [worker for worker in self._workers if worker.resume_at is None and worker.terminated_at is None]
        getattr(self, f"_{fault}")(self._dice.choice(victims) if victims else None)

    def quieten(self) -> None:
        """End all faults: everybody awake, nobody on the way out."""
        for worker in self._workers:
            if worker.resume_at is not None:
                worker.resume_at = 0.0
        self.attend()

    def stop(self, role: str) -> None:
        """Terminate all workers of `role` for good; each must exit 0."""
        self._retired.add(role)
        deadline = time.monotonic() + _START_SECONDS
        while any(worker.role == role for worker in self._workers):
            for worker in self._of(role):
                self._terminate(worker)
            for worker in list(self._workers):
                self._inspect(worker)
            if time.monotonic() > deadline:
                self.complaints.append(f"{role} does not end after SIGTERM")
                return
            time.sleep(0.05)

    def abandon(self) -> None:
        """Kill whatever is left."""
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()

    def _of(self, role: str) -> list[_Worker]:
        return [worker for worker in self._workers if worker.role == role and worker.terminated_at is None]

    def _start(self, role: str) -> None:
        name, self._started = f"{role}-{self._started}", self._started + 1
        log = self.plan.directory / f"{name}.log"
        arguments = [sys.executable, "-m", "tests.chaos.worker", role, json.dumps(self.plan.as_json())]
        with log.open("wb") as file:
            process = subprocess.Popen(arguments, stdout=file, stderr=file)
        self._workers.append(_Worker(name, role, process, log))
        self.counted["starts"] += 1
        self.say(f"start {name}")

    def _wake(self, worker: _Worker) -> None:
        worker.process.send_signal(signal.SIGCONT)
        worker.resume_at = None
        self.say(f"wake {worker.name}")

    def _inspect(self, worker: _Worker) -> None:
        code = worker.process.poll()
        if code is None:
            return
        self._workers.remove(worker)
        if worker.terminated_at is not None:
            took = time.monotonic() - worker.terminated_at
            self.slowest_exit = max(self.slowest_exit, took)
            if code != 0:
                self._complain(worker, f"exit {code} after SIGTERM")
        elif code == _EXIT_CRASH and worker.paused:
            self.counted["zombies that gave up"] += 1
            self.say(f"{worker.name} gave up: {_last_words(worker.log)}")
        else:
            self._complain(worker, f"exit {code} for no reason")

    def _complain(self, worker: _Worker, what: str) -> None:
        self.complaints.append(f"{worker.name}: {what}: {_last_words(worker.log)}")
        self.say(self.complaints[-1])

    # faults

    def _kill(self, worker: _Worker | None) -> None:
        if worker is not None:
            self._count("kill", worker)
            worker.process.kill()
            worker.process.wait()
            self._workers.remove(worker)

    def _terminate(self, worker: _Worker | None) -> None:
        if worker is not None and worker.is_up:
            self._count("terminate", worker)
            worker.terminated_at = time.monotonic()
            worker.process.terminate()

    def _pause(self, worker: _Worker | None) -> None:
        """Shorter than the session: nobody notices."""
        self._stop_for(worker, "pause", self._dice.uniform(0.5, 0.6 * SESSION_SECONDS))

    def _freeze(self, worker: _Worker | None) -> None:
        """Longer than the session: the others take over, then a zombie wakes."""
        self._stop_for(worker, "freeze", SESSION_SECONDS + self._dice.uniform(1, 4))

    def _stop_for(self, worker: _Worker | None, kind: str, seconds: float) -> None:
        if worker is not None:
            self._count(kind, worker)
            worker.process.send_signal(signal.SIGSTOP)
            worker.paused, worker.resume_at = True, time.monotonic() + seconds

    def _join(self, _worker: _Worker | None) -> None:
        role = self._dice.choice(ROLES)
        if len(self._of(role)) <= _WANTED:
            self.counted["join"] += 1
            self.say(f"join {role}")
            self._start(role)

    def _outage(self, _worker: _Worker | None) -> None:
        """Every source of marks stands still, and the workers that watch them die meanwhile."""
        self.counted["outage"] += 1
        self.say("outage")
        for worker in self._of("resolve"):
            if worker.resume_at is None:
                self._stop_for(worker, "pause", self._dice.uniform(2, 4))
        for worker in self._of("watch"):
            if worker.resume_at is None:
                self._kill(worker)

    def _count(self, kind: str, worker: _Worker) -> None:
        self.counted[f"{kind} {worker.role}"] += 1
        self.say(f"{kind} {worker.name}")


def _last_words(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()
    telling = [line for line in lines if '"critical"' in line or "Error" in line] or lines
    return telling[-1][:400] if telling else "(said nothing)"
