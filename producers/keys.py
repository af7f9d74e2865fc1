"""API keys: a TOML file of SHA-256 digests, read again when it changes. Secrets are `ts_<key id>_<random>`."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from producers.grants import is_origin
from producers.secret_files import WatchedFile, locked, replace

RIGHTS = ("ingest", "query", "tokens", "admin")
_FIELDS = {"id", "sha256", "tenant", "rights", "origins"}
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")  # no underscore: it separates the parts of a secret
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOBODY = hashlib.sha256(b"nobody").digest()


class KeysError(ValueError):
    """A keys file that cannot be used; the message names the file, the line and the reason, never a secret."""


@dataclass(frozen=True, slots=True)
class Key:
    """Who a secret stands for and what it may do."""

    id: str
    tenant: str
    rights: frozenset[str]
    origins: tuple[str, ...]
    digest: bytes


class Keys:
    """The keys of one file. A change on disk counts within a second; a broken file changes nothing and is logged."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises KeysError when the file cannot be used at all."""
        self._file = WatchedFile(path, read, "keys", monotonic)

    def find(self, secret: str | None) -> Key | None:
        """The key of a secret, or None. Takes the same time whatever part of the secret is wrong."""
        parts = (secret or "").split("_", 2)
        key = self.get(parts[1]) if len(parts) == 3 and parts[0] == "ts" else None
        digest = hashlib.sha256((secret or "").encode("utf-8", "surrogatepass")).digest()
        return key if hmac.compare_digest(digest, key.digest if key else _NOBODY) else None

    def get(self, key_id: str) -> Key | None:
        """The key with this id, whoever asks."""
        return self._file.content().get(key_id)

    def lets_in(self, origin: str) -> bool:
        """Whether any key may be used by pages of this origin."""
        return any(origin in key.origins for key in self._file.content().values())


def read(path: Path) -> dict[str, Key]:
    """All keys of a file by id. Raises KeysError."""
    try:
        text = path.read_text("utf-8")
        entries = tomllib.loads(text)
    except (OSError, ValueError) as problem:
        raise KeysError(f"{path}: {problem}") from problem
    keys: dict[str, Key] = {}
    for place, entry in _entries(path, text, entries):
        key = _key(place, entry)
        if key.id in keys:
            raise KeysError(f"{place}: the id {key.id} is there twice")
        keys[key.id] = key
    return keys


def _entries(path: Path, text: str, document: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Every `[[key]]` with the place where it stands."""
    entries = document.get("key", [])
    if set(document) - {"key"} or not isinstance(entries, list):
        raise KeysError(f"{path}: only [[key]] sections belong here")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*key\s*\]\]", line)]
    for index, entry in enumerate(entries):
        yield f"{path}, line {lines[index] if index < len(lines) else '?'}", entry


def _key(place: str, entry: Any) -> Key:
    if not isinstance(entry, dict) or set(entry) - _FIELDS:
        raise KeysError(f"{place}: a key has only {', '.join(sorted(_FIELDS))}")
    for name in ("id", "sha256", "tenant"):
        if not isinstance(entry.get(name), str) or not entry[name] or _CONTROL.search(entry[name]):
            raise KeysError(f"{place}: {name} must be a text without control characters")
    if not _ID.fullmatch(entry["id"]):
        raise KeysError(f"{place}: id must be 1 to 64 letters, digits or -")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", entry["sha256"]):
        raise KeysError(f"{place}: sha256 must be 64 hexadecimal digits")
    rights, origins = _texts(place, entry, "rights"), _texts(place, entry, "origins")
    if not rights or not set(rights) <= set(RIGHTS):
        raise KeysError(f"{place}: rights must be some of {', '.join(RIGHTS)}")
    for origin in origins:
        if not is_origin(origin):
            raise KeysError(f"{place}: origins must be as browsers write them, as https://chat.example")
    return Key(entry["id"], entry["tenant"], frozenset(rights), origins, bytes.fromhex(entry["sha256"]))


def _texts(place: str, entry: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = entry.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise KeysError(f"{place}: {name} must be a list of texts")
    return tuple(value)


def create_key(
    path: Path, tenant: str, rights: Iterable[str], *, key_id: str | None = None, origins: Iterable[str] = ()
) -> str:
    """Add a key to the file (made if it is not there, mode 0600) and give its secret, which is stored nowhere.

    What the file holds already stays as it is, comments too. Raises KeysError when the file or the new key is unusable.
    """
    with locked(path):
        key_id = key_id or secrets.token_hex(6)
        secret = f"ts_{key_id}_{secrets.token_urlsafe(32)}"
        before = path.read_text("utf-8") if path.exists() else ""
        replace(path, before + ("\n" if before else "") + _section(key_id, secret, tenant, rights, origins), read)
    return secret


def _section(key_id: str, secret: str, tenant: str, rights: Iterable[str], origins: Iterable[str]) -> str:
    values = {
        "id": key_id,
        "sha256": hashlib.sha256(secret.encode()).hexdigest(),
        "tenant": tenant,
        "rights": list(rights),
        "origins": list(origins),
    }
    # a JSON string without control characters is a TOML string too
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    return "\n".join(["[[key]]", *lines, ""])
