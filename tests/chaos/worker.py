"""`python -m tests.chaos.worker ROLE PLAN`: the product's app, on scaled time, dawdling where a crash would hurt."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from dataclasses import asdict
from pathlib import Path

from processors.app import WorkerOptions, resolve_app, run, watch_app
from processors.minutes import Grain
from processors.monitors import Monitor
from processors.tables import LatestTable
from tests.chaos.plan import DAY, GRACE, MARK_SECONDS, MINUTE, RULES, SESSION_SECONDS, TAIL_SECONDS, UP, Plan
from thumbstream.telemetry import Metrics, configure_logging

_SMALL_CACHE = 400  # cells: days are evicted and built again all the time


def options(plan: Plan) -> WorkerOptions:
    """The product's options for this run. The dice are the process's own: no two workers pause alike."""
    dice = random.Random(f"{plan.seed}-{os.getpid()}")

    async def dawdle(_place: str) -> None:
        if dice.random() < plan.pauses:
            await asyncio.sleep(dice.random() * 0.6)

    monitors = tuple(Monitor(**asdict(rule)) for rule in RULES)
    return WorkerOptions(
        bootstrap=plan.bootstrap,
        topics=plan.topics,
        group=plan.group,
        data_dir=plan.directory,
        monitors=monitors,
        initial=monitors,
        grain=Grain(MINUTE, DAY),
        grace=GRACE,
        mark_seconds=MARK_SECONDS,
        session_seconds=SESSION_SECONDS,
        tail_seconds=TAIL_SECONDS,
        checkpoint=dawdle,
    )


def main(role: str, given: str) -> None:
    """Run one worker until it is stopped."""
    configure_logging(role)
    fields = json.loads(given)
    plan = Plan(**{**fields, "directory": Path(fields["directory"])})
    app = (resolve_app if role == "resolve" else watch_app)(options(plan), Metrics())
    for table in app.tables.values():
        if isinstance(table, LatestTable):
            table.max_cells = _SMALL_CACHE

    app.task(_tell)
    run(app)


async def _tell() -> None:
    print(UP, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
