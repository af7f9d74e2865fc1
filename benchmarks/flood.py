"""What one tenant notices while another one's key floods the gateway: waiting times, quiet and flooded in turn.

    python -m benchmarks.flood [--bootstrap HOST:PORT] [--rate 20] [--times 50] [--limit 40/80]
                              [--connections 8] [--seconds 6] [--rounds 8]

The quiet tenant posts one vote at a time at a steady rate. In every second phase the other one wants to post `--times`
as many from a process of its own, over `--connections` in turn, each request as soon as its turn has come and the one
before it was answered, whatever the answers are: refusals come a second late, so not all of it can be sent. With
`--limit ''` nothing is limited. Everything shares the machine, so what the flood costs its senders is in the numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

import uvloop

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

Answers = list[tuple[float, int]]  # (seconds waited, status)


class Signals(NamedTuple):
    """Between the two processes: the flood can begin, it is its turn, there is no further turn."""

    ready: Event
    turn: Event
    over: Event


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


async def _post(
    port: int, sent: list[bytes], rate: float, seconds: float, answers: Answers, first: float = 0.0
) -> None:
    """One connection: a request whenever it is due, the first after `first` seconds; what is late is sent at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter() + first
    for turn in range(int(rate * seconds)):
        await asyncio.sleep(began + turn / rate - time.perf_counter())
        started = time.perf_counter()
        if started > began + seconds:
            break
        writer.write(sent[turn % len(sent)])
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        answers.append((time.perf_counter() - started, int(head[9:12])))
    writer.close()


def _flood(port: int, secret: str, rate: float, number: int, seconds: float, signals: Signals) -> None:
    """Flood for `seconds` each time it is told to, until all is over; then say what was answered."""

    async def run() -> tuple[Answers, int]:
        answers: Answers = []
        sent, turns = requests(secret, 1), 0
        signals.ready.set()
        while signals.turn.wait() and not signals.over.is_set():
            signals.turn.clear()
            turns += 1
            connections = (_post(port, sent, rate / number, seconds, answers, one / rate) for one in range(number))
            await asyncio.gather(*connections)
            signals.ready.set()
        return answers, turns

    answers, turns = uvloop.run(run())
    counts = Counter(status for _, status in answers)
    print(f"the flood: {rate:,.0f} requests/s wanted, {len(answers) / (turns * seconds):,.0f} sent, {dict(counts)}")


def phase(port: int, secret: str, rate: float, seconds: float) -> Answers:
    """What the quiet tenant gets."""
    answers: Answers = []
    uvloop.run(_post(port, requests(secret, 1), rate, seconds, answers))
    return answers


def told(name: str, answers: Answers) -> float:
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
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--limit", type=parse_rate, default=Rate(40, 80))
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=8)
    chosen = parser.parse_args()
    with broker(chosen.bootstrap) as bootstrap:
        topics = Topics(f"bench-{uuid.uuid4().hex[:8]}.")
        topic_admin.create(topic_admin.client(bootstrap), topics, 1)
        with gateway(bootstrap, topics.prefix, chosen.limit) as (port, quiet, loud):
            measure(port, quiet, loud, chosen)


def measure(port: int, quiet: str, loud: str, chosen: argparse.Namespace) -> None:
    """Print the ratio of the two 99th percentiles."""
    signals = Signals(_SPAWN.Event(), _SPAWN.Event(), _SPAWN.Event())
    rate = chosen.rate * chosen.times
    arguments = (port, loud, rate, chosen.connections, chosen.seconds + _AHEAD, signals)
    flood = _SPAWN.Process(target=_flood, args=arguments)
    flood.start()
    phase(port, quiet, chosen.rate, 3)  # warm
    calm, flooded = Answers(), Answers()
    for _ in range(chosen.rounds):
        signals.ready.wait()
        signals.ready.clear()
        calm += phase(port, quiet, chosen.rate, chosen.seconds)
        signals.turn.set()
        time.sleep(_AHEAD / 2)
        flooded += phase(port, quiet, chosen.rate, chosen.seconds)
    signals.ready.wait()
    signals.over.set()
    signals.turn.set()
    flood.join()
    before, during = told("quiet  ", calm), told("flooded", flooded)
    print(f"p99 {during / before:.2f} times the quiet one, with a limit of {chosen.limit or 'nothing'}")


if __name__ == "__main__":
    main()
