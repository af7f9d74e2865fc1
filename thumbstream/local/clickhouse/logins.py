"""Who may connect: names, password hashes and kinds, read once from a JSON file outside the data directory."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path

from thumbstream.local.clickhouse.errors import ClickHouseError

ADMIN, ANALYST = "admin", "analyst"


@dataclass(frozen=True, slots=True)
class Login:
    """One name that may connect; `kind` is "admin" or "analyst"."""

    name: str
    password_sha256: str
    kind: str

    @property
    def is_admin(self) -> bool:
        """True for a login that may change things."""
        return self.kind == ADMIN

    @property
    def role(self) -> str:
        """The role in the engine that carries this login's grants."""
        return f"r_{self.kind}"


class Logins:
    """The logins of `{"admin": {"password_sha256": "<hex>", "kind": "admin"}, ...}`."""

    def __init__(self, path: Path) -> None:
        """Raises `SystemExit` with a sentence when the file cannot be used."""
        try:
            entries = json.loads(path.read_text())
            self._logins = {
                name: Login(name, entry["password_sha256"], entry["kind"]) for name, entry in entries.items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SystemExit(f"cannot read the logins in {path}: {error!r}") from error
        for login in self._logins.values():
            if login.kind not in {ADMIN, ANALYST}:
                raise SystemExit(f"{path}: the kind of {login.name} is {login.kind!r}, not {ADMIN!r} or {ANALYST!r}")

    def authenticate(self, name: str, password: str) -> Login:
        """Give the login, or raise `ClickHouseError` 516 in the same time and words for every wrong pair."""
        login = self._logins.get(name)
        digest = hashlib.sha256(password.encode("utf-8", "surrogateescape")).hexdigest()
        if not hmac.compare_digest(digest, login.password_sha256 if login else "0" * 64) or login is None:
            message = f"{name}: Authentication failed: password is incorrect, or there is no user with such name."
            raise ClickHouseError(516, "AUTHENTICATION_FAILED", message)
        return login
