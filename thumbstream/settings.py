"""Every setting: its environment name, its default, its parser and one sentence, declared once.

Read from `thumbstream.toml` (or the file THUMBSTREAM_CONFIG names), then from the environment, which wins.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from producers.dialects.exchange import TenantRules
from producers.grants import is_origin
from producers.limits import Rate, parse_rate
from schemas.topics import Topics
from thumbstream import tenant_rules

PREFIX = "THUMBSTREAM_"


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and says why."""


def _setting(default: Any, sentence: str, parse: Callable[[str], Any] = str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"sentence": sentence, "parse": parse, "secret": secret})


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


class Origins(tuple[str, ...]):
    """Origins of pages; their text is what `_origins` reads."""

    __slots__ = ()

    def __str__(self) -> str:
        return ",".join(self)


def _origins(text: str) -> Origins:
    origins = Origins(origin.strip() for origin in text.split(",") if origin.strip())
    for origin in origins:
        if not is_origin(origin):
            raise ValueError(f"{origin} is not an origin as browsers write it: https://chat.example")
    return origins


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process. Field names are the environment names without the prefix, in lower case."""

    kafka_bootstrap_servers: str = _setting("127.0.0.1:9092", "Brokers, comma-separated host:port")
    topic_prefix: str = _setting("feedback.", "Prefix of all topic names")
    event_partitions: int = _setting(4, "Partitions of events and latest; growing them means a new epoch", int)
    minute_partitions: int = _setting(4, "Partitions of minutes and high-negative-rate", int)
    replication: int = _setting(1, "Replicas of each topic that `topics create` makes", int)
    group: str = _setting("thumbstream", "Prefix of all consumer groups")
    epoch: int = _setting(1, "Rises by one when the events topic is re-created or re-partitioned", int)
    clickhouse_url: str = _setting("http://127.0.0.1:8123", "ClickHouse's HTTP address")
    clickhouse_user: str = _setting("admin", "ClickHouse login that owns tables and views")
    clickhouse_password: str = _setting("", "Its password", secret=True)
    clickhouse_database: str = _setting("feedback", "Database of the tables")
    clickhouse_views: str = _setting("analytics", "Database of the analysts' views")
    clickhouse_analyst_user: str = _setting("analyst", "Login that `migrate` creates for analysts on a real server")
    clickhouse_analyst_password: str = _setting("", "Its password; empty: no login is created", secret=True)
    gateway_host: str = _setting("127.0.0.1", "Address the gateway listens on")
    gateway_port: int = _setting(8080, "Port the gateway listens on", int)
    keys_file: Path | None = _setting(None, "API keys (TOML), read again when it changes", _path)
    token_keys_file: Path | None = _setting(None, "Keys that sign feedback tokens (TOML); empty: no tokens", _path)
    page_origins: Origins = _setting(
        Origins(),
        "Origins whose pages may use feedback tokens, comma-separated; empty: those each token names",
        _origins,
    )
    limit_per_key: Rate | None = _setting(
        None, "Events of one API key, PER_SECOND/AT_ONCE; empty: no limit", parse_rate
    )
    limit_per_token: Rate | None = _setting(
        Rate(1, 60), "Events for one answer by feedback tokens, PER_SECOND/AT_ONCE; empty: no limit", parse_rate
    )
    limit_per_address: Rate | None = _setting(
        Rate(5, 100),
        "Requests of one address without a valid key or token, PER_SECOND/AT_ONCE; empty: no limit",
        parse_rate,
    )
    trusted_proxies: int = _setting(0, "Proxies in front whose `X-Forwarded-For` is believed; 0: none", int)
    feedback_ids_file: Path | None = _setting(
        None,
        "Secrets of feedback ids, shared by all gateways; empty: beside the keys file, made if it is not there",
        _path,
    )
    monitors_file: Path | None = _setting(None, "Monitors (TOML), read again on SIGHUP; none: the built-in ones", _path)
    receivers_file: Path | None = _setting(
        None, "Who is told of alerts (TOML), read again on SIGHUP; none: `up` delivers nothing", _path
    )
    data_dir: Path = _setting(Path(".thumbstream"), "Where `up` keeps brokers' and ClickHouse's data", Path)
    health_port: int = _setting(0, "Port of a worker's or sink's /healthz, /readyz and /metrics; 0: none", int)
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR", str.upper)
    kafka: Mapping[str, str] = field(default_factory=dict, metadata={"sentence": "Passed to the Kafka clients"})
    clickhouse: Mapping[str, str] = field(
        default_factory=dict, metadata={"sentence": "Passed to the ClickHouse client"}
    )
    tenant: Mapping[str, TenantRules] = field(
        default_factory=dict,
        metadata={
            "sentence": "A section `[tenant.NAME]` may set `requesty_scale = [lowest, highest]` for ratings of Requesty"
        },
    )

    @property
    def topics(self) -> Topics:
        """The topic table these settings describe."""
        return Topics(self.topic_prefix, self.event_partitions, self.minute_partitions)

    def describe(self) -> list[tuple[str, str]]:
        """(environment name, value) of every setting, secrets masked; printed at start."""
        return [(PREFIX + item.name.upper(), _shown(item, getattr(self, item.name))) for item in fields(self)]


def _shown(item: Field[Any], value: Any) -> str:
    if isinstance(value, Mapping):  # what is passed through to a client as text may be a secret
        return ", ".join(f"{key}=***" if isinstance(value[key], str) else key for key in sorted(value))
    return "***" if item.metadata.get("secret") and value else str(value if value is not None else "")


def load(environment: Mapping[str, str] | None = None, file: Path | None = None) -> Settings:
    """Settings from a TOML file and the environment. SettingsError names what is unknown or malformed."""
    environment = os.environ if environment is None else environment
    known = {item.name: item for item in fields(Settings)}
    chosen = file or Path(environment.get(PREFIX + "CONFIG", "thumbstream.toml"))
    values = _from_file(chosen, known, required=file is not None or PREFIX + "CONFIG" in environment)
    for name, text in environment.items():
        key = name.removeprefix(PREFIX).lower()
        if name.startswith(PREFIX) and key in known and known[key].default is not MISSING:
            values[key] = _parsed(known[key], text)
    return Settings(**values)


def _from_file(path: Path, known: Mapping[str, Field[Any]], *, required: bool) -> dict[str, Any]:
    if not required and not path.is_file():
        return {}
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as exception:
        raise SettingsError(f"{path}: {exception}") from exception
    sections = document.pop("tenant", {})
    for name, value in document.items():
        if name not in known:
            raise SettingsError(f"{path}: unknown setting {name}")
        if isinstance(value, dict):
            document[name] = {key: str(item) for key, item in value.items()}
        else:
            document[name] = _parsed(known[name], str(value))
    try:
        return {**document, "tenant": tenant_rules.read(sections)}
    except ValueError as problem:
        raise SettingsError(f"{path}: {problem}") from problem


def _parsed(item: Field[Any], text: str) -> Any:
    try:
        return item.metadata["parse"](text)
    except (KeyError, ValueError) as exception:
        raise SettingsError(f"{PREFIX}{item.name.upper()}: {text!r} is not a valid value: {exception}") from exception
