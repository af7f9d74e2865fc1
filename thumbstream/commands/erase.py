"""`thumbstream erase`: requests are erased through the gateway, as any client would, and the effect is looked up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import httpx
import uuid_utils
from clickhouse_connect.driver.exceptions import ClickHouseError
from confluent_kafka import KafkaException
from rich.console import Console
from urllib3.exceptions import HTTPError

from producers.keys import Keys, KeysError
from sinks.clickhouse import ClickHouseWriter, connect
from sinks.writer import MisconfiguredError, UnavailableError
from thumbstream import target
from thumbstream.audit.positions import await_events
from thumbstream.audit.scope import NotJudgedError
from thumbstream.audit.topic_books import TopicBooks
from thumbstream.commands.sink import address
from thumbstream.commands.sql import table
from thumbstream.erasure import erase_event, report
from thumbstream.settings import Settings
from thumbstream.target import Target

_BATCH = 1_000  # events that the gateway takes at once
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.3
# Not only the requests that count as this user's now: others may have spoken last. A change by a feedback id of which
# nothing is known here names no request.
_OF_USER = """SELECT request_id FROM {views}.vote_history WHERE tenant_id = {tenant:String} AND user_id = {user:String}
AND request_id != ''
UNION DISTINCT SELECT request_id FROM {views}.requests WHERE tenant_id = {tenant:String} AND user_id = {user:String}"""
# The erasure's own event is stored after all that was said before it: from then on a purge finds everything.
_SHOWS = """SELECT request_id FROM {tables}.feedback_events
WHERE tenant_id = {tenant:String} AND request_id = {request:String} AND event_id = {event:String}
AND (tenant_id, request_id) IN (SELECT tenant_id, request_id FROM {tables}.feedback_erased)"""


@dataclass(frozen=True, slots=True)
class _Store:
    """What ClickHouse knows of one tenant."""

    settings: Settings
    tenant: str

    def requests_of(self, user_id: str) -> list[str]:
        """Every request that the user has said something about and that is not erased."""
        return self._ids(_OF_USER, user=user_id)

    def shows(self, request_id: str, event_id: str) -> bool:
        """True once the request is among those that views leave out, and the event that erased it is stored."""
        return bool(self._ids(_SHOWS, request=request_id, event=event_id))

    def check(self) -> None:
        """ClickException when ClickHouse cannot be asked."""
        self._ids("SELECT 1")

    def _ids(self, query: str, **parameters: str) -> list[str]:
        text = query.replace("{views}", self.settings.clickhouse_views)
        text = text.replace("{tables}", self.settings.clickhouse_database)
        with _reachable(), closing(connect(address(self.settings))) as client:
            found = client.query(text, parameters={"tenant": self.tenant, **parameters})
            return [str(row[0]) for row in found.result_rows]

    def purge(self) -> None:
        """Delete the content of all erased requests from the tables' files."""
        writer = ClickHouseWriter(address(self.settings))
        try:
            with _reachable():
                writer.purge_erased(wait=True)
        finally:
            writer.close()


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except (ClickHouseError, HTTPError, UnavailableError, MisconfiguredError) as error:
        raise click.ClickException(f"ClickHouse: {error}") from error


def run(
    settings: Settings,
    request_id: str | None,
    user_id: str | None,
    tenant: str | None,
    now: bool,
    yes: bool,
    ready_file: Path | None,
    url: str | None,
    api_key: str | None,
) -> int:
    """Erase, wait until it shows, purge if asked to, and report; the exit code. Running it again is harmless."""
    if (request_id is None) == (user_id is None):
        raise click.UsageError("give --request or --user")
    gateway = target.find(url, api_key, ready_file)
    settings = target.with_clickhouse(target.with_brokers(settings, ready_file), ready_file)
    store = _Store(settings, _tenant(settings, gateway, ready_file, tenant))
    if user_id is not None:
        _await_events(settings)
    ids = [request_id] if request_id is not None else store.requests_of(str(user_id))
    if not ids:
        click.echo(f"no request of {store.tenant} by this user, or all are erased")
        return 0
    if user_id is not None and not yes:
        click.confirm(f"Erase {len(ids)} requests of {store.tenant} and all that was said about them?", abort=True)
    store.check()  # before anything is sent
    for part in (ids[:1], ids[1:]):  # the first one alone: with a wrong tenant it ends there
        sent = _send(gateway, part)
        if not all(_wait(store, request_id, event_id) for request_id, event_id in sent.items()):
            raise click.ClickException(
                f"accepted, but not in ClickHouse after {_PATIENCE_SECONDS:.0f} s: do `resolve` and the sink run,"
                f" and is this a key of tenant {store.tenant}?"
            )
    if now:
        store.purge()
    _print(settings, store.tenant, len(ids), purged=now)
    return 0


def _await_events(settings: Settings) -> None:
    """Wait until ClickHouse has all that was said up to now: only there it can be found by its user."""
    try:
        with TopicBooks(settings.kafka_bootstrap_servers, settings.kafka, settings.group) as books:
            await_events(books, settings.topics, _PATIENCE_SECONDS)
    except NotJudgedError as error:
        raise click.ClickException(f"not all that this user has said can be found yet: {error}") from error
    except KafkaException as error:
        raise click.ClickException(f"kafka: {error.args[0].str()}") from error


def _tenant(settings: Settings, gateway: Target, ready_file: Path | None, named: str | None) -> str:
    """The key's tenant. UsageError when nobody says it, or `named` is another one: it would erase the wrong thing."""
    known = _tenant_of_key(settings, gateway, ready_file)
    if known is None and named is None:
        raise click.UsageError("name the key's tenant: --tenant")
    if None not in (known, named) and known != named:
        raise click.UsageError(f"the key is of tenant {known}, not {named}")
    return str(known or named)


def _tenant_of_key(settings: Settings, gateway: Target, ready_file: Path | None) -> str | None:
    if (ready_file or target.DEFAULT_READY).exists():
        ready = target.read_ready(ready_file)
        if ready["api_key"] == gateway.api_key:
            return str(ready["tenant_id"])
    try:
        key = Keys(settings.keys_file).find(gateway.api_key) if settings.keys_file is not None else None
    except KeysError as error:
        raise click.ClickException(str(error)) from error
    return None if key is None else key.tenant


def _send(gateway: Target, ids: Sequence[str]) -> dict[str, str]:
    """Have the gateway accept one erasure a request; request id -> event id."""
    sent = {request_id: f"erase-{uuid_utils.uuid7()}" for request_id in ids}
    moment = time.time_ns() // 1_000_000
    events = [erase_event(request_id, event_id, moment) for request_id, event_id in sent.items()]
    headers = {**gateway.headers, "Content-Type": "application/json"}
    for start in range(0, len(events), _BATCH):
        body = b"[" + b",".join(events[start : start + _BATCH]) + b"]"
        try:
            reply = httpx.post(f"{gateway.url}/v1/events", content=body, headers=headers, timeout=15)
        except httpx.HTTPError as error:
            raise click.ClickException(f"{gateway.url} does not answer: {error}") from error
        if reply.status_code != httpx.codes.OK:
            raise click.ClickException(f"refused with status {reply.status_code}: {_why(reply)}")
    return sent


def _why(reply: httpx.Response) -> str:
    try:
        errors: list[dict[str, Any]] = reply.json()["errors"]
        return str(errors[0]["message"])
    except (ValueError, LookupError, TypeError):
        return "no reason given"


def _wait(store: _Store, request_id: str, event_id: str) -> bool:
    """Wait until the views leave the request out; False when they do not in time."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not store.shows(request_id, event_id):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _print(settings: Settings, tenant: str, count: int, *, purged: bool) -> None:
    rows = [tuple(due) for due in report(settings.topics, time.time_ns() // 1_000_000, purged=purged)]
    Console().print(table(["content is gone from", "at the latest (UTC)"], rows, f"{tenant}: {count} requests erased"))
    click.echo("Kept: tenant, request id and feedback ids, so that nothing that comes later brings a request back.")
