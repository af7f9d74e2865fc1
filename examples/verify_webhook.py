"""Is a webhook from us? python examples/verify_webhook.py SECRET ID TIMESTAMP SIGNATURES < body; exit 0 if it is."""

import base64
import hashlib
import hmac
import sys
import time
from collections.abc import Mapping


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """True if the body's bytes were signed with `secret` less than five minutes from `now` (Unix time)."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    timestamp = headers["webhook-timestamp"]
    signed = f"{headers['webhook-id']}.{timestamp}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    fits = any(hmac.compare_digest(wanted, one) for one in headers["webhook-signature"].split())
    return fits and abs(now - int(timestamp)) < 300


if __name__ == "__main__":
    given = dict(zip(("webhook-id", "webhook-timestamp", "webhook-signature"), sys.argv[2:5], strict=True))
    sys.exit(not verify(sys.argv[1], given, sys.stdin.buffer.read(), time.time()))
