"""Everything that can happen to a process or a disk, in an order that the seed decides."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import KafkaException

from tests.chaos.stack.fleet import Fleet
from tests.chaos.stack.plan import PREFIX, SESSION_SECONDS

_LEFT = 128 << 20  # bytes
_STAGES = ("gateway", "resolve", "watch", "sink")
# each comes once before any comes again
_BAG = (
    *(("kill", stage) for stage in (*_STAGES, "resolve", "watch", "sink", "clickhouse")),
    *(("terminate", stage) for stage in (*_STAGES, "clickhouse")),
    *(("pause", stage) for stage in _STAGES),
    *(("freeze", stage) for stage in _STAGES),
    *(("join", stage) for stage in ("resolve", "watch", "sink")),
    *(("kill all", stage) for stage in ("resolve", "watch", "sink")),
    *(("broker", how) for how in ("kill controller", "kill leader", "kill any", "terminate any")),
    *(("away", how) for how in ("frozen", "killed")),
    ("disk full", "clickhouse"),
)
_SHORT_BAG = (  # what a run of a minute must have seen
    ("broker", "kill leader"), ("kill", "resolve"), ("kill", "watch"), ("kill", "sink"), ("freeze", "resolve"),
    ("kill", "clickhouse"), ("kill", "gateway"), ("terminate", "resolve"), ("disk full", "clickhouse"),
    ("join", "watch"),
)  # fmt: skip


@dataclass(slots=True)
class Schedule:
    """The faults of a run, drawn from the seed before it begins: (seconds after the one before, kind, whom)."""

    faults: list[tuple[float, str, str]]

    @classmethod
    def drawn(cls, seed: int, seconds: float, pace: tuple[float, float]) -> Schedule:
        """Bags of all kinds, shuffled, until the time is over; short runs take the short bag."""
        dice, found, total = random.Random(f"stack-faults-{seed}"), list[tuple[float, str, str]](), 0.0
        while total < seconds:
            bag = list(_BAG if seconds > 300 else _SHORT_BAG)
            dice.shuffle(bag)
            for kind, whom in bag:
                wait = dice.uniform(*pace)
                found.append((wait, kind, whom))
                total += wait
        return cls(found)


class Chaos:
    """Does one fault after the other. `done` counts them; `passed_over` counts those that had no victim."""

    def __init__(self, fleet: Fleet, seed: int, say: Callable[[str], None], disk: Disk) -> None:
        self._fleet, self._say, self._disk = fleet, say, disk
        self._dice = random.Random(f"stack-victims-{seed}")
        self._later: list[tuple[float, Callable[[], None]]] = []
        self._stopped: dict[int, str] = {}  # pid -> name of what sleeps
        self._owed: list[tuple[str, str]] = []  # broker faults that had to wait for the cluster to be whole
        self.done: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()

    def tend(self) -> None:
        """Do what is due of earlier faults: wake the sleepers, send guests home, give the disk back."""
        now = time.monotonic()
        due = [act for at, act in self._later if at <= now]
        self._later = [(at, act) for at, act in self._later if at > now]
        for act in due:
            act()

    def hurt(self, kind: str, whom: str) -> None:
        """One fault. A broker's waits until no other is missing; it is done in the place of the next one then."""
        if self._owed and self._fleet.whole():
            self._owed.append((kind, whom))
            kind, whom = self._owed.pop(0)
        if kind == "broker" and not self._fleet.whole():
            self._owed.append((kind, whom))
            return
        if getattr(self, f"_{kind.replace(' ', '_')}")(whom):
            self.done[f"{kind} {whom}"] += 1
        else:
            self.passed_over[f"{kind} {whom}"] += 1

    def settle_debts(self, seconds: float) -> None:
        """Do the broker faults that are still owed, as far as there is time."""
        deadline = time.monotonic() + seconds
        while self._owed and time.monotonic() < deadline:
            self.tend()
            self._fleet.attend()
            if self._fleet.whole():
                self.hurt(*self._owed.pop(0))
            time.sleep(0.3)

    def calm(self) -> None:
        """End all that is still going on."""
        acts, self._later = self._later, []
        for _, act in acts:
            act()
        self._later.clear()  # what would go on by itself ends here

    # whom

    def _victim(self, role: str) -> tuple[str, int] | None:
        awake = sorted((name, pid) for name, pid in self._fleet.pids(role).items() if pid not in self._stopped)
        return self._dice.choice(awake) if awake else None

    def _send(self, number: signal.Signals, role: str) -> bool:
        victim = self._victim(role)
        if victim is None:
            return False
        self._say(f"{number.name} {victim[0]}")
        return self._fleet.signal(victim[1], number)

    # faults; True when done

    def _kill(self, role: str) -> bool:
        return self._send(signal.SIGKILL, role)

    def _terminate(self, role: str) -> bool:
        return self._send(signal.SIGTERM, role)

    def _kill_all(self, role: str) -> bool:
        victims = self._fleet.pids(role)
        self._say(f"SIGKILL all of {role}: {', '.join(victims)}")
        return sum(self._fleet.signal(pid, signal.SIGKILL) for pid in victims.values()) > 0

    def _pause(self, role: str) -> bool:
        """Shorter than the session: nobody notices."""
        return self._sleep(role, self._dice.uniform(1, 0.6 * SESSION_SECONDS))

    def _freeze(self, role: str) -> bool:
        """Longer than the session: others take over, then a zombie wakes."""
        return self._sleep(role, SESSION_SECONDS + self._dice.uniform(1.5, 6))

    def _sleep(self, role: str, seconds: float) -> bool:
        victim = self._victim(role)
        if victim is None:
            return False
        name, pid = victim
        self._say(f"SIGSTOP {name} for {seconds:.1f} s")
        self._stopped[pid] = name
        self._after(seconds, lambda: self._wake(pid))
        return self._fleet.signal(pid, signal.SIGSTOP)

    def _wake(self, pid: int) -> None:
        self._say(f"SIGCONT {self._stopped.pop(pid)}")
        self._fleet.signal(pid, signal.SIGCONT)

    def _join(self, role: str) -> bool:
        """A third one comes, and leaves again by SIGTERM or worse."""
        name, goes = self._fleet.invite(role), self._dice.choice((signal.SIGTERM, signal.SIGKILL))

        def leave() -> None:
            pid = self._fleet.pids(role).get(name)
            if pid is not None:
                self._say(f"{goes.name} {name}")
                self._fleet.signal(pid, goes)

        self._after(self._dice.uniform(12, 30), leave)
        return True

    def _broker(self, how: str) -> bool:
        """Only ever one at a time; the supervisor starts it again."""
        verb, _, which = how.partition(" ")
        try:
            named: dict[str, Callable[[], str]] = {
                "controller": self._fleet.controller,
                "leader": lambda: self._fleet.leader(f"{PREFIX}events", self._dice.randrange(4)),
                "any": lambda: f"kafka-{self._dice.randrange(3) + 1}",
            }
            name = named[which]()
        except KafkaException:
            return False
        pid = self._fleet.pids("kafka").get(name)
        self._say(f"{verb} {name} ({which})")
        number = signal.SIGKILL if verb == "kill" else signal.SIGTERM
        return pid is not None and self._fleet.signal(pid, number)

    def _away(self, how: str) -> bool:
        """ClickHouse does not answer for up to a minute."""
        seconds = self._dice.uniform(20, 60)
        if how == "frozen":
            return self._sleep("clickhouse", seconds)
        self._say(f"clickhouse is killed again and again for {seconds:.0f} s")
        end = time.monotonic() + seconds

        def again() -> None:
            self._kill("clickhouse")
            if time.monotonic() < end:
                self._after(1.5, again)

        again()
        return True

    def _disk_full(self, _role: str) -> bool:
        seconds = self._dice.uniform(8, 25)
        if not self._disk.fill():
            return False
        self._say(f"ClickHouse's disk is full for {seconds:.0f} s")
        self._after(seconds, self._disk.empty)
        return True

    def _after(self, seconds: float, act: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, act))


@dataclass(slots=True)
class Disk:
    """A small file system for ClickHouse alone, where this user may mount one; without it the disk is never full."""

    directory: str
    mounted: bool = field(default=False, init=False)

    def mount(self) -> None:
        """Put it in place, before anything is written there."""
        os.makedirs(self.directory, mode=0o700)  # noqa: PTH103 - a folder in the run's own
        command = ["mount", "-t", "tmpfs", "-o", "size=1400m,mode=0700", "thumbstream-chaos", self.directory]
        try:
            self.mounted = subprocess.run(command, capture_output=True).returncode == 0
        except FileNotFoundError:
            self.mounted = False

    def unmount(self) -> None:
        """Take it away, with what it holds."""
        if self.mounted:
            subprocess.run(["umount", "--lazy", self.directory], check=True)

    def fill(self) -> bool:
        """Leave less than the 256 MiB below which inserts are refused; False where it cannot be, or is so already.

        Not to the last byte: chDB reports no write that fails, so a merge under way would end as an empty part.
        """
        if not self.mounted or os.path.exists(f"{self.directory}/ballast"):  # noqa: PTH110 - a path of the run's own
            return False
        free = os.statvfs(self.directory)
        with open(f"{self.directory}/ballast", "wb") as ballast:  # noqa: PTH123 - as above
            os.posix_fallocate(ballast.fileno(), 0, free.f_bavail * free.f_frsize - _LEFT)
        return True

    def empty(self) -> None:
        """Give the space back."""
        os.unlink(f"{self.directory}/ballast")  # noqa: PTH108 - as above
