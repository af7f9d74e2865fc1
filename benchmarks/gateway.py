"""Events a second through the gateway, as posts of one event and of a hundred, beside a bare producer's loop.

    python -m benchmarks.gateway [--bootstrap HOST:PORT] [--seconds 5] [--clients 64]

Real HTTP over loopback to a gateway in a process of its own; 200 comes after the broker's acknowledgement. Client,
gateway and broker share the machine, so rates are a lower bound; the gateway's own processor time per event is not
touched by that. Without --bootstrap a broker is started in a temporary directory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import uvloop
from confluent_kafka import Producer

from producers.gateway import create_app
from producers.kafka import message, producer_settings
from producers.keys import Keys, create_key
from producers.publisher import KafkaPublisher
from producers.server import serve
from producers.validation import parse_event
from schemas.codec import Codec
from schemas.topics import Topics
from thumbstream import topic_admin
from thumbstream.local import kafka
from thumbstream.local.ports import free_ports
from thumbstream.telemetry import Metrics, configure_logging

_BATCH = 100


def event(number: int) -> dict[str, object]:
    """A vote as a chat page sends it: about 200 bytes."""
    return {
        "request_id": f"chatcmpl-{number % 50_000:08d}",
        "rating": number % 5 != 0,
        "user_id": f"user-{number % 900}",
        "reasons": ["incorrect"] if number % 5 == 0 else [],
        "metadata": {"model": f"model-{number % 7}", "prompt_id": "support-v3", "environment": "production"},
    }


@contextmanager
def broker(given: str | None) -> Iterator[str]:
    """The broker that is given, or one of our own."""
    if given:
        yield given
        return
    with tempfile.TemporaryDirectory() as directory:
        cluster = kafka.start(Path(directory))
        try:
            yield cluster.bootstrap
        finally:
            cluster.stop()


def _gateway(bootstrap: str, prefix: str, keys: Path, port: int) -> None:
    configure_logging("gateway", level="WARNING")
    metrics = Metrics()
    publisher = KafkaPublisher(bootstrap, Topics(prefix).events, metrics)
    serve(create_app(publisher, Keys(keys), metrics), "127.0.0.1", port)


@contextmanager
def gateway(bootstrap: str, prefix: str) -> Iterator[tuple[int, str, psutil.Process]]:
    """Port, secret and process of a gateway."""
    with tempfile.TemporaryDirectory() as directory:
        keys, (port,) = Path(directory) / "keys.toml", free_ports(1)
        secret = create_key(keys, "bench", ["ingest"])
        process = multiprocessing.get_context("spawn").Process(target=_gateway, args=(bootstrap, prefix, keys, port))
        process.start()
        try:
            wait_ready(port)
            yield port, secret, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.join()


def wait_ready(port: int) -> None:
    """Return when the gateway on this port answers and has its broker."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("the gateway is not ready")


def requests(secret: str, size: int) -> list[bytes]:
    """A thousand different requests, ready to be written to a socket."""
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
    )
    made = []
    for start in range(0, 1_000 * size, size):
        events = [event(number) for number in range(start, start + size)]
        body = json.dumps(events if size > 1 else events[0]).encode()
        made.append(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return made


async def _client(port: int, sent: list[bytes], until: float, waits: list[float]) -> None:
    """Posts one after another on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    turn = len(waits)
    while (started := time.perf_counter()) < until:
        turn += 1
        writer.write(sent[turn % len(sent)])
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        if b" 200 " not in head[:16]:
            raise SystemExit(head.decode())
        waits.append(time.perf_counter() - started)
    writer.close()


async def _load(port: int, sent: list[bytes], clients: int, seconds: float) -> tuple[float, list[float]]:
    started, waits = time.perf_counter(), list[float]()
    await asyncio.gather(*(_client(port, sent, started + seconds, waits) for _ in range(clients)))
    return time.perf_counter() - started, sorted(waits)


def _processor_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def through_gateway(running: tuple[int, str, psutil.Process], size: int, clients: int, seconds: float) -> float:
    """Acknowledged events a second; prints waiting times and the gateway's processor time, too."""
    port, secret, process = running
    sent = requests(secret, size)
    uvloop.run(_load(port, sent, clients, 1))  # warm
    before = _processor_seconds(process)
    spent, waits = uvloop.run(_load(port, sent, clients, seconds))
    rate = len(waits) * size / spent
    middle, late = waits[len(waits) // 2] * 1e3, waits[int(len(waits) * 0.99)] * 1e3
    cost = (_processor_seconds(process) - before) / (len(waits) * size) * 1e6
    print(f"{size:4d} event(s) a post: {rate:9,.0f} events/s   {cost:.0f} us of processor time an event", end="   ")
    print(f"median {middle:.1f} ms   p99 {late:.1f} ms")
    return rate


def bare_producer(bootstrap: str, topics: Topics, seconds: float) -> float:
    """Acknowledged messages a second of the client alone: the same bytes, already encoded."""
    codec = Codec()
    messages = [
        message(
            codec,
            parse_event(
                event(number),
                tenant_id="bench",
                source="bench",
                new_id=lambda: str(uuid.uuid4()),
                received_at=0,
                original=json.dumps(event(number)).encode(),
            ),
        )
        for number in range(10_000)
    ]
    producer = Producer(producer_settings(bootstrap, {}, {"queue.buffering.max.messages": 100_000}))
    refused: list[object] = []

    def delivered(error: object, _: object) -> None:
        if error is not None:
            refused.append(error)

    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        for key, value in messages[:1_000]:
            while True:
                try:
                    producer.produce(topics.events.name, value, key, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.01)
        count += 1_000
        producer.poll(0)
    producer.flush(30)
    if refused:
        raise SystemExit(f"{len(refused)} messages failed: {refused[0]}")
    rate = count / (time.perf_counter() - started)
    print(f"bare producer loop  : {rate:9,.0f} events/s")
    return rate


def main() -> None:
    """Run all three against the same broker and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bootstrap")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--clients", type=int, default=64)
    chosen = parser.parse_args()
    with broker(chosen.bootstrap) as bootstrap:
        topics = Topics(f"bench-{uuid.uuid4().hex[:8]}.")
        topic_admin.create(topic_admin.client(bootstrap), topics, 1)
        bare = bare_producer(bootstrap, topics, chosen.seconds)
        with gateway(bootstrap, topics.prefix) as running:
            single = through_gateway(running, 1, chosen.clients, chosen.seconds)
            batch = through_gateway(running, _BATCH, max(1, chosen.clients // 8), chosen.seconds)
    print(f"of the bare producer: {single / bare:.1%} with single events, {batch / bare:.1%} with batches of {_BATCH}")


if __name__ == "__main__":
    main()
