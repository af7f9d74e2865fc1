"""Posting: what connects to where, what an answer means, and what is never told. The receiver is a small server."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sinks.delivery.addresses import is_public
from sinks.delivery.post import Poster
from sinks.delivery.receivers import Receiver
from sinks.delivery.replies import Answer, Verdict
from sinks.delivery.requests import request
from tests.simulators.delivery import KEY, NOON, alert

Reply = tuple[int, dict[str, str], bytes]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply: Reply = (200, {}, b"ok")
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    def handle_error(self, *_: object) -> None:
        """Silent: an answer that is longer than anybody reads breaks off."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        status, headers, content = self.server.reply
        self.send_response(status)
        for name, value in {"content-length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def to(host: str, port: int, **changed: object) -> Receiver:
    fields = {"allow_private": True, "timeout": 2.0, **changed}
    return Receiver("ops", "webhook", f"http://{host}:{port}/hook/s3cr3t?token=t0k3n", (KEY,), **fields)  # type: ignore[arg-type]  # each test names its own


def post(receiver: Receiver, **options: Callable[[str, int], list[str]]) -> Answer:
    poster = Poster(receiver, **options)
    try:
        return poster.post(request(receiver, alert(), NOON))
    finally:
        poster.close()


def test_an_alert_arrives_as_it_was_signed(server: _Server) -> None:
    assert post(to("127.0.0.1", server.server_port)).verdict is Verdict.DELIVERED
    ((path, headers, body),) = server.seen
    assert path == "/hook/s3cr3t?token=t0k3n"
    assert headers["webhook-id"] == alert().alert_id
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["data"]["alert_id"] == alert().alert_id


@pytest.mark.parametrize(
    ("host", "resolved"),
    [
        ("127.0.0.1", None),
        ("localhost", None),
        ("2130706433", None),
        ("hooks.example.com", ["127.0.0.1"]),
        ("hooks.example.com", ["93.184.216.34", "10.0.0.7"]),
        ("hooks.example.com", ["169.254.169.254"]),
        ("hooks.example.com", ["::1"]),
    ],
)
def test_a_private_target_is_refused_before_anything_is_sent(
    server: _Server, host: str, resolved: list[str] | None
) -> None:
    options = {} if resolved is None else {"resolve": lambda _host, _port: resolved}
    answer = post(to(host, server.server_port, allow_private=False), **options)
    assert (answer.verdict, answer.reason, answer.status) == (Verdict.REFUSED, "private_address", None)
    assert f"{host} is not a public address" in answer.text
    assert server.seen == []


def test_a_name_that_turns_private_after_it_was_judged_gains_nothing(server: _Server) -> None:
    """The address that was judged is the one that is connected to: the name is asked once per connection."""
    asked = []

    def rebinding(host: str, _: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) == 1 else ["127.0.0.1"]

    connected = []
    real = socket.create_connection

    def refusing(address: tuple[str, int], *rest: object, **options: object) -> socket.socket:
        connected.append(address[0])
        raise ConnectionRefusedError

    socket.create_connection = refusing  # type: ignore[assignment]  # put back below
    try:
        first = post(to("hooks.example.com", server.server_port, allow_private=False), resolve=rebinding)
        second = post(to("hooks.example.com", server.server_port, allow_private=False), resolve=rebinding)
    finally:
        socket.create_connection = real
    assert connected == ["93.184.216.34"]
    assert (first.verdict, second.reason) == (Verdict.RETRY, "private_address")


def test_a_redirect_is_not_followed(server: _Server) -> None:
    server.reply = (307, {"location": f"http://127.0.0.1:{server.server_port}/elsewhere"}, b"")
    answer = post(to("127.0.0.1", server.server_port))
    assert answer.verdict is Verdict.REFUSED
    assert "redirects are not followed" in answer.text
    assert [path for path, _, _ in server.seen] == ["/hook/s3cr3t?token=t0k3n"]


def test_an_answer_that_repeats_the_address_does_not_spread_it(server: _Server) -> None:
    server.reply = (404, {}, b"<h1>The URL /hook/s3cr3t?token=t0k3n was not found</h1>" + b"x" * 100_000)
    answer = post(to("127.0.0.1", server.server_port, authorization="Bearer abcdef"))
    assert answer.verdict is Verdict.REFUSED
    assert "was not found" in answer.text
    assert "s3cr3t" not in answer.text
    assert "t0k3n" not in answer.text
    assert len(answer.text) < 400


def test_a_receiver_that_says_when_is_heard(server: _Server) -> None:
    server.reply = (429, {"Retry-After": "17"}, b"slow down")
    answer = post(to("127.0.0.1", server.server_port))
    assert (answer.verdict, answer.retry_after) == (Verdict.RETRY, 17)


def test_a_receiver_that_is_away_or_silent_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        answer = post(to("127.0.0.1", port, timeout=0.2))
        assert (answer.verdict, answer.text) == (Verdict.RETRY, "no answer within 0.2 s")
    answer = post(to("127.0.0.1", port))
    assert answer.verdict is Verdict.RETRY
    assert "no connection" in answer.text
    assert post(to("no-such-name.invalid", port)).verdict is Verdict.RETRY


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:7f00:1::", "not an address", "",
        "fec0::1", "64:ff9b:1::7f00:1", "::ffff:0:127.0.0.1", "::127.0.0.1", "::a9fe:a9fe",
    ],
)  # fmt: skip
def test_what_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_what_is_public(address: str) -> None:
    assert is_public(address)
