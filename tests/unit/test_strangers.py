"""Bodies that carry their token: who sends them is not known before they are read, so they may cost little."""

import asyncio
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from producers.keys import create_key
from producers.limits import Rate
from tests.fixtures.site import Site

VOTE = b'{"request_id": "r", "rating": true}'


async def post(site: Site, path: str, *headers: tuple[bytes, bytes], body: bytes | None, address: str) -> int:
    """The status of one request; without a body, of one whose body never ends."""
    said: list[Any] = []
    first = {"type": "http.request", "body": body or b"{", "more_body": body is None}
    inbox = iter([first])

    async def receive() -> dict[str, Any]:
        message = next(inbox, None)
        return await asyncio.Future() if message is None else message

    async def send(message: Any) -> None:
        said.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": list(headers), "client": (address, 1), "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    await site.app(scope, receive, send)
    status: int = said[0]["status"]
    return status


async def crowd(site: Site, size: int, addresses: int, *tokens: str) -> tuple[list[int], int]:
    """What strangers with endless bodies get, and a server's vote in the midst of them; tokens stand in headers."""
    says = [((b"authorization", f"Bearer {token}".encode()),) for token in tokens] or [()]
    slow = [
        asyncio.create_task(
            post(site, "/v1/token-feedback", *given, body=None, address=f"192.0.2.{number % addresses}")
        )
        for number, given in zip(range(size), cycle(says), strict=False)
    ]
    await asyncio.sleep(0)  # they are all there now
    key = (b"authorization", f"Bearer {site.reader}".encode())
    status = await post(site, "/v1/events", key, body=VOTE, address="192.0.2.0")
    return await asyncio.gather(*slow), status


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.gateway._STRANGER_SECONDS", 0.5)


@pytest.mark.usefixtures("brief")
def test_strangers_fill_only_their_own_part_of_memory(tmp_path: Path) -> None:
    site = Site(tmp_path)
    statuses, vote = asyncio.run(crowd(site, 300, 100))
    assert set(statuses) == {408, 503}
    assert statuses.count(408) == (4 << 20) // ((16 << 10) + 1) - 3  # who holds two leaves the room of three
    assert vote == 200
    assert asyncio.run(crowd(site, 1, 1)) == ([408], 200), "what they held came back"


@pytest.mark.usefixtures("brief")
def test_tokens_in_headers_fill_no_more(tmp_path: Path) -> None:
    site = Site(tmp_path)
    tokens = [site.token(request_id=f"r{number}") for number in range(5)]
    statuses, vote = asyncio.run(crowd(site, 600, 100, *tokens))
    assert statuses.count(408) == (4 << 20) // ((16 << 10) + 1) - 3  # who holds two leaves the room of three
    assert vote == 200


@pytest.mark.usefixtures("brief")
def test_one_address_leaves_room_for_another(tmp_path: Path) -> None:
    site = Site(tmp_path)
    token = site.token()

    async def scenario() -> None:
        slow = [
            asyncio.create_task(post(site, "/v1/token-feedback", body=None, address="192.0.2.1")) for _ in range(300)
        ]
        await asyncio.sleep(0)
        header = (b"authorization", f"Bearer {token}".encode())
        assert await post(site, "/v1/token-feedback", header, body=b'{"rating": true}', address="192.0.2.2") == 200
        assert set(await asyncio.gather(*slow)) == {408, 503}

    asyncio.run(scenario())


@pytest.mark.parametrize("floods", [1, 3])
def test_the_slow_bodies_of_some_tenants_leave_room_for_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floods: int
) -> None:
    loud = [create_key(tmp_path / "keys.toml", f"loud-{number}", ["ingest"]) for number in range(floods)]
    site = Site(tmp_path)
    monkeypatch.setattr(site.app, "_body_seconds", 1.0)

    async def scenario() -> None:
        slow = [
            asyncio.create_task(
                post(site, "/v1/events", (b"authorization", f"Bearer {key}".encode()), body=None, address="192.0.2.1")
            )
            for key in loud
            for _ in range(600)
        ]
        await asyncio.sleep(0)
        mine = (b"authorization", f"Bearer {site.reader}".encode())
        batch = b"[" + b",".join([VOTE] * 1_000) + b"]"
        assert await post(site, "/v1/events", mine, body=batch, address="192.0.2.1") == 200
        assert set(await asyncio.gather(*slow)) == {408, 503}
        assert await post(site, "/v1/events", mine, body=batch, address="192.0.2.1") == 200

    asyncio.run(scenario())


@pytest.mark.usefixtures("brief")
def test_one_address_cannot_fill_even_that(tmp_path: Path) -> None:
    statuses, vote = asyncio.run(crowd(Site(tmp_path, per_address=Rate(5, 100)), 300, 1))
    assert (statuses.count(408), statuses.count(429)) == (100, 200)
    assert vote == 200
