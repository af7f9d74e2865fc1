"""One child under supervision: a state machine that the supervisor's loop steps, telling it the time."""

import signal
import subprocess
import threading
from collections.abc import Callable
from enum import Enum

from thumbstream.local import children
from thumbstream.local.child_spec import ChildSpec

Say = Callable[[str, str], None]

_CRASHES_BEFORE_FIRST_HEALTH = 3
_LAST_WORDS = 3


class StartError(RuntimeError):
    """A child did not become healthy at the first start; the message names it and ends with its last lines."""


class Phase(Enum):
    """Where a child is in its life."""

    WAITING = "waiting"  # for the children it starts after
    STARTING = "starting"  # runs, has not said yes yet
    HEALTHY = "healthy"
    RESTARTING = "restarting"  # crashed, its delay is running
    DOWN = "down"  # for good


class _Errand:
    """A call in a thread of its own, so that it holds up no stop: whoever stops does not wait for it."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether the call has returned or raised."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._call()
        except Exception as error:  # noqa: BLE001 - told by whoever asked for the errand
            self.error = error


class SupervisedChild:
    """Phase, process and crash count of one spec. All times are seconds of one monotonic clock."""

    def __init__(self, spec: ChildSpec, say: Say, jitter: Callable[[], float]) -> None:
        self.spec = spec
        self.phase = Phase.WAITING
        self.process: subprocess.Popen[bytes] | None = None
        self._say = say
        self._jitter = jitter
        self._crashes = 0
        self._started_at = 0.0
        self._restart_at = 0.0
        self._must_be_healthy_by: float | None = None  # None once it has been: later crashes end no start
        self._reload_owed = False
        self._preparing: _Errand | None = None  # on_healthy, under way or done

    @property
    def pid(self) -> int | None:
        """Process id while the child runs."""
        return self.process.pid if self.process and self.process.poll() is None else None

    def start(self, now: float) -> None:
        """Start the process for the first time."""
        self._must_be_healthy_by = now + self.spec.start_seconds
        self._launch(now)

    def reload(self) -> None:
        """SIGHUP; later to one that is starting, which may not handle it yet and may have read its files already."""
        if self.phase is Phase.HEALTHY and self.process is not None:
            children.send_signal(self.process, signal.SIGHUP)
            self._say(self.spec.name, "asked to reload")
        else:
            self._reload_owed = self.phase is Phase.STARTING

    def give_up(self, reason: str) -> None:
        """Never start (again)."""
        self.phase = Phase.DOWN
        self._say(self.spec.name, f"stays down: {reason}")

    def step(self, now: float) -> None:
        """Look at the process once and move on. Raises `StartError`."""
        if self.phase is Phase.RESTARTING:
            if now >= self._restart_at:
                self._launch(now)
        elif self.process is not None and self.phase is not Phase.DOWN:
            code = self.process.poll()
            if code is not None:
                self._exited(code, now)
            elif self.phase is Phase.STARTING:
                self._ask(now)

    def _launch(self, now: float) -> None:
        spec = self.spec
        self._reload_owed = False  # it reads everything anew
        self._preparing = None
        self.process = children.spawn(spec.argv, spec.log, spec.env, spec.cwd)
        self.phase, self._started_at = Phase.STARTING, now
        self._say(spec.name, f"starting, pid {self.process.pid}")

    def _ask(self, now: float) -> None:
        if self._preparing is not None:
            if self._preparing.is_done:
                self._became_healthy(now)
        elif self._answers():
            if self.spec.on_healthy is None:
                self._became_healthy(now)
            else:
                self._preparing = _Errand(self.spec.on_healthy)
        elif self._must_be_healthy_by is not None and now > self._must_be_healthy_by:
            raise self._failed(f"is not healthy after {self.spec.start_seconds:g} s")

    def _answers(self) -> bool:
        try:
            return self.spec.probe()
        except OSError:
            return False

    def _became_healthy(self, now: float) -> None:
        if self._preparing is not None and self._preparing.error is not None:
            self._tell_failed_errand(self._preparing.error)
        self.phase, self._must_be_healthy_by = Phase.HEALTHY, None
        self._say(self.spec.name, f"healthy after {now - self._started_at:.1f} s")
        if self._reload_owed:
            self._reload_owed = False
            self.reload()

    def _tell_failed_errand(self, error: Exception) -> None:
        if self._must_be_healthy_by is not None:
            raise self._failed(f"is up, but what follows its start failed: {error}") from error
        self._say(self.spec.name, f"is up again, but what follows its start failed: {error}")

    def _exited(self, code: int, now: float) -> None:
        policy = self.spec.restart
        if code in policy.stays_down:
            self.give_up(f"exit code {code}, it said:\n{children.last_lines(self.spec.log, _LAST_WORDS)}")
            return
        if now - self._started_at >= policy.reset_after:
            self._crashes = 0
        self._crashes += 1
        if self._must_be_healthy_by is not None and self._crashes == _CRASHES_BEFORE_FIRST_HEALTH:
            raise self._failed(f"{_how(code)} {self._crashes} times before it was healthy")
        delay = policy.delay(self._crashes, self._jitter())
        self.phase, self._restart_at = Phase.RESTARTING, now + delay
        self._say(self.spec.name, f"crashed: {_how(code)}, restart in {delay:.1f} s")

    def _failed(self, what: str) -> StartError:
        return StartError(
            f"{self.spec.name} {what}; last lines of {self.spec.log}:\n{children.last_lines(self.spec.log)}"
        )


def _how(code: int) -> str:
    return f"exited with code {code}" if code >= 0 else f"was killed by signal {-code}"
