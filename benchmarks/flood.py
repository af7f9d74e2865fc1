"""What one tenant notices while another one's key floods the gateway: waiting times, quiet and flooded in turn.

    python -m benchmarks.flood [--bootstrap HOST:PORT] [--rate 20] [--times 50] [--limit 40/80]
                               [--connections 400] [--seconds 6] [--rounds 16]

The quiet tenant posts one vote at a time at a steady rate. In every second phase the other one posts `--times` as many:
each request leaves when it is due, whatever became of those before it, on a connection that is free or on a new one, up
to `--connections`. With `--limit ''` nothing is limited. All processes share the machine, so that what a flood costs
its senders, the network and the broker is in the numbers too; the flood's own process gets only processor time that
nobody else asks for (SCHED_IDLE), as if it were elsewhere. The last line fails unless the flood arrived as wanted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import select
import socket
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.gateway import broker, requests, wait_ready
from producers.access import Protection
from producers.gateway import create_app
from producers.keys import Keys, create_key
from producers.limits import Rate, parse_rate
from producers.publisher import KafkaPublisher
from producers.server import serve
from schemas.topics import Topics
from thumbstream import topic_admin
from thumbstream.local.ports import free_ports
from thumbstream.telemetry import Metrics, configure_logging

_SPAWN = multiprocessing.get_context("spawn")
_AHEAD = 1.0  # seconds: the flood begins half of it before the flooded phase, and ends half of it after
_ANSWER_SECONDS = 12.0  # longer than the gateway ever takes
_ARRIVED = 0.99  # share of a flood that must have been sent and answered

Answer = tuple[float, int]  # (seconds waited, status)


def _gateway(bootstrap: str, prefix: str, keys: Path, port: int, limit: Rate | None) -> None:
    configure_logging("gateway", level="WARNING")
    metrics = Metrics()
    publisher = KafkaPublisher(bootstrap, Topics(prefix).events, metrics)
    serve(create_app(publisher, Keys(keys), metrics, protection=Protection(per_key=limit)), "127.0.0.1", port)


@contextmanager
def gateway(bootstrap: str, prefix: str, limit: Rate | None) -> Iterator[tuple[int, str, str]]:
    """Port of a gateway, and the secrets of a quiet and a loud tenant."""
    with tempfile.TemporaryDirectory() as directory:
        keys, (port,) = Path(directory) / "keys.toml", free_ports(1)
        quiet, loud = (create_key(keys, tenant, ["ingest"]) for tenant in ("quiet", "loud"))
        process = _SPAWN.Process(target=_gateway, args=(bootstrap, prefix, keys, port, limit))
        process.start()
        try:
            wait_ready(port)
            yield port, quiet, loud
        finally:
            process.terminate()
            process.join()


@dataclass
class _Sent:
    started: float
    got: bytes = b""

    def status(self) -> int | None:
        """The status of the answer once all of it is there."""
        head, end, body = self.got.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return None
        return int(head[9:12])


@dataclass
class Sender:
    """Sends requests when they are due, each on a connection of its own for as long as it is not answered."""

    port: int
    requests: list[bytes]
    connections: int
    answers: list[Answer] = field(default_factory=list)
    sent: int = 0
    _open: dict[int, socket.socket] = field(default_factory=dict)
    _free: list[int] = field(default_factory=list)
    _waiting: dict[int, _Sent] = field(default_factory=dict)
    _poll: select.epoll = field(default_factory=select.epoll)

    def post(self, rate: float, seconds: float) -> None:
        """Requests at `rate` a second for so long; then wait for all answers, and close the connections."""
        began = time.perf_counter()
        for turn in range(round(rate * seconds)):
            while (early := began + turn / rate - time.perf_counter()) > 0:
                self._receive(early)
            self._receive(0)
            self._send()
        while self._waiting and time.perf_counter() < began + seconds + _ANSWER_SECONDS:
            self._receive(0.1)
        for number in list(self._open):
            self._close(number)

    def _send(self) -> None:
        if not self._free and len(self._open) < self.connections:
            opened = socket.create_connection(("127.0.0.1", self.port))
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open[opened.fileno()] = opened
            self._poll.register(opened, select.EPOLLIN)
            self._free.append(opened.fileno())
        if self._free:
            number = self._free.pop()
            self._waiting[number] = _Sent(time.perf_counter())
            self._open[number].sendall(self.requests[self.sent % len(self.requests)])
            self.sent += 1

    def _receive(self, seconds: float) -> None:
        for number, _ in self._poll.poll(seconds):
            try:
                data = self._open[number].recv(1 << 16)
            except ConnectionError:
                data = b""
            waiting = self._waiting.get(number)
            if waiting is not None:
                waiting.got += data
                if (status := waiting.status()) is not None:
                    self.answers.append((time.perf_counter() - waiting.started, status))
                    del self._waiting[number]
                    self._free.append(number)
            if not data:
                self._close(number)

    def _close(self, number: int) -> None:
        self._poll.unregister(number)
        self._open.pop(number).close()
        self._waiting.pop(number, None)
        if number in self._free:
            self._free.remove(number)


def _flood(port: int, secret: str, connections: int, rate: float, seconds: float, turns: Connection) -> None:
    """Flood for `seconds` each time it is told to; then tell how many were sent by now, and what was answered."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    sender = Sender(port, requests(secret, 1), connections)
    while turns.recv():
        sender.post(rate, seconds)
        turns.send((sender.sent, Counter(status for _, status in sender.answers)))


def phase(port: int, secret: str, rate: float, seconds: float) -> list[Answer]:
    """What the quiet tenant gets."""
    sender = Sender(port, requests(secret, 1), 20)
    sender.post(rate, seconds)
    if len(sender.answers) != round(rate * seconds):
        raise SystemExit(f"only {len(sender.answers)} of {rate * seconds:.0f} votes of the quiet tenant were answered")
    return sender.answers


def told(name: str, answers: list[Answer]) -> float:
    """The 99th percentile in milliseconds, printed with the rest."""
    waits = sorted(wait for wait, _ in answers)
    middle, late = waits[len(waits) // 2] * 1e3, waits[int(len(waits) * 0.99)] * 1e3
    counts = dict(Counter(status for _, status in answers))
    print(f"{name}: {len(waits)} votes {counts}   median {middle:.1f} ms   p99 {late:.1f} ms", end="   ")
    print(f"longest {waits[-1] * 1e3:.1f} ms")
    return late


def main() -> None:
    """Quiet and flooded phases in turn, then both together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap")
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--times", type=float, default=50)
    parser.add_argument("--connections", type=int, default=400)
    parser.add_argument("--limit", type=parse_rate, default=Rate(40, 80))
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=16)
    chosen = parser.parse_args()
    with broker(chosen.bootstrap) as bootstrap:
        topics = Topics(f"bench-{uuid.uuid4().hex[:8]}.")
        topic_admin.create(topic_admin.client(bootstrap), topics, 1)
        with gateway(bootstrap, topics.prefix, chosen.limit) as (port, quiet, loud):
            measure(port, quiet, loud, chosen)


def measure(port: int, quiet: str, loud: str, chosen: argparse.Namespace) -> None:
    """Print the ratio of the two 99th percentiles."""
    flood, turns = _SPAWN.Pipe()
    rate, seconds = chosen.rate * chosen.times, chosen.seconds + _AHEAD
    process = _SPAWN.Process(target=_flood, args=(port, loud, chosen.connections, rate, seconds, turns))
    process.start()
    turns.close()  # so that an end of the flood is noticed here
    phase(port, quiet, chosen.rate, 3)  # warm
    calm, flooded = list[Answer](), list[Answer]()
    for _ in range(chosen.rounds):
        calm += phase(port, quiet, chosen.rate, chosen.seconds)
        flood.send(True)
        time.sleep(_AHEAD / 2)
        flooded += phase(port, quiet, chosen.rate, chosen.seconds)
        sent, counts = flood.recv()
    flood.send(False)
    process.join()
    spent = chosen.rounds * seconds
    print(f"the flood: {rate:,.0f} requests/s wanted, {sent / spent:,.0f} sent, answers {dict(counts)}")
    before, during = told("quiet  ", calm), told("flooded", flooded)
    if min(sent, counts.total()) < _ARRIVED * rate * spent:
        raise SystemExit("that was no such flood: not all of it was sent and answered")
    print(f"p99 {during / before:.2f} times the quiet one, with a limit of {chosen.limit or 'nothing'}")


if __name__ == "__main__":
    main()
