"""Who is told, and of what: `receivers.toml`, read and checked. Pure: environment and files come as arguments.

A secret stands in the file itself (`url`), or in an environment variable (`url_env`), or in a file (`url_file`).
"""

from __future__ import annotations

import base64
import binascii
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from sinks.delivery.addresses import is_address, is_public

KINDS = ("webhook", "slack", "alertmanager")
ALERT, NEGATIVE_VOTE, STALE = "alert", "negative_vote", "evaluation_stale"
EVENTS = (ALERT, NEGATIVE_VOTE, STALE)
SEVERITIES = ("info", "warning", "critical")
KEY_PREFIX = "whsec_"
LONGEST_GIVE_UP = 23 * 3600.0  # below the alerts topic's min.compaction.lag: what waits in the log is still all there
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_ANY = {"name", "kind", "events", "tenants", "monitors", "severity", "allow_private", "timeout", "give_up_after"}
_SECRETS = {"webhook": ("url", "secret", "authorization"), "slack": ("url",), "alertmanager": ("url", "authorization")}
_OWN = {"webhook": {"max_age"}, "slack": set[str](), "alertmanager": {"repost"}}


class ReceiversError(ValueError):
    """A receivers file that cannot be used; the message names receiver and field, never a secret."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """One receiver. `monitors` None: all monitors. Durations are seconds. What is secret is not in the repr."""

    name: str
    kind: str
    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(default=(), repr=False)
    authorization: str = field(default="", repr=False)
    events: frozenset[str] = frozenset({ALERT})
    tenants: frozenset[str] = frozenset()
    monitors: frozenset[str] | None = None
    severity: str = SEVERITIES[0]
    allow_private: bool = False
    timeout: float = 10.0
    give_up_after: float = 12 * 3600.0
    repost: float = 60.0
    max_age: float = 86_400.0

    @property
    def host(self) -> str:
        """The part of the address that may be told."""
        return urlsplit(self.url).hostname or ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be repeated, should an answer contain it: the longest first."""
        parts = urlsplit(self.url)
        found = {self.url, parts.path, parts.query, self.authorization, *self.authorization.split()[1:]}
        return tuple(sorted((text for text in found if len(text) > 3), key=len, reverse=True))


@dataclass(frozen=True, slots=True)
class Receivers:
    """The whole file. `stale_after`: seconds without evaluation after which it is called stale."""

    receivers: tuple[Receiver, ...]
    stale_after: float = 300.0

    def __getitem__(self, name: str) -> Receiver:
        for receiver in self.receivers:
            if receiver.name == name:
                return receiver
        known = ", ".join(receiver.name for receiver in self.receivers) or "none"
        raise ReceiversError(f"no receiver {name}: the file has {known}")


def parse(text: str, environment: Mapping[str, str], read: Callable[[str], str]) -> Receivers:
    """The receivers of a file's text. `read` gives a secret file's content, or raises OSError.

    Raises ReceiversError.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ReceiversError(f"no TOML: {error}") from error
    if unknown := document.keys() - {"receiver", "stale_after"}:
        raise ReceiversError(f"unknown name {min(unknown)}: there are [[receiver]] and stale_after")
    sections = document.get("receiver", [])
    if not isinstance(sections, list) or not all(isinstance(section, dict) for section in sections):
        raise ReceiversError("receivers are written as [[receiver]]")
    made = tuple(_Section(number, section, environment, read).receiver() for number, section in enumerate(sections, 1))
    if twice := _twice([receiver.name for receiver in made]):
        raise ReceiversError(f"receiver {twice}: there are two of this name")
    return Receivers(made, _duration("the file", "stale_after", document.get("stale_after", "5m"), 60, 86_400))


def routed(receivers: Receivers, routes: Mapping[str, Collection[str]]) -> Receivers:
    """With the monitors that name a receiver (receiver -> monitors) for the receivers that name none themselves.

    A receiver that neither names monitors nor is named by one gets the alerts of all. ReceiversError for a name that
    is no receiver's.
    """
    for name in routes:
        receivers[name]
    chosen = (
        replace(one, monitors=frozenset(routes[one.name])) if one.monitors is None and one.name in routes else one
        for one in receivers.receivers
    )
    return replace(receivers, receivers=tuple(chosen))


class _Section:
    """One [[receiver]] on its way to a Receiver."""

    def __init__(
        self, number: int, given: dict[str, Any], environment: Mapping[str, str], read: Callable[[str], str]
    ) -> None:
        self._given, self._environment, self._read = given, environment, read
        name = given.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ReceiversError(f"receiver {number}: name must be 1 to 64 letters, digits, - or _")
        self._name, self._who = name, f"receiver {name}"
        if (kind := given.get("kind")) not in KINDS:
            raise ReceiversError(f"{self._who}: kind must be one of {', '.join(KINDS)}")
        self._kind = str(kind)

    def receiver(self) -> Receiver:
        self._refuse_unknown()
        private = self._flag("allow_private")
        made = Receiver(
            self._name,
            self._kind,
            self._url(private=private),
            self._keys(),
            self._secret("authorization"),
            self._events(),
            frozenset(self._names("tenants") or ()),
            self._names("monitors"),
            self._severity(),
            private,
        )
        return replace(
            made,
            timeout=self._seconds("timeout", made.timeout, 1, 60),
            give_up_after=self._seconds("give_up_after", made.give_up_after, 1, LONGEST_GIVE_UP),
            repost=self._seconds("repost", made.repost, 1, 3600),
            max_age=self._seconds("max_age", made.max_age, 60, 30 * 86_400),
        )

    def _refuse_unknown(self) -> None:
        secrets = {name + suffix for name in _SECRETS[self._kind] for suffix in ("", "_env", "_file")}
        if unknown := self._given.keys() - _ANY - _OWN[self._kind] - secrets:
            raise ReceiversError(f"{self._who}: unknown field {min(unknown)} for kind {self._kind}")

    def _secret(self, name: str) -> str:
        """A text that stands in the file, in the environment, or in a file of its own; empty when it is not given."""
        given = [key for key in (name, f"{name}_env", f"{name}_file") if key in self._given]
        if len(given) > 1:
            raise ReceiversError(f"{self._who}: give {given[0]} or {given[1]}, not both")
        if not given:
            return ""
        value = self._given[given[0]]
        if not isinstance(value, str) or not value:
            raise ReceiversError(f"{self._who}: {given[0]} must be a text")
        text = value if given[0] == name else self._fetched(given[0], value)
        if not (text := text.strip()).isprintable() or not text.isascii():
            raise ReceiversError(f"{self._who}: {name} must be printable ASCII")
        return text

    def _fetched(self, field_name: str, where: str) -> str:
        if field_name.endswith("_file"):
            try:
                return self._read(where)
            except (OSError, ValueError) as error:
                raise ReceiversError(f"{self._who}: {field_name}: cannot read {where}") from error
        if not self._environment.get(where):
            raise ReceiversError(f"{self._who}: {field_name}: the environment has no {where}")
        return self._environment[where]

    def _url(self, *, private: bool) -> str:
        url = self._secret("url")
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise ReceiversError(f"{self._who}: url must be given, as https://host/path")
        if parts.username is not None or parts.fragment:
            raise ReceiversError(f"{self._who}: url must hold no login and no fragment; see authorization")
        if parts.scheme == "http" and not private:
            raise ReceiversError(f"{self._who}: url must be https; http needs allow_private = true")
        if not private and _is_private(parts.hostname or ""):
            raise ReceiversError(f"{self._who}: url leads to an address that is not public; see allow_private")
        return url

    def _keys(self) -> tuple[bytes, ...]:
        """The signing keys, the newest first; several, apart by spaces, while one replaces another."""
        if self._kind != "webhook":
            return ()
        keys = tuple(map(self._key, self._secret("secret").split()))
        if not keys:
            raise ReceiversError(f"{self._who}: a webhook needs a secret (or secret_env, secret_file) to sign with")
        return keys

    def _key(self, text: str) -> bytes:
        try:
            key = base64.b64decode(text.removeprefix(KEY_PREFIX), validate=True)
        except binascii.Error:
            key = b""
        if not text.startswith(KEY_PREFIX) or not 24 <= len(key) <= 64:
            raise ReceiversError(f"{self._who}: secret must be {KEY_PREFIX} and base64 of 24 to 64 bytes")
        return key

    def _names(self, name: str) -> frozenset[str] | None:
        given = self._given.get(name)
        if given is None:
            return None
        if not isinstance(given, list) or not all(isinstance(item, str) and item for item in given):
            raise ReceiversError(f"{self._who}: {name} must be a list of names")
        return frozenset(given)

    def _events(self) -> frozenset[str]:
        events = self._names("events")
        if events is None:
            return frozenset({ALERT})
        if not events or events - set(EVENTS):
            raise ReceiversError(f"{self._who}: events must be some of {', '.join(EVENTS)}")
        if NEGATIVE_VOTE in events and self._kind != "webhook":
            raise ReceiversError(f"{self._who}: events: only a webhook can be told of single votes")
        return events

    def _severity(self) -> str:
        severity = self._given.get("severity", SEVERITIES[0])
        if severity not in SEVERITIES:
            raise ReceiversError(f"{self._who}: severity must be one of {', '.join(SEVERITIES)}")
        return str(severity)

    def _flag(self, name: str) -> bool:
        flag = self._given.get(name, False)
        if not isinstance(flag, bool):
            raise ReceiversError(f"{self._who}: {name} must be true or false")
        return flag

    def _seconds(self, name: str, default: float, least: float, most: float) -> float:
        return _duration(self._who, name, self._given[name], least, most) if name in self._given else default


def _duration(who: str, name: str, given: object, least: float, most: float) -> float:
    found = _DURATION.fullmatch(given) if isinstance(given, str) else None
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if found is None or not least <= seconds <= most:
        raise ReceiversError(f"{who}: {name} must be a time from {least:g} s to {most:g} s, as 30s, 5m, 12h or 1d")
    return float(seconds)


def _is_private(host: str) -> bool:
    """What can be seen without asking anybody; names are judged when they are connected to."""
    return host == "localhost" or (is_address(host) and not is_public(host))


def _twice(names: list[str]) -> str | None:
    return next((name for number, name in enumerate(names) if name in names[:number]), None)
