"""Run child processes in order, keep them up, stop them in reverse. Knows nothing about what they do.

    supervisor = Supervisor(specs, on_change=ready_file.publisher(path, facts))
    sys.exit(supervisor.run())  # until SIGTERM, SIGINT or supervisor.stop()

Promises: a child starts when those it comes after are healthy; a crashed child is restarted, one that exits 78 is not
and the rest keeps running; everything is gone within `stop_seconds` of the signal; if this process is killed, Linux
kills every child. One thread does all of it, so callbacks and probes must be quick. SIGHUP goes on to healthy children
that reload; when the terminal is gone that it was started from, it means stop.
"""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from thumbstream.local import children
from thumbstream.local.child_spec import ChildSpec, waves
from thumbstream.local.supervised_child import Phase, Say, StartError, SupervisedChild

OnChange = Callable[[dict[str, int], bool], None]

_POLL_SECONDS = 0.1
_KILL_SECONDS = 1.0  # of the stopping time, kept for SIGKILL to do its work
_NAME_WIDTH = 12


def print_line(name: str, event: str) -> None:
    """Say one thing about one child on standard output: time, name, event."""
    print(f"{time.strftime('%H:%M:%S')} {name:<{_NAME_WIDTH}} {event}", flush=True)


class Supervisor:
    """Runs `specs` until told to stop; see the module's own words.

    `on_change(pids, healthy)` hears every change, from the first child on: `pids` has the running children by name and
    `supervisor`; `healthy` means that every single child is. `on_stopping()` is called before the first child is
    stopped. Raises `ValueError` for specs that cannot be ordered.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        on_change: OnChange = lambda _pids, _healthy: None,
        on_stopping: Callable[[], None] = lambda: None,
        say: Say = print_line,
        stop_seconds: float = 10.0,
    ) -> None:
        jitter = random.Random().random  # noqa: S311 - spreads restarts, keeps no secret
        self._waves = [[SupervisedChild(spec, say, jitter) for spec in wave] for wave in waves(specs)]
        self._children = {child.spec.name: child for wave in self._waves for child in wave}
        self._on_change = on_change
        self._on_stopping = on_stopping
        self._say = say
        self._stop_seconds = stop_seconds
        self._stopping = False
        self._reloading = False
        self._told: tuple[dict[str, int], bool] | None = None

    def run(self) -> int:
        """Start everything and stay until stopped: 0. A failed first start is said, all is stopped, and it is 1."""
        with self._stopped_by_signals():
            try:
                while not self._stopping:
                    self._step()
                    time.sleep(_POLL_SECONDS)
            except StartError as error:
                self._say("supervisor", f"cannot start: {error}")
                return 1
            finally:
                self._on_stopping()
                self._stop_children()
        return 0

    def stop(self) -> None:
        """Make `run` stop the children and return; callable from any thread and from a signal handler."""
        # A plain flag: an Event's lock may be held by the very thread that a signal handler interrupts.
        self._stopping = True

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name: this process as `supervisor`, and every child that runs."""
        running = {name: child.pid for name, child in self._children.items()}
        return {"supervisor": os.getpid(), **{name: pid for name, pid in running.items() if pid is not None}}

    @property
    def healthy(self) -> bool:
        """Whether every child is healthy."""
        return all(child.phase is Phase.HEALTHY for child in self._children.values())

    def reload(self) -> None:
        """Make `run` pass SIGHUP on; callable as `stop` is."""
        self._reloading = True

    def _pass_on_reload(self) -> None:
        self._reloading = False
        for child in self._children.values():
            if child.spec.reloads:
                child.reload()

    def _step(self) -> None:
        if self._reloading:
            self._pass_on_reload()
        for child in self._children.values():
            if self._stopping:
                return
            if child.phase is Phase.WAITING:
                self._start_when_possible(child)
            else:
                child.step(time.monotonic())
        self._tell_changes()

    def _start_when_possible(self, child: SupervisedChild) -> None:
        needed = [self._children[name] for name in child.spec.after]
        down = [other.spec.name for other in needed if other.phase is Phase.DOWN]
        if down:
            child.give_up(f"it starts after {', '.join(down)}")
        elif all(other.phase is Phase.HEALTHY for other in needed):
            child.start(time.monotonic())

    def _tell_changes(self) -> None:
        now = self.pids, self.healthy
        if now != self._told:
            self._told = now
            self._on_change(*now)

    def _stop_children(self) -> None:
        deadline = time.monotonic() + self._stop_seconds - _KILL_SECONDS
        for waves_left in range(len(self._waves), 0, -1):
            share = max(0.0, deadline - time.monotonic()) / waves_left
            self._stop_wave(self._waves[waves_left - 1], share)

    def _stop_wave(self, wave: Sequence[SupervisedChild], grace_seconds: float) -> None:
        running = {child.spec.name: child.process for child in wave if child.process and child.pid is not None}
        for name in running:
            self._say(name, "stopping")
        children.stop_all(list(running.values()), grace_seconds)
        for name, process in running.items():
            killed = process.returncode == -signal.SIGKILL
            self._say(name, f"killed: still there after {grace_seconds:.1f} s" if killed else "stopped")

    @contextmanager
    def _stopped_by_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT mean stop, SIGHUP reload, while this lasts; only a main thread can have that."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        terminal = sys.stdout.isatty()

        def handle(number: int, _frame: FrameType | None) -> None:
            if number == signal.SIGHUP and not (terminal and _is_gone(sys.stdout.fileno())):
                self.reload()
            else:
                self.stop()

        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_gone(terminal: int) -> bool:
    try:
        os.tcgetpgrp(terminal)
    except OSError:
        return True
    return False
