"""Feedback ids that only the gateways can make: each carries a MAC, so that none needs to be looked up.

Their secrets lie in a file that all gateways share: 64 hexadecimal digits a line. The first line signs, all verify.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from producers.secret_files import WatchedFile, locked, replace
from schemas.feedback_ids import MAC_BITS, NONCE_BITS, packed, split
from schemas.topics import escape, murmur2, request_key

NAME = "feedback-ids.secrets"  # beside the keys file, unless a setting says otherwise
_SECRET = re.compile(r"[0-9a-fA-F]{64}")


class SecretsError(ValueError):
    """A file of secrets that cannot be used; the message names file, line and reason, never a secret."""


class FeedbackIds:
    """Issues and recognises feedback ids. `keys` gives the secrets at every call, the one that signs first."""

    def __init__(
        self,
        keys: Callable[[], Sequence[bytes]],
        *,
        nonce: Callable[[], int] = lambda: secrets.randbits(NONCE_BITS),
    ) -> None:
        self._keys, self._nonce = keys, nonce

    def issue(self, tenant_id: str, request_id: str) -> str:
        """A new id for a vote on this request."""
        key_hash, nonce = murmur2(request_key(tenant_id, request_id)), self._nonce()
        signed = packed(key_hash, nonce, 0)[:24]
        return packed(key_hash, nonce, int(_mac(self._keys()[0], tenant_id, signed), 16))

    def is_issued(self, tenant_id: str, feedback_id: str) -> bool:
        """Whether a gateway made this id for this tenant. Takes the same time whichever of its digits are wrong."""
        parts = split(feedback_id)
        if parts is None:
            return False
        signed, mac = parts
        equal = [hmac.compare_digest(mac, _mac(key, tenant_id, signed)) for key in self._keys()]
        return any(equal)


def _mac(key: bytes, tenant_id: str, signed: str) -> str:
    text = f"feedback id|{escape(tenant_id)}|{signed}".encode()
    return hmac.digest(key, text, "sha256").hex()[: MAC_BITS // 4]


def unshared_ids() -> FeedbackIds:
    """Ids that this process alone recognises, until it ends. For tests and trials."""
    keys = (secrets.token_bytes(32),)
    return FeedbackIds(lambda: keys)


class SecretsFile:
    """The secrets of one file, read again within a second when it changes; a broken change is logged and ignored."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Makes the file, with one new secret and mode 0600, where there is none. Raises SecretsError."""
        _make(path)
        self._file = WatchedFile(path, read, "feedback_ids", monotonic)

    def __call__(self) -> Sequence[bytes]:
        """All secrets, the one that signs first."""
        return self._file.content()


def read(path: Path) -> tuple[bytes, ...]:
    """The secrets of a file, in its order. Empty lines and those that begin with # are skipped."""
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, ValueError) as problem:
        raise SecretsError(f"{path}: {type(problem).__name__}: it cannot be read as text") from problem
    found = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text and not text.startswith("#"):
            if not _SECRET.fullmatch(text):
                raise SecretsError(f"{path}, line {number}: a secret must be 64 hexadecimal digits")
            found.append(bytes.fromhex(text))
    if not found:
        raise SecretsError(f"{path}: there is no secret in it")
    return tuple(found)


def _make(path: Path) -> None:
    """Put a new file in place unless there is one: of several gateways that start at once, one makes it for all."""
    if path.exists():
        return
    text = f"# Secrets of feedback ids. The first one signs, all verify.\n{secrets.token_hex(32)}\n"
    try:
        with locked(path):
            if not path.exists():
                replace(path, text, read)
    except OSError as problem:
        raise SecretsError(f"{path} is not there and cannot be made: {problem.strerror}") from problem
