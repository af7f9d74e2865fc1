"""Erasure without servers: the event, the dates, the gateway's DELETE, and the tenant a key stands for."""

import json
from pathlib import Path

import click
import pytest

from producers.keys import create_key
from producers.validation import parse_event
from schemas.topics import Topics, gone_after
from tests.unit.test_gateway import Gateway
from thumbstream.commands.erase import _tenant
from thumbstream.erasure import erase_event, report
from thumbstream.settings import Settings
from thumbstream.target import Target

NOON = 1_767_268_800_000  # 2026-01-01
TOPICS = Topics()


def test_the_event_has_its_own_id_and_time_so_that_a_retry_is_the_same_event() -> None:
    made = json.loads(erase_event('r"ü', "e1", NOON))
    event = parse_event(made, tenant_id="acme", source="", new_id=lambda: "not this", received_at=None)
    assert (event.request_id, event.kind, event.event_id, event.event_time) == ('r"ü', "erase", "e1", NOON)


def test_the_report_names_every_place_with_its_date() -> None:
    due = dict(report(TOPICS, NOON, purged=False))
    assert due == {
        "views, rates and alerts": "now",
        "ClickHouse's files": "2026-01-02T12:20:00.000+00:00",
        "topic feedback.latest": "2026-01-03T00:00:00.000+00:00",
        "topic feedback.minutes": "2026-01-10T12:00:00.000+00:00",
        "topic feedback.events": "2026-02-01T12:00:00.000+00:00",
        "topic feedback.dead-letters": "2026-02-01T12:00:00.000+00:00",
        "ClickHouse's dead letters": "2026-02-01T12:00:00.000+00:00",
    }
    assert dict(report(TOPICS, NOON, purged=True))["ClickHouse's files"] == "2026-01-01T12:20:00.000+00:00"


def test_the_dates_follow_from_the_settings_that_topics_are_made_with() -> None:
    for topic in (TOPICS.events, TOPICS.minutes, TOPICS.dead_letters):
        assert gone_after(topic) == int(topic.config["retention.ms"]) + int(topic.config["segment.ms"])
    latest = TOPICS.latest.config
    # a replaced row's segment must be closed and past the lag before the forced compaction falls due
    assert gone_after(TOPICS.latest) == int(latest["min.compaction.lag.ms"]) + int(latest["segment.ms"])
    with pytest.raises(KeyError):
        gone_after(TOPICS.alerts)


@pytest.fixture
def gateway(tmp_path: Path) -> Gateway:
    return Gateway(tmp_path)


def delete(gateway: Gateway, path: str, secret: str | None, body: bytes = b"") -> tuple[int, dict[str, object]]:
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    reply = gateway.send("DELETE", path, headers=headers, content=body)
    return reply.status_code, reply.json()


@pytest.mark.parametrize(
    ("path", "request_id"),
    [("/v1/requests/r1", "r1"), ("/v1/requests/r1/", "r1"), ("/v1/requests/a%2Fb%20%C3%BC", "a/b ü")],
)
@pytest.mark.parametrize("body", [b"", b"not json", b"{}"])
def test_delete_erases_the_request_in_the_path_whatever_its_body(
    gateway: Gateway, path: str, request_id: str, body: bytes
) -> None:
    status, reply = delete(gateway, path, gateway.admin, body)
    assert (status, reply["accepted"], reply["errors"]) == (200, 1, [])
    assert [(event.tenant_id, event.request_id, event.kind) for event in gateway.events] == [
        ("acme", request_id, "erase")
    ]
    assert reply["event_ids"] == [gateway.events[0].event_id]


def test_delete_needs_the_right_admin(gateway: Gateway) -> None:
    status, reply = delete(gateway, "/v1/requests/r1", gateway.secret)
    assert status == 403
    assert reply["errors"] == [
        {"index": 0, "field": "kind", "reason": "forbidden", "message": "this key does not have the right admin"}
    ]
    assert delete(gateway, "/v1/requests/r1", None)[0] == 401
    assert gateway.events == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("DELETE", "/v1/requests/", 404), ("DELETE", "/v1/requests/a/b", 404), ("GET", "/v1/requests/r1", 405)],
)
def test_only_delete_of_one_request_is_there(gateway: Gateway, method: str, path: str, status: int) -> None:
    reply = gateway.send(method, path, headers={"Authorization": f"Bearer {gateway.admin}"})
    assert (reply.status_code, gateway.events) == (status, [])
    assert reply.json()["errors"][0]["index"] is None


@pytest.mark.parametrize("request_id", ["a" * 257, "%00", "%ED%A0%80", "%FF"])
def test_a_path_that_names_no_request_is_refused_like_a_body(gateway: Gateway, request_id: str) -> None:
    status, reply = delete(gateway, f"/v1/requests/{request_id}", gateway.admin)
    assert (status, reply["accepted"], gateway.events) == (400, 0, [])


def test_the_tenant_is_the_keys_and_a_wrong_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    keys, ready = tmp_path / "keys.toml", tmp_path / "ready.json"
    secret = create_key(keys, "acme", ["admin"])
    ready.write_text(json.dumps({"api_key": "of-the-stack", "tenant_id": "local"}))
    of_file, of_stack, stranger = (Target("http://x", key) for key in (secret, "of-the-stack", "unknown"))
    settings = Settings(keys_file=keys)
    assert _tenant(settings, of_file, None, None) == "acme"
    assert _tenant(settings, of_file, ready, "acme") == "acme"
    assert _tenant(Settings(), of_stack, ready, None) == "local"
    assert _tenant(settings, stranger, ready, "other") == "other"
    for target, file, named in ((of_file, None, "other"), (of_stack, ready, "acme"), (stranger, ready, None)):
        with pytest.raises(click.UsageError, match="tenant"):
            _tenant(settings, target, file, named)
