"""`load` and `send` against a gateway that is played: what is sent, what is retried, what is said, how it ends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from schemas.constraints import MAX_EVENT_BYTES
from thumbstream import posting
from thumbstream.cli import main

TO = ("--url", "http://gateway.test/", "--api-key", "secret")
Answer = Callable[[list[dict[str, Any]]], httpx.Response]


class Gateway:
    """Answers with the next of `answers`, then as a gateway that refuses ratings which are no booleans."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception] = []
        self.bodies: list[list[dict[str, Any]]] = []
        self.keys: set[str] = set()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url == "http://gateway.test/v1/events"
        self.keys.add(request.headers["Authorization"])
        assert len(request.content) <= 1 << 20
        self.bodies.append(json.loads(request.content))
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        return reply(self.bodies[-1])

    @property
    def events(self) -> list[dict[str, Any]]:
        """All that arrived, in any order."""
        return [event for body in self.bodies for event in body]


def reply(events: list[dict[str, Any]]) -> httpx.Response:
    errors = [
        {"index": index, "field": "rating", "reason": "wrong_type", "message": "rating must be true or false"}
        for index, event in enumerate(events)
        if not isinstance(event.get("rating", True), bool)
    ]
    status = 200 if not errors else 207 if len(errors) < len(events) else 400
    return httpx.Response(status, json={"accepted": len(events) - len(errors), "event_ids": [], "errors": errors})


def refusal(status: int, reason: str) -> httpx.Response:
    error = {"index": None, "field": None, "reason": reason, "message": "no"}
    return httpx.Response(status, json={"accepted": 0, "rejected": 0, "event_ids": [], "errors": [error]})


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Gateway:
    played, real = Gateway(), httpx.Client

    def client(**options: Any) -> httpx.Client:
        return real(**options, transport=httpx.MockTransport(played))

    monkeypatch.setattr(httpx, "Client", client)
    monkeypatch.setattr(posting, "_LONGEST_WAIT", 0.0)
    return played


def load(tmp_path: Path, content: str, *options: str, name: str = "votes.jsonl") -> Result:
    (tmp_path / name).write_text(content)
    return CliRunner().invoke(main, ["load", str(tmp_path / name), *TO, *options])


def lines(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


VOTES = [{"request_id": f"r{number}", "event_time": 1_780_000_000_000 + number, "rating": True} for number in range(25)]


def test_everything_accepted_is_exit_0_and_a_summary(tmp_path: Path, gateway: Gateway) -> None:
    answer = load(tmp_path, lines(*VOTES))
    assert (answer.exit_code, gateway.keys) == (0, {"Bearer secret"})
    assert answer.stdout.startswith("25 accepted, 0 refused in ")
    assert [event["request_id"] for event in gateway.events] == [vote["request_id"] for vote in VOTES]


def test_loading_twice_sends_the_very_same_events(tmp_path: Path, gateway: Gateway) -> None:
    load(tmp_path, lines(*VOTES))
    first, gateway.bodies = gateway.events, []
    load(tmp_path, lines(*VOTES))
    assert gateway.events == first


def test_batches_hold_as_many_events_as_they_may(tmp_path: Path, gateway: Gateway) -> None:
    assert load(tmp_path, lines(*VOTES), "--batch", "10").exit_code == 0
    assert sorted(len(body) for body in gateway.bodies) == [5, 10, 10]


def test_batches_stay_below_the_gateways_largest_body(tmp_path: Path, gateway: Gateway) -> None:
    large = [vote | {"comment": "x" * 200_000} for vote in VOTES]
    assert load(tmp_path, lines(*large)).exit_code == 0
    assert len(gateway.events) == 25
    assert len(gateway.bodies) == 7


def test_what_is_refused_is_counted_by_reason_written_down_and_exit_1(tmp_path: Path, gateway: Gateway) -> None:
    bad = VOTES[0] | {"rating": "awful"}
    content = lines(VOTES[1], bad, VOTES[2]) + "no json\n" + lines(VOTES[3])
    answer = load(tmp_path, content, "--rejects", str(tmp_path / "rejects.jsonl"))
    assert answer.exit_code == 1
    assert answer.stdout.startswith("3 accepted, 2 refused in ")
    assert "  1 malformed_json\n  1 wrong_type\n" in answer.stderr
    written = sorted(map(json.loads, (tmp_path / "rejects.jsonl").read_text().splitlines()), key=lambda r: r["record"])
    assert [record["record"] for record in written] == [2, 4]
    assert written[0]["event"]["rating"] == "awful"
    assert written[0]["error"]["reason"] == "wrong_type"
    assert written[1]["error"].startswith("malformed_json: ")
    assert len(gateway.events) == 4


def test_an_event_that_is_too_large_does_not_take_its_batch_with_it(tmp_path: Path, gateway: Gateway) -> None:
    huge = VOTES[0] | {"comment": "x" * MAX_EVENT_BYTES}
    answer = load(tmp_path, lines(huge, VOTES[1]))
    assert answer.exit_code == 1
    assert answer.stdout.startswith("1 accepted, 1 refused")
    assert "1 too_long" in answer.stderr


def test_numbers_that_are_no_json_are_refused_here(tmp_path: Path, gateway: Gateway) -> None:
    answer = load(tmp_path, '{"request_id": "r1", "value": NaN}\n' + lines(VOTES[1]))
    assert answer.stdout.startswith("1 accepted, 1 refused")


@pytest.mark.parametrize(
    "trouble",
    [refusal(503, "unavailable"), refusal(429, "rate_limited"), httpx.Response(502), httpx.ReadError("gone")],
)
def test_an_outage_is_waited_out_with_the_same_events(
    tmp_path: Path, gateway: Gateway, trouble: httpx.Response | Exception
) -> None:
    gateway.answers = [trouble, trouble]
    assert load(tmp_path, lines(VOTES[0])).stdout.startswith("1 accepted, 0 refused")
    assert len(gateway.bodies) == 3
    assert gateway.bodies[0] == gateway.bodies[1] == gateway.bodies[2]


def test_a_gateway_that_stays_away_ends_with_a_sentence(
    tmp_path: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "_PATIENCE", -1.0)
    gateway.answers = [httpx.ConnectError("refused")]
    answer = load(tmp_path, lines(VOTES[0]))
    assert answer.exit_code == 1
    assert "load the file again, that is harmless" in answer.stderr


@pytest.mark.parametrize(
    "answer", [refusal(401, "unauthorized"), refusal(403, "forbidden"), refusal(400, "malformed_json")]
)
def test_a_sender_who_is_refused_stops_at_once(tmp_path: Path, gateway: Gateway, answer: httpx.Response) -> None:
    gateway.answers = [answer]
    done = load(tmp_path, lines(VOTES[0]))
    assert done.exit_code == 1
    assert "http://gateway.test/v1/events" in done.stderr
    assert len(gateway.bodies) == 1


def test_csv_options_reach_the_events(tmp_path: Path, gateway: Gateway) -> None:
    options = ("--map", "request_id=id", "--map", "metadata.model=bot", "--set", "metadata.app=web", "--now")
    content = "id,bot,rating,event_time,extra\na,m,up,1780000000000,x\n"
    assert load(tmp_path, content, *options, "--rest-as-metadata", name="votes.csv").exit_code == 0
    [event] = gateway.events
    assert (event["request_id"], event["rating"]) == ("a", True)
    assert event["metadata"] == {"model": "m", "app": "web", "extra": "x"}
    assert event["event_time"] > 1_780_000_000_000


def test_standard_input_needs_a_format_and_is_read(gateway: Gateway) -> None:
    arguments = ["load", "-", *TO]
    assert CliRunner().invoke(main, arguments, input=lines(VOTES[0])).exit_code == 2
    assert CliRunner().invoke(main, [*arguments, "--format", "jsonl"], input=lines(VOTES[0])).exit_code == 0
    assert len(gateway.events) == 1


def test_the_ready_file_tells_address_and_key(tmp_path: Path, gateway: Gateway) -> None:
    ready = tmp_path / "ready.json"
    ready.write_text(json.dumps({"gateway_url": "http://gateway.test", "api_key": "of the file"}))
    (tmp_path / "votes.jsonl").write_text(lines(VOTES[0]))
    done = CliRunner().invoke(main, ["load", str(tmp_path / "votes.jsonl"), "--ready-file", str(ready)])
    assert (done.exit_code, gateway.keys) == (0, {"Bearer of the file"})


@pytest.mark.parametrize(("status", "code"), [(200, 0), (400, 1), (503, 1)])
def test_send_prints_the_reply_and_a_refusal_is_exit_1(monkeypatch: pytest.MonkeyPatch, status: int, code: int) -> None:
    sent: list[dict[str, Any]] = []

    def post(url: str, *, json: dict[str, Any], headers: dict[str, str], timeout: float) -> httpx.Response:
        assert (url, headers) == ("http://gateway.test/v1/events", {"Authorization": "Bearer secret"})
        sent.append(json)
        return httpx.Response(status, text='{"accepted": 1}')

    monkeypatch.setattr(httpx, "post", post)
    options = ["--request-id", "r1", "--rating", "down", "--metadata", "model=a=b", "--user-id", "u"]
    answer = CliRunner().invoke(main, ["send", *options, *TO])
    assert (answer.exit_code, answer.stdout) == (code, '{"accepted": 1}\n')
    [event] = sent
    assert (event["request_id"], event["rating"], event["user_id"]) == ("r1", False, "u")
    assert event["metadata"] == {"model": "a=b"}
    if code:
        assert f"refused with status {status}" in answer.stderr
