"""`thumbstream gateway` composes what the settings file says."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from producers.keys import create_key
from producers.publisher import MemoryPublisher
from schemas.codec import Codec
from schemas.events import FeedbackEvent
from thumbstream.commands import gateway
from thumbstream.settings import load


def test_a_tenants_scale_makes_requestys_ratings_votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher, served = MemoryPublisher(), []
    monkeypatch.setattr(gateway, "KafkaPublisher", lambda *_, **__: publisher)
    monkeypatch.setattr(gateway, "serve", lambda app, host, port: served.append(app))
    keys = {tenant: create_key(tmp_path / "keys.toml", tenant, ["ingest"]) for tenant in ("acme", "other")}
    file = tmp_path / "thumbstream.toml"
    file.write_text(
        f'clickhouse_url = ""\nkeys_file = "{tmp_path}/keys.toml"\n[tenant.acme]\nrequesty_scale = [1, 5]\n'
    )
    gateway.run(load({}, file))

    async def rate(app: Any) -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            for key in keys.values():
                headers = {"Authorization": f"Bearer {key}"}
                reply = await client.post("/feedback/r", json={"data": {"rating": 2}}, headers=headers)
                assert reply.status_code == 200

    asyncio.run(rate(served[0]))
    events = [Codec().decode_as(FeedbackEvent, value) for _, value in publisher.messages]
    assert {event.tenant_id: event.polarity for event in events} == {"acme": -1, "other": None}
