"""Brings a ClickHouse database to the tables and views of this release; running it again changes nothing.

The numbered files in `migrations/` are applied in order and remembered with their checksum: a file that changed after
it was applied is refused, because nobody could say what the database holds then.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

from clickhouse_connect.driver.client import Client

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_APPLIED = """CREATE TABLE IF NOT EXISTS {tables}.applied_migrations (
  name String, checksum String, applied_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree(applied_at) ORDER BY name SETTINGS non_replicated_deduplication_window = 0"""


class MigrationError(RuntimeError):
    """A migration that must not be applied; the message says why."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file: `name` as `0001_tables`, `text` with the placeholders {tables} and {views}."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def statements(self, database: str, views_database: str) -> Iterator[str]:
        """The statements, one per `;` at a line's end, with both databases filled in."""
        text = self.text.replace("{tables}", database).replace("{views}", views_database)
        yield from filter(None, map(str.strip, re.split(r";[ \t]*(?:\n|\Z)", text)))


def migrations(folder: Traversable | None = None) -> list[Migration]:
    """All migrations, in the order in which they are applied."""
    folder = folder or resources.files("sinks") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [Migration(file.name.removesuffix(".sql"), file.read_text("utf-8")) for file in files]


def migrate(
    client: Client,
    database: str,
    views_database: str,
    analyst: tuple[str, str] | None = None,
    folder: Traversable | None = None,
) -> list[str]:
    """Apply what is missing and give the names of what was applied.

    `analyst`: (user, password) of a login to create with rights on the views only; leave it out on a server that has
    its logins elsewhere. Raises MigrationError, or the client's errors.
    """
    for name in (database, views_database):
        _checked(name)
        client.command(f"CREATE DATABASE IF NOT EXISTS {name}")
    client.command(_APPLIED.replace("{tables}", database))
    applied = _applied(client, database)
    done = [item.name for item in migrations(folder) if _apply(client, item, applied, database, views_database)]
    if analyst is not None:
        create_analyst(client, views_database, *analyst)
    return done


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise MigrationError(f"{name!r} is no name for a database or login: letters, digits and _ only")
    return name


def _applied(client: Client, database: str) -> dict[str, str]:
    rows = client.query(f"SELECT name, checksum FROM {database}.applied_migrations FINAL").result_rows  # noqa: S608 - checked name
    return {str(name): str(checksum) for name, checksum in rows}


def _apply(client: Client, item: Migration, applied: dict[str, str], database: str, views_database: str) -> bool:
    if item.name in applied:
        if applied[item.name] != item.checksum:
            raise MigrationError(f"{item.name} was changed after it was applied: write a new migration instead")
        return False
    for statement in item.statements(database, views_database):
        client.command(statement)
    client.command(
        f"INSERT INTO {database}.applied_migrations SELECT {{name:String}}, {{checksum:String}}, now64(3)",
        parameters={"name": item.name, "checksum": item.checksum},
    )
    return True


def create_analyst(client: Client, views_database: str, user: str, password: str) -> None:
    """Create the login, or give it this password, with SELECT on the views and nothing else.

    The password travels as its hash, so it appears in no query log. Limits keep one query from taking the server.
    """
    _checked(user)
    identified = f"IDENTIFIED WITH sha256_hash BY '{hashlib.sha256(password.encode()).hexdigest()}'"
    limits = "SETTINGS readonly = 2, max_execution_time = 60 CHANGEABLE_IN_READONLY, max_memory_usage = 4000000000"
    client.command(f"CREATE USER IF NOT EXISTS {user} {identified}")
    client.command(f"ALTER USER {user} {identified} {limits} DEFAULT DATABASE {_checked(views_database)}")
    client.command(f"GRANT SELECT, SHOW ON {views_database}.* TO {user}")
