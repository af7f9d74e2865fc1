"""The local stack as children of a supervisor: what `thumbstream up` runs, with the settings each child gets."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from producers.keys import create_key
from producers.token_keys import create_if_missing
from thumbstream import topic_admin
from thumbstream.commands import migrate
from thumbstream.local import kafka, ports
from thumbstream.local.child_spec import ChildSpec
from thumbstream.local.clickhouse import process as clickhouse
from thumbstream.local.probes import http_answers
from thumbstream.settings import PREFIX, Settings

TENANT = "local"
KAFKA_PORT, CLICKHOUSE_PORT, GATEWAY_PORT = 9092, 8123, 8080
DELIVER = "deliver"
_PATIENCE = 10.0  # seconds for a broker that was ready a moment ago: nobody would make the topics later
_HEALTH = ("resolve-1", "watch-1", "sink")


@dataclass(frozen=True, slots=True)
class Stack:
    """Everything that is settled before the first child starts."""

    directory: Path
    settings: Settings
    brokers: kafka.Plan
    logins: clickhouse.Credentials
    api_key: str
    health: Mapping[str, int]  # child -> port of its health answers

    @property
    def gateway_url(self) -> str:
        """Where clients send feedback."""
        return f"http://{self.settings.gateway_host}:{self.settings.gateway_port}"

    def facts(self) -> dict[str, Any]:
        """The content of the ready file, but for the pids."""
        topics, views = self.settings.topics, self.settings.clickhouse_views
        names = ("events", "latest", "minutes", "alerts", "dead_letters")
        return {
            "gateway_url": self.gateway_url,
            "clickhouse_url": self.settings.clickhouse_url,
            "clickhouse_analyst": _login(self.logins.analyst, views),
            "clickhouse_admin": _login(self.logins.admin, self.settings.clickhouse_database),
            "kafka_bootstrap": self.brokers.bootstrap,
            "api_key": self.api_key,
            "tenant_id": TENANT,
            "topics": {name: getattr(topics, name).name for name in names},
            "health_ports": dict(self.health),
        }

    def children(self) -> list[ChildSpec]:
        """All children. Brokers and ClickHouse start first; stages start when what they talk to answers."""
        brokers = [replace(spec, on_healthy=self._create_topics) for spec in kafka.child_specs(self.brokers)]
        names = [spec.name for spec in brokers]
        delivery = [replace(self._stage(DELIVER, (DELIVER,), names), reloads=True)] if DELIVER in self.health else []
        return [
            *brokers,
            self._clickhouse(),
            self._stage("gateway", ("gateway",), names, self.gateway_url + "/readyz"),
            replace(self._stage("resolve-1", ("worker", "resolve"), names), reloads=True),
            replace(self._stage("watch-1", ("worker", "watch"), names), reloads=True),
            self._stage("sink", ("sink",), [*names, "clickhouse"]),
            *delivery,
        ]

    def _clickhouse(self) -> ChildSpec:
        directory = self.directory / "clickhouse"
        port = int(self.settings.clickhouse_url.rpartition(":")[2])
        return ChildSpec(
            name="clickhouse",
            argv=clickhouse.command(directory, port=port),
            log=self.directory / "logs" / "clickhouse.log",
            env={"PYTHONPATH": _sources()},
            probe=http_answers(self.settings.clickhouse_url + "/ping"),
            on_healthy=self._migrate,
        )

    def _stage(self, name: str, verb: tuple[str, ...], after: list[str], url: str | None = None) -> ChildSpec:
        port = self.health.get(name, 0)
        return ChildSpec(
            name=name,
            argv=[sys.executable, "-m", "thumbstream", *verb],
            log=self.directory / "logs" / f"{name}.log",
            env={**environment(replace(self._settings_of(name), health_port=port)), "PYTHONPATH": _sources()},
            probe=http_answers(url or f"http://{ports.LOOPBACK}:{port}/readyz"),
            after=after,
        )

    def _settings_of(self, name: str) -> Settings:
        """The gateway gets no login that may write: its queries are the analysts'."""
        if name != "gateway":
            return self.settings
        user, password = self.logins.analyst
        queries = replace(self.settings, clickhouse_analyst_user=user, clickhouse_analyst_password=password)
        return replace(queries, clickhouse_user="", clickhouse_password="")

    def _create_topics(self) -> None:
        """Runs after each broker; topics can be made once all of them are there."""
        if all(kafka.is_ready(node, _PATIENCE) for node in self.brokers.nodes):
            admin = topic_admin.client(self.brokers.bootstrap, self.settings.kafka)
            topic_admin.create(admin, self.settings.topics, self.settings.replication)

    def _migrate(self) -> None:
        migrate.run(self.settings)


def prepare(settings: Settings, directory: Path, brokers: int, *, auto: bool) -> Stack:
    """Settle ports, passwords, keys and brokers' files. Errors carry a sentence for the person at the console."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    (directory / "logs").mkdir(exist_ok=True)
    fixed = [KAFKA_PORT + number for number in range(brokers)]
    kafka.quicken_starts()
    plan = kafka.prepare(directory / "kafka", brokers, "auto" if auto else fixed)
    taken = {port for node in plan.nodes for port in (node.port, node.controller_port)}  # no broker runs yet
    receivers_file = _receivers(settings)
    watched = (*_HEALTH, DELIVER) if receivers_file else _HEALTH
    store, front, *health = ports.free_ports(2 + len(watched), taken) if auto else _fixed(len(watched), taken)
    logins = clickhouse.prepare_logins(directory / "clickhouse")
    keys_file, token_keys_file = directory / "keys.toml", directory / "token-keys.toml"
    create_if_missing(token_keys_file, datetime.now(UTC))
    chosen = replace(
        settings,
        kafka_bootstrap_servers=plan.bootstrap,
        replication=brokers,
        clickhouse_url=f"http://{ports.LOOPBACK}:{store}",
        clickhouse_user=logins.admin[0],
        clickhouse_password=logins.admin[1],
        clickhouse_analyst_password="",
        gateway_host=ports.LOOPBACK,
        gateway_port=front,
        keys_file=keys_file,
        token_keys_file=token_keys_file,
        monitors_file=settings.monitors_file.absolute() if settings.monitors_file else None,
        receivers_file=receivers_file,
        data_dir=directory,
    )
    return Stack(
        directory, chosen, plan, logins, _api_key(directory, keys_file), dict(zip(watched, health, strict=True))
    )


def _receivers(settings: Settings) -> Path | None:
    """The receivers file, if there is one: without receivers nothing is to be delivered."""
    path = settings.receivers_file
    return path.absolute() if path is not None and path.exists() else None


def environment(settings: Settings) -> dict[str, str]:
    """The settings as a child's environment. What is passed through to clients stays in the settings file."""
    names = {name: value for name, value in _values(settings).items() if not isinstance(value, Mapping)}
    return {PREFIX + name.upper(): "" if value is None else str(value) for name, value in names.items()}


def _values(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__slots__}


def _fixed(health: int, taken: set[int]) -> list[int]:
    ports.require_free({"clickhouse": CLICKHOUSE_PORT, "gateway": GATEWAY_PORT})
    return [CLICKHOUSE_PORT, GATEWAY_PORT, *ports.free_ports(health, {CLICKHOUSE_PORT, GATEWAY_PORT, *taken})]


def _api_key(directory: Path, keys_file: Path) -> str:
    """The stack's own key: made once, its secret kept beside the data for the ready file."""
    kept = directory / "api-key"
    if not kept.exists() or not keys_file.exists():
        secret = create_key(keys_file, TENANT, ("ingest", "query", "tokens", "admin"))
        kept.touch(mode=0o600)
        kept.write_text(secret)
    return kept.read_text()


def _login(login: tuple[str, str], database: str) -> dict[str, str]:
    return {"user": login[0], "password": login[1], "database": database}


def _sources() -> str:
    """Children must find these packages wherever they are started."""
    return os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
