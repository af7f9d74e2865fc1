"""`thumbstream audit`: do the books balance?"""

from __future__ import annotations

import json
import re
import time
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException
from urllib3.exceptions import HTTPError

from processors.minutes import rollup_name
from processors.monitors import rollups
from sinks.clickhouse import connect
from thumbstream import monitors_file, target
from thumbstream.audit import gauges, report
from thumbstream.audit.auditor import Auditor
from thumbstream.audit.cells import ALWAYS
from thumbstream.audit.scope import Findings, NotJudgedError, Scope
from thumbstream.audit.store_books import StoreBooks
from thumbstream.audit.topic_books import TopicBooks
from thumbstream.commands.sink import address
from thumbstream.settings import Settings

BALANCED, DIFFERENT, NOT_JUDGED = 0, 1, 2
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}
_STORE_SECONDS = 600.0


def run(
    settings: Settings, since: str | None, wait: float, metrics: Path | None, ready_file: Path | None, *, as_json: bool
) -> int:
    """Audit and print; gives the exit code. `metrics`: where gauges go, untouched when nothing could be judged."""
    settings = located(settings, ready_file)
    moment_of = None if since is None else moment(since, time.time())
    scope = Scope(settings.topics, settings.epoch, moment_of, wait, _counted(settings.monitors_file))
    began = time.monotonic()
    try:
        findings = audit(settings, scope)
        if metrics is not None:
            gauges.write(metrics, findings, time.time())
    except (NotJudgedError, KafkaException, ClickHouseError, HTTPError, OSError) as error:
        reason = error.args[0].str() if isinstance(error, KafkaException) else str(error)
        text = json.dumps(report.not_judged(reason, time.monotonic() - began)) if as_json else f"not judged: {reason}"
        click.echo(text, err=not as_json)
        return NOT_JUDGED
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps(report.document(findings, seconds), ensure_ascii=False))
    else:
        click.echo("\n".join(report.lines(findings, seconds)))
    return BALANCED if findings.ledger.balanced else DIFFERENT


def _counted(monitors: Path | None) -> frozenset[str]:
    try:
        return ALWAYS | frozenset(map(rollup_name, rollups(monitors_file.load(monitors))))
    except monitors_file.MonitorsFileError as error:
        raise click.ClickException(str(error)) from error


def audit(settings: Settings, scope: Scope) -> Findings:
    """One audit of what the settings name. Raises NotJudgedError, or the clients' errors."""
    with (
        TopicBooks(settings.kafka_bootstrap_servers, settings.kafka, settings.group) as books,
        closing(connect(address(settings), timeout=_STORE_SECONDS)) as client,
    ):
        store = StoreBooks(client, settings.clickhouse_database, settings.clickhouse_views)
        return Auditor(scope, books, store).run()


def located(settings: Settings, ready_file: Path | None) -> Settings:
    """The settings, with the addresses of `thumbstream up` when its ready file is named or no password is set."""
    if settings.clickhouse_password and ready_file is None:
        return settings
    ready = target.read_ready(ready_file)
    login = ready["clickhouse_admin"]
    return replace(
        settings,
        kafka_bootstrap_servers=ready["kafka_bootstrap"],
        topic_prefix=ready["topics"]["events"].removesuffix("events"),
        clickhouse_url=ready["clickhouse_url"],
        clickhouse_user=login["user"],
        clickhouse_password=login["password"],
        clickhouse_database=login["database"],
        clickhouse_views=ready["clickhouse_analyst"]["database"],
    )


def moment(text: str, now: float) -> int:
    """Epoch ms of a time as RFC 3339, or of so long ago as `90m`, `6h` or `2d`. BadParameter for anything else."""
    if found := re.fullmatch(r"(\d+)([mhd])", text):
        return int((now - int(found[1]) * _SECONDS[found[2]]) * 1000)
    try:
        time_said = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is neither a time nor a span as 6h", param_hint="--since") from error
    if time_said.tzinfo is None:
        raise click.BadParameter(f"{text!r} needs an offset, as Z", param_hint="--since")
    return int(time_said.timestamp() * 1000)
