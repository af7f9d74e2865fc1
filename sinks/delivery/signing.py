"""Signatures of webhooks as Standard Webhooks 1.0 has them: HMAC-SHA256 over id, time and the body's bytes. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable


def sign(key: bytes, webhook_id: str, seconds: int, body: bytes) -> str:
    """One signature, `v1,` and base64. `webhook_id` holds no dot, which separates the parts; `seconds` is Unix time."""
    content = b".".join((webhook_id.encode(), str(seconds).encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def signed_headers(keys: Iterable[bytes], webhook_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The three headers; one signature per key, so that receivers may hold either while keys are exchanged."""
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": " ".join(sign(key, webhook_id, seconds, body) for key in keys),
    }
