"""A producer that uses the wrong key: its event is refused with a letter, and a replay makes it count, once."""

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from schemas.codec import Codec
from schemas.events import FeedbackEvent
from tests.polling import wait_until
from tests.system.conftest import Running

pytestmark = [pytest.mark.system, pytest.mark.integration]
VOTES = "SELECT request_id, polarity FROM current_votes WHERE tenant_id = {tenant:String}"
HISTORY = "SELECT event_id FROM vote_history WHERE tenant_id = {tenant:String}"


def call(up: Running, *arguments: str) -> str:
    command = [
        sys.executable,
        "-m",
        "thumbstream",
        "dead-letters",
        *arguments,
        "--ready-file",
        str(up.directory / "ready.json"),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_misrouted_vote_counts_after_its_replay_and_counts_once(up: Running, unique: Callable[[str], str]) -> None:
    tenant = unique("letters")
    event = FeedbackEvent(tenant, "r1", "e1", "vote", rating=False)
    producer = Producer({"bootstrap.servers": up.ready["kafka_bootstrap"]})
    producer.produce(up.ready["topics"]["events"], Codec().encode(event), b"not the key")
    assert producer.flush(20) == 0

    def listed() -> list[str]:
        lines = call(up, "list", "--tenant", tenant, "--json").splitlines()
        return [json.loads(line)["letter_id"] for line in lines]

    (letter,) = wait_until(listed, 60, "the letter is listed")
    assert up.rows(VOTES, tenant=tenant) == []
    for options in (["--tenant", tenant, "--reason", "misrouted"], [letter]):  # the second time by name
        assert call(up, "replay", *options, "--yes") == f"{letter}: replayed\n"
    wait_until(lambda: up.rows(VOTES, tenant=tenant) == [("r1", -1)], 60, "the vote counts")
    assert up.rows(HISTORY, tenant=tenant) == [("e1",)]
    assert listed() == []
