"""Whom a command talks to: named by options or settings, or by the ready file of `thumbstream up`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from thumbstream.settings import Settings

DEFAULT_READY = Path(".thumbstream/ready.json")


@dataclass(frozen=True, slots=True)
class Target:
    """Address and secret."""

    url: str
    api_key: str

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.api_key}"}


def read_ready(path: Path | None) -> dict[str, Any]:
    """The ready file. UsageError when it is not there: nothing runs, or it runs elsewhere."""
    file = path or DEFAULT_READY
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise click.UsageError(f"no ready file {file}: is `thumbstream up` running? (see --ready-file)") from error
    return content


def find(url: str | None, api_key: str | None, ready_file: Path | None) -> Target:
    """The gateway to talk to. Options win over the ready file."""
    if url and api_key:
        return Target(url.rstrip("/"), api_key)
    ready = read_ready(ready_file)
    return Target((url or str(ready["gateway_url"])).rstrip("/"), api_key or str(ready["api_key"]))


def with_brokers(settings: Settings, ready_file: Path | None) -> Settings:
    """`settings` with the brokers and topics to talk to.

    Those of a ready file that is named, or of the one that is here unless the settings name brokers themselves.
    """
    named = settings.kafka_bootstrap_servers != Settings().kafka_bootstrap_servers
    if ready_file is None and (named or not DEFAULT_READY.exists()):
        return settings
    ready = read_ready(ready_file)
    prefix = str(ready["topics"]["events"]).removesuffix("events")
    return replace(settings, kafka_bootstrap_servers=str(ready["kafka_bootstrap"]), topic_prefix=prefix)


def with_clickhouse(settings: Settings, ready_file: Path | None) -> Settings:
    """`settings` with the ClickHouse to talk to and the login that owns the tables.

    Those of a ready file that is named, or of the one that is here unless the settings hold a password.
    """
    if ready_file is None and (settings.clickhouse_password or not DEFAULT_READY.exists()):
        return settings
    ready = read_ready(ready_file)
    login = ready["clickhouse_admin"]
    return replace(
        settings,
        clickhouse_url=str(ready["clickhouse_url"]),
        clickhouse_user=str(login["user"]),
        clickhouse_password=str(login["password"]),
        clickhouse_database=str(login["database"]),
        clickhouse_views=str(ready["clickhouse_analyst"]["database"]),
    )
