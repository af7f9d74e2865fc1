"""`thumbstream worker ROLE`: one Faust app, checked before it starts."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import structlog
from confluent_kafka import KafkaException

from processors import app as apps
from thumbstream import topic_admin
from thumbstream.health import HealthServer
from thumbstream.monitors_file import MonitorsFile, MonitorsFileError
from thumbstream.settings import Settings
from thumbstream.telemetry import EXIT_STOP, Metrics, die

_log = structlog.get_logger(__name__)
ROLES = ("resolve", "watch")
_TOPICS_SECONDS = 5.0  # brokers tell each other of new topics; whoever asks the wrong one sees none yet


def options(settings: Settings, monitors: MonitorsFile) -> apps.WorkerOptions:
    """What the settings mean for a worker."""
    data_dir = (settings.data_dir / "faust").absolute()
    data_dir.mkdir(parents=True, exist_ok=True)
    return apps.WorkerOptions(
        bootstrap=settings.kafka_bootstrap_servers,
        topics=settings.topics,
        group=settings.group,
        data_dir=Path(data_dir),
        epoch=settings.epoch,
        monitors=monitors.first,
        reload=monitors.news,
        kafka=settings.kafka,
    )


def run(settings: Settings, role: str) -> None:
    """Run until stopped. Exits with EXIT_STOP when the topics do not have the shape that meaning needs."""
    # Until Faust listens there is nothing in work, and a stop is a stop.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    try:
        admin = topic_admin.client(settings.kafka_bootstrap_servers, settings.kafka)
    except KafkaException as error:
        die(f"[kafka]: {error}", code=EXIT_STOP)
    try:
        topic_admin.wait_for(admin, [topic.name for topic in settings.topics], _TOPICS_SECONDS)
        wrong = topic_admin.problems(admin, settings.topics)
    except (KafkaException, TimeoutError) as error:
        die(f"kafka: {error}")
    if wrong:
        die("; ".join(wrong) + " (see `thumbstream topics create`)", code=EXIT_STOP)
    metrics = Metrics()
    try:
        monitors = MonitorsFile(settings.monitors_file, metrics)
    except MonitorsFileError as error:
        die(str(error), code=EXIT_STOP)
    signal.signal(signal.SIGHUP, monitors.ask)
    make = {"resolve": apps.resolve_app, "watch": apps.watch_app}[role]
    try:
        app = make(options(settings, monitors), metrics)
    except (ValueError, OSError) as error:
        die(f"[kafka]: {error}", code=EXIT_STOP)
    if settings.health_port:
        HealthServer(settings.health_port, metrics, lambda: apps.is_ready(app)).start()
    _log.info("starting", role=role, group=settings.group)
    apps.run(app)
