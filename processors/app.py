"""The two Faust apps, composed: `resolve` (events to rows and minutes) and `watch` (minutes to alerts).

Two apps are two consumer groups and two processes: a long batch of one never delays the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import faust

from processors.agents import declare
from processors.alerts import Engine, reach
from processors.announce import Announcer, Given, Reload
from processors.credentials import credentials
from processors.marks import LOOK_SECONDS, Marks
from processors.minutes import REAL_TIME, Grain, Rollup
from processors.monitors import BUILT_IN, Monitor, rollups
from processors.outputs import Outputs
from processors.replay import Replay
from processors.resolve import Checkpoint, Resolver
from processors.tables import LatestTable, VersionedTable
from processors.tail import Tail, heal
from processors.ticks import GRACE
from processors.transport import use_batches
from processors.watch import Watcher
from schemas.codec import Codec
from schemas.events import Alert
from schemas.topics import Topics
from thumbstream.telemetry import Metrics

_MONITORS_SECONDS = 1.0


def _nothing_new() -> None:
    """The reload of a worker whose monitors never change."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Everything a worker is told. `group` names the consumer groups; `data_dir` must exist. Times are ms.

    `initial` are the monitors of a log that says nothing: the same for every worker, for ever. Their rollups are
    always counted.
    """

    bootstrap: str
    topics: Topics
    group: str
    data_dir: Path
    epoch: int = 1
    monitors: tuple[Monitor, ...] = BUILT_IN
    reload: Reload = _nothing_new
    initial: tuple[Monitor, ...] = BUILT_IN
    grain: Grain = REAL_TIME
    grace: int = GRACE
    mark_seconds: float = 1.0
    session_seconds: float = 10.0
    tail_seconds: float = 600.0  # far below the 24 h that compaction leaves records alone
    kafka: Mapping[str, str] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None

    def counted(self, monitors: tuple[Monitor, ...]) -> tuple[Rollup, ...]:
        """The rollups to count by."""
        return rollups((*self.initial, *monitors))


def resolve_app(options: WorkerOptions, metrics: Metrics) -> faust.App:
    """The app of role `resolve`."""
    app, codec = _app(options, "resolve"), Codec()
    outputs = Outputs(options.bootstrap, options.kafka)
    given = Given(options.monitors, options.reload, metrics)
    counted = options.counted(given.monitors)
    table = LatestTable(
        app,
        outputs=outputs,
        metrics=metrics,
        codec=codec,
        rollups=counted,
        grain=options.grain,
        **_changelog(app, "latest", options.topics.latest.name),
    )
    app.tables.add(table)
    resolver = Resolver(
        app,
        table,
        outputs,
        codec,
        options.topics,
        metrics,
        rollups=counted,
        epoch=options.epoch,
        grain=options.grain,
        checkpoint=options.checkpoint,
    )
    marks = Marks(resolver)
    _on_revoked(app, resolver.reset)
    declare(app, options.topics.events.name, resolver, "resolve")
    _every(app, options.mark_seconds, marks.publish)
    _every(app, LOOK_SECONDS, marks.look)
    _heal_tails(app, table, options, options.topics.latest.name)

    def recount() -> None:
        if given.refresh():
            resolver.count_by(options.counted(given.monitors))

    _every(app, _MONITORS_SECONDS, recount)
    return app


def watch_app(options: WorkerOptions, metrics: Metrics) -> faust.App:
    """The app of role `watch`."""
    app, codec = _app(options, "watch"), Codec()
    outputs = Outputs(options.bootstrap, options.kafka)
    table = VersionedTable(
        app, outputs=outputs, metrics=metrics, **_changelog(app, "alerts", options.topics.alerts.name)
    )
    app.tables.add(table)

    given = Given(options.monitors, options.reload, metrics)
    watcher = Watcher(
        app,
        table,
        outputs,
        codec,
        options.topics,
        metrics,
        new_engine=partial(_silent_engine, options),
        replay=Replay(options.bootstrap, options.kafka, options.topics.minutes.name, codec, options.grain.minute),
        guess=lambda: reach((*options.initial, *given.monitors)),
        checkpoint=options.checkpoint,
    )
    announcer = Announcer(app, watcher, outputs, given)
    _on_revoked(app, watcher.reset, announcer.reset)
    declare(app, options.topics.minutes.name, watcher, "watch")
    app.timer(interval=_MONITORS_SECONDS, on_leader=False)(announcer.beat)
    _heal_tails(app, table, options, options.topics.alerts.name)
    return app


def _silent_engine(options: WorkerOptions, alerts: Mapping[str, Alert], keep: int) -> Engine:
    return Engine(
        options.initial, minute=options.grain.minute, grace=options.grace, alerts=alerts, silent=True, keep=keep
    )


def is_ready(app: Any) -> bool:
    """True when the app has its partitions and has recovered its tables."""
    return bool(app.started and not app.rebalancing and app.tables.actives_ready)


def run(app: Any) -> None:
    """Run until SIGTERM or SIGINT, which end it within seconds; then the process exits."""
    worker = faust.Worker(app, loglevel="WARN", override_logging=False, quiet=True, redirect_stdouts=False)
    worker.execute_from_commandline()


def _app(options: WorkerOptions, role: str) -> faust.App:
    app = faust.App(
        f"{options.group}-{role}",
        broker=";".join(f"kafka://{server}" for server in options.bootstrap.split(",")),
        broker_credentials=credentials(options.kafka),
        store="memory://",
        datadir=str(options.data_dir),
        key_serializer="raw",
        value_serializer="raw",
        producer_partitioner=None,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=1 << 20,
        broker_commit_interval=1.0,
        broker_max_poll_records=1000,
        broker_session_timeout=options.session_seconds,
        broker_heartbeat_interval=options.session_seconds / 5,
        broker_rebalance_timeout=3 * options.session_seconds,
        table_standby_replicas=0,
        stream_wait_empty=True,
        stream_buffer_maxsize=16,
        stream_recovery_delay=0.0,
    )
    use_batches(app)
    return app


def _changelog(app: Any, name: str, topic: str) -> dict[str, Any]:
    channel = app.topic(topic, key_serializer="raw", value_serializer="raw", internal=False)
    return {"name": name, "changelog_topic": channel, "partitions": None}


def _on_revoked(app: Any, *acts: Callable[[], None]) -> None:
    async def revoked(*_: Any, **__: Any) -> None:
        for act in acts:
            act()

    app.on_partitions_revoked.connect(revoked)
    app.thumbstream_revoked = revoked  # signals hold their receivers weakly


def _heal_tails(app: Any, table: VersionedTable, options: WorkerOptions, topic: str) -> None:
    tail = Tail(options.bootstrap, options.kafka, topic)

    async def reread() -> None:
        await heal(app, table, tail)

    app.timer(interval=options.tail_seconds, on_leader=False)(reread)


def _every(app: Any, seconds: float, act: Callable[[], None]) -> None:
    async def beat() -> None:
        act()

    app.timer(interval=seconds, on_leader=False)(beat)
