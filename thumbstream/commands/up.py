"""`thumbstream up`: the whole product on this machine, under one supervisor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from sinks.delivery.receivers import ReceiversError
from thumbstream import monitors_file
from thumbstream.commands import deliver
from thumbstream.local import ready_file as ready
from thumbstream.local.data_directory import DataDirectoryInUseError, exclusive
from thumbstream.local.kafka import KafkaError
from thumbstream.local.kafka_jars import JarsError
from thumbstream.local.ports import PortInUseError
from thumbstream.local.stack import Stack, prepare
from thumbstream.local.supervisor import Supervisor
from thumbstream.settings import Settings

OnChange = Callable[[dict[str, int], bool], None]


def run(settings: Settings, directory: Path, brokers: int, ready_file: Path | None, *, auto: bool) -> int:
    """Run until Ctrl-C or SIGTERM; the exit code. SIGHUP makes the workers read the monitors again."""
    try:
        monitors_file.load(settings.monitors_file)
        if settings.receivers_file is not None and settings.receivers_file.exists():
            deliver.load(settings)
        with exclusive(directory):
            return _run(prepare(settings, directory, brokers, auto=auto), ready_file or directory / "ready.json")
    except PortInUseError as error:
        raise click.ClickException(f"{error} (`--ports auto` takes free ports)") from error
    except (KafkaError, JarsError, DataDirectoryInUseError, monitors_file.MonitorsFileError, ReceiversError) as error:
        raise click.ClickException(str(error)) from error


def _run(stack: Stack, ready_file: Path) -> int:
    for name, value in stack.settings.describe():
        click.echo(f"  {name}={value}")
    file = ready_file.absolute()
    announce = _announce(stack, file)
    return Supervisor(stack.children(), on_change=announce, on_stopping=lambda: ready.remove(file)).run()


def _announce(stack: Stack, file: Path) -> OnChange:
    """Keep the ready file true, and say once where everything is."""
    publish, said = ready.publisher(file, stack.facts()), False

    def on_change(pids: dict[str, int], healthy: bool) -> None:
        nonlocal said
        publish(pids, healthy)
        if healthy and not said:
            said = True
            click.echo(_summary(stack, file))

    return on_change


def _summary(stack: Stack, file: Path) -> str:
    store, login = stack.settings.clickhouse_url, stack.logins.analyst[0]
    return f"""
thumbstream is up.
  feedback    {stack.gateway_url}/v1/events   (key and passwords: {file})
  ClickHouse  {store}   user {login}, database {stack.settings.clickhouse_views}
  Kafka       {stack.brokers.bootstrap}
Ctrl-C stops it.
"""
