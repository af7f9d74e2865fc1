"""`thumbstream sql`: a question to ClickHouse with the analysts' rights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError
from rich.console import Console
from rich.table import Table

from thumbstream import target
from thumbstream.settings import Settings


def run(settings: Settings, query: str, ready_file: Path | None, *, as_json: bool) -> None:
    """Ask and print."""
    names, rows = ask(query, *login(settings, ready_file))
    if as_json:
        for row in rows:
            click.echo(json.dumps(dict(zip(names, row, strict=True)), default=str, ensure_ascii=False))
    else:
        Console().print(table(names, rows))


def login(settings: Settings, ready_file: Path | None) -> tuple[str, str, str, str]:
    """(address, user, password, database) of an analyst: from the settings, else from the ready file."""
    if settings.clickhouse_analyst_password and ready_file is None:
        user, password = settings.clickhouse_analyst_user, settings.clickhouse_analyst_password
        return settings.clickhouse_url, user, password, settings.clickhouse_views
    ready = target.read_ready(ready_file)
    found = ready["clickhouse_analyst"]
    return str(ready["clickhouse_url"]), found["user"], found["password"], found["database"]


def ask(
    query: str, url: str, user: str, password: str, database: str, parameters: Mapping[str, Any] | None = None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """(column names, rows). ClickException with ClickHouse's own words when it refuses."""
    try:
        with closing(
            clickhouse_connect.get_client(
                dsn=url, username=user, password=password, database=database, autogenerate_session_id=False
            )
        ) as client:
            result = client.query(query, parameters=dict(parameters or {}))
            return list(result.column_names), [tuple(row) for row in result.result_rows]
    except ClickHouseError as error:
        raise click.ClickException(str(error)) from error


def table(names: list[str], rows: list[tuple[Any, ...]], title: str | None = None) -> Table:
    """A table for a terminal; numbers to the right, NULL as an empty cell."""
    shown = Table(title=title, title_justify="left")
    for index, name in enumerate(names):
        numeric = any(isinstance(row[index], int | float) for row in rows)
        shown.add_column(name, justify="right" if numeric else "left")
    for row in rows:
        shown.add_row(*map(_cell, row))
    return shown


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
