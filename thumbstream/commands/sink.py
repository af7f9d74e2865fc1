"""`thumbstream sink`: all topics into ClickHouse."""

from __future__ import annotations

import signal
import threading

from sinks.clickhouse import Address
from sinks.consumer import run as consume
from sinks.startup import Options
from thumbstream.health import HealthServer
from thumbstream.settings import Settings
from thumbstream.signals import set_soon
from thumbstream.telemetry import Metrics


def address(settings: Settings) -> Address:
    """Where the tables are, and the login that owns them."""
    return Address(
        settings.clickhouse_url,
        settings.clickhouse_user,
        settings.clickhouse_password,
        settings.clickhouse_database,
        settings.clickhouse,
    )


def run(settings: Settings) -> None:
    """Store until SIGTERM or SIGINT, then flush and commit."""
    metrics, stop, ready = Metrics(), threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: set_soon(stop))
    if settings.health_port:
        HealthServer(settings.health_port, metrics, ready.is_set).start()
    options = Options(
        settings.kafka_bootstrap_servers,
        settings.topics,
        address(settings),
        settings.epoch,
        f"{settings.group}-sink",
        settings.kafka,
    )
    consume(options, metrics, lambda now: ready.set() if now else ready.clear(), stop)
