"""Token keys: a TOML file of signing secrets. The newest one signs, all of them verify until they are removed."""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
import time
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from producers.secret_files import WatchedFile, locked, replace

SECRET_BYTES = 32  # as long as the hash of HS256: a shorter one would be the weakest part
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_HEAD = """# Secrets that feedback tokens are signed with: the last one signs, all of them verify.
# `thumbstream keys rotate-tokens` adds one; a section that is removed ends every token it signed.
"""


class TokenKeysError(ValueError):
    """A file that cannot be used; the message names the file, the section and the reason, never a secret."""


class TokenKey(NamedTuple):
    """One signing secret and the id that tokens name it by."""

    id: str
    secret: bytes

    def __repr__(self) -> str:
        """Without the secret, so that no log can hold it."""
        return f"TokenKey({self.id!r})"


class TokenKeys:
    """The token keys of one file. A change on disk counts within a second, a new key's id at once."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises TokenKeysError when the file cannot be used at all."""
        self._file = WatchedFile(path, read, "token_keys", monotonic)

    def newest(self) -> TokenKey:
        """The key that signs."""
        return self._file.content()[-1]

    def get(self, key_id: str) -> TokenKey | None:
        """The key with this id. One that is not known yet may just have been added by somebody else: look again."""
        return _find(self._file.content(), key_id) or _find(self._file.content(at_once=True), key_id)


def _find(keys: list[TokenKey], key_id: str) -> TokenKey | None:
    return next((key for key in keys if key.id == key_id), None)


def read(path: Path) -> list[TokenKey]:
    """All keys of a file, the oldest first; never none. Raises TokenKeysError."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:  # of a syntax error only the place is told, by the library
        raise TokenKeysError(f"{path}: {problem}") from None
    entries = document.get("token_key", [])
    if set(document) - {"token_key"} or not isinstance(entries, list):
        raise TokenKeysError(f"{path}: only [[token_key]] sections belong here")
    keys = [_key(f"{path}, section {number}", entry) for number, entry in enumerate(entries, 1)]
    if not keys:
        raise TokenKeysError(f"{path}: there is no [[token_key]] (make one with `thumbstream keys rotate-tokens`)")
    if len({key.id for key in keys}) < len(keys):
        raise TokenKeysError(f"{path}: an id is there twice")
    return keys


def _key(place: str, entry: Any) -> TokenKey:
    if not isinstance(entry, dict) or set(entry) - {"id", "secret", "created"}:
        raise TokenKeysError(f"{place}: a token key has only id, secret, created")
    key_id, text = entry.get("id"), entry.get("secret")
    if not isinstance(key_id, str) or not _ID.fullmatch(key_id):
        raise TokenKeysError(f"{place}: id must be 1 to 64 letters, digits or -")
    try:
        secret = base64.b64decode(text if isinstance(text, str) else "", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) < SECRET_BYTES:
        raise TokenKeysError(f"{place}: secret must be the base64url text of at least {SECRET_BYTES} bytes")
    return TokenKey(key_id, secret)


def rotate(path: Path, now: datetime, *, keep: int | None = None) -> tuple[str, list[str]]:
    """Add a key, which signs from now on, and give (its id, the ids that were removed). Makes the file, mode 0600.

    All older keys go on verifying; with `keep` only the newest `keep` of all do. Raises TokenKeysError.
    """
    with locked(path):
        before = read(path) if path.exists() else []
        made = TokenKey(f"{now:%Y%m%d}-{secrets.token_hex(4)}", secrets.token_bytes(SECRET_BYTES))
        if keep is None:
            text = path.read_text("utf-8") if before else _HEAD
            replace(path, f"{text}\n{_section(made, now)}", read)
            return made.id, []
        kept = [*before, made][-keep:]
        replace(path, "\n".join([_HEAD, *(_section(key, now if key is made else None) for key in kept)]), read)
        return made.id, [key.id for key in before if key not in kept]


def _section(key: TokenKey, created: datetime | None) -> str:
    lines = ["[[token_key]]", f"id = {json.dumps(key.id)}"]
    lines += [f"created = {created:%Y-%m-%dT%H:%M:%SZ}"] if created else []
    return "\n".join([*lines, f'secret = "{base64.urlsafe_b64encode(key.secret).decode()}"', ""])


def create_if_missing(path: Path, now: datetime) -> None:
    """The file with a first key, unless it is there."""
    if not path.exists():
        rotate(path, now)
