"""One chaos run: topics, traffic, faults, rest, verdict. `python -m tests.chaos.run BOOTSTRAP SECONDS [SEED]`."""

from __future__ import annotations

import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.faults import Fleet
from tests.chaos.log import lag
from tests.chaos.oracle import Verdict, judge
from tests.chaos.plan import Plan
from tests.chaos.traffic import Pump
from tests.polling import wait_until
from thumbstream import topic_admin

_REST_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict over what was published, the faults that were done, and what no fault explains."""

    plan: Plan
    verdict: Verdict
    faults: Counter[str]
    complaints: list[str]
    slowest_exit: float
    warnings: Counter[str]

    @property
    def right(self) -> bool:
        """True when nothing was wrong and nobody ended without a reason."""
        return not self.verdict.wrong and not self.complaints

    def __str__(self) -> str:
        return (
            f"seed {self.plan.seed}\nfaults {dict(self.faults)}\n{self.verdict}\ncomplaints {self.complaints}\n"
            f"slowest exit {self.slowest_exit:.1f} s\nwarnings {dict(self.warnings)}\nlogs in {self.plan.directory}"
        )


def chaos(plan: Plan, seconds: float, rate: float = 400, say: Callable[[str], None] = print) -> Outcome:
    """Traffic at `rate` a second under faults for `seconds`, then rest until all is processed, then the oracle."""
    admin = topic_admin.client(plan.bootstrap)
    topic_admin.create(admin, plan.topics, 1)
    began = time.monotonic()
    fleet = Fleet(plan, lambda text: say(f"{time.monotonic() - began:6.1f} {text}"))
    pump = Pump(plan, rate)
    try:
        fleet.attend()
        wait_until(lambda: fleet.all_up, 60, "the first workers are up")
        pump.start()
        began = time.monotonic()
        _hurt(fleet, plan.seed, began, seconds)
        fleet.say(f"sent {pump.stop()}")
        _rest(fleet, plan)
    finally:
        fleet.abandon()
    fleet.say("judging")
    verdict = judge(plan)
    fleet.say("judged")
    return Outcome(plan, verdict, fleet.counted, fleet.complaints, fleet.slowest_exit, _warnings(plan.directory))


def _hurt(fleet: Fleet, seed: int, began: float, seconds: float) -> None:
    dice = random.Random(f"pace-{seed}")
    due = time.monotonic() + 3
    while time.monotonic() < began + seconds and len(fleet.complaints) < 5:
        fleet.attend()
        if time.monotonic() >= due:
            fleet.hurt()
            due = time.monotonic() + dice.uniform(1.5, 7)
        time.sleep(0.05)
    fleet.quieten()


def _rest(fleet: Fleet, plan: Plan) -> None:
    """All events counted; then no more marks; then all minutes watched."""
    for role, topic in (("resolve", plan.topics.events.name), ("watch", plan.topics.minutes.name)):
        deadline = time.monotonic() + _REST_SECONDS
        while left := lag(plan.bootstrap, f"{plan.group}-{role}", topic):
            fleet.attend()
            if time.monotonic() > deadline:
                fleet.complaints.append(f"{role} does not come to rest: {left} records left")
                break
            time.sleep(0.2)
        fleet.say(f"{role} at rest")
        fleet.stop(role)


def _warnings(directory: Path) -> Counter[str]:
    """What workers warned of, with numbers blotted out; worth a look in a long run."""
    found: Counter[str] = Counter()
    for log in directory.glob("*.log"):
        for line in log.read_text("utf-8", "replace").splitlines():
            for word in ("healing", "offset gap", "stall", "fatal", "Traceback", "restored"):
                found[word] += word in line
    return +found


def main(bootstrap: str, seconds: float, seed: int) -> int:
    """Run once and print the outcome; 1 when anything was wrong."""
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    outcome = chaos(Plan(bootstrap, f"chaos-{uuid.uuid4().hex[:8]}.", directory, seed), seconds)
    print(outcome, flush=True)
    return 0 if outcome.right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1))
