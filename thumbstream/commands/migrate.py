"""`thumbstream migrate`: ClickHouse's tables, views and analyst login."""

from __future__ import annotations

from contextlib import closing

from sinks import migrate
from sinks.clickhouse import connect
from thumbstream.commands.sink import address
from thumbstream.settings import Settings


def run(settings: Settings) -> list[str]:
    """Apply what is missing; the names of what was applied."""
    analyst = None
    if settings.clickhouse_analyst_password:
        analyst = (settings.clickhouse_analyst_user, settings.clickhouse_analyst_password)
    with closing(connect(address(settings))) as client:
        return migrate.migrate(client, settings.clickhouse_database, settings.clickhouse_views, analyst)
