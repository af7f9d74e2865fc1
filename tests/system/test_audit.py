"""`thumbstream audit` on the real product: whatever the other tests did to it, its books balance."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.system.conftest import Running

pytestmark = [pytest.mark.system, pytest.mark.integration]


def audit(up: Running, *options: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "thumbstream", "audit", "--json", "--ready-file", str(up.directory / "ready.json")]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=300)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


def test_the_books_of_the_product_balance(up: Running, unique: Callable[[str], str]) -> None:
    tenant = unique("audited")
    votes = [{"request_id": f"r{number % 40}", "rating": number % 3 == 0} for number in range(60)]
    last = [{"request_id": "r1", "kind": "retract"}, {"request_id": "r2", "kind": "erase"}]
    headers = {"Authorization": f"Bearer {up.key(tenant)}"}
    reply = httpx.post(up.ready["gateway_url"] + "/v1/events", json=[*votes, *last], headers=headers, timeout=30)
    assert reply.json()["accepted"] == 62
    metrics = up.directory / "audit.prom"
    code, document = audit(up, "--wait", "120", "--since", "1h", "--metrics", str(metrics))
    assert (code, document.get("differences")) == (0, []), document
    mine = [account for account in document["accounts"] if account["tenant"] == tenant]
    assert sum(account["accepted"] for account in mine) == 62
    assert sum(account["stored"] + account["erased"] for account in mine) == 62
    assert {
        "thumbstream_audit_balanced 1.0",
        f'thumbstream_audit_events{{entry="accepted",tenant="{tenant}"}} 62.0',
    } <= set(metrics.read_text().splitlines())
