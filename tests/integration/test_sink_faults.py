"""The sink under faults: ClickHouse away, the process killed, rows that cannot be stored, a log that was cut."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas.events import MinuteCount
from schemas.topics import version_of
from sinks.startup import Options
from tests.fixtures.clickhouse import ClickHouse
from tests.fixtures.sink import Bench, bench, event, sink
from tests.polling import wait_until
from thumbstream.telemetry import EXIT_STOP, Metrics

pytestmark = pytest.mark.integration
_PROGRAM = """
import json, signal, sys, threading
from schemas.topics import Topics
from sinks.clickhouse import Address
from sinks.consumer import run
from sinks.startup import Options
from thumbstream.telemetry import Metrics, configure_logging
configure_logging("sink")
given = json.loads(sys.argv[1])
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
options = Options(given["bootstrap"], Topics(*given["topics"]), Address(*given["clickhouse"]), given["epoch"],
                  kafka={"session.timeout.ms": "6000"})
run(options, Metrics(), lambda ready: print("ready", ready, flush=True), stop)
"""


@pytest.fixture
def place(kafka_bootstrap: str, clickhouse: ClickHouse, unique: Callable[[str], str]) -> Iterator[Bench]:
    with bench(kafka_bootstrap, clickhouse, unique("sink")) as made:
        yield made


class Wire:
    """A relay to ClickHouse that can be cut (connections end, new ones are refused) and mended on the same port."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._target = (target.hostname or "", target.port or 0)
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._port = 0
        self.mend()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        assert self._listener is not None
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for connection in (self._listener, *self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near = listener.accept()[0]
                far = socket.create_connection(self._target)
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while content := source.recv(65_536):
            target.sendall(content)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _spawn(options: Options, **changed: Any) -> subprocess.Popen[str]:
    address, topics = options.clickhouse, options.topics
    given = {
        "bootstrap": options.bootstrap_servers,
        "topics": [topics.prefix, topics.event_partitions, topics.minute_partitions],
        "clickhouse": [address.url, address.user, address.password, address.database],
        "epoch": options.epoch,
        **changed,
    }
    command = [sys.executable, "-c", _PROGRAM, json.dumps(given)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _committed(place: Bench) -> int:
    topic = place.topics.events
    settings = {"bootstrap.servers": place.options.bootstrap_servers, "group.id": place.options.group_id}
    consumer = Consumer(settings)
    positions = consumer.committed([TopicPartition(topic.name, n) for n in range(topic.partitions)], timeout=10)
    consumer.close()
    return sum(max(position.offset, 0) for position in positions)


def _history(place: Bench) -> list[tuple[Any, ...]]:
    return place.query("SELECT count(), uniqExact(request_id) FROM {v}.vote_history")


def test_an_outage_of_clickhouse_loses_and_doubles_nothing(place: Bench, clickhouse: ClickHouse) -> None:
    wire, metrics = Wire(clickhouse.url), Metrics()
    with sink(place.options, metrics, wire.url) as is_ready:
        place.publish(*(event(f"before-{n}") for n in range(50)))
        wait_until(lambda: _history(place) == [(50, 50)], 60, "votes before the outage are stored")
        wire.cut()
        place.publish(*(event(f"during-{n}") for n in range(50)))
        wait_until(lambda: not is_ready(), 60, "the sink says that it is not ready")
        wait_until(lambda: metrics.value("write_retries", table="feedback_events", code="network") > 1, 60, "retries")
        assert _committed(place) == 50
        wire.mend()
        wait_until(lambda: _history(place) == [(100, 100)], 60, "votes during the outage are stored")
        wait_until(is_ready, 60, "the sink is ready again")
        place.publish(event("after"))
        wait_until(lambda: _history(place) == [(101, 101)], 60, "reading goes on")
    wire.cut()
    assert _committed(place) == 101


def test_a_killed_sink_loses_and_doubles_nothing_and_a_stopped_one_commits(place: Bench) -> None:
    killed = _spawn(place.options)
    place.publish(*(event(f"r-{n}") for n in range(3_000)))
    wait_until(lambda: _history(place) != [(0, 0)], 60, "the first sink stores")
    killed.kill()
    killed.communicate()
    place.publish(*(event(f"s-{n}") for n in range(1_000)))
    again = _spawn(place.options)
    wait_until(lambda: _history(place) == [(4_000, 4_000)], 40, "everything is there, once")
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=30)
    assert again.returncode == 0  # a stop of more than 5 s is another code: see `_watch_stop`
    assert _committed(place) == 4_000


def test_a_row_that_cannot_be_stored_becomes_a_dead_letter_and_the_rest_is_stored(place: Bench) -> None:
    minutes = place.topics.minutes.name
    cells = [MinuteCount("acme", "app", (f"a{n}",), 60_000 * n, 1000, 1, -(n == 5), 1, 0) for n in range(20)]
    with sink(place.options):
        place.publish(*cells)
        place.produce(minutes, b"x", b"garbage")
        place.producer.flush(10)
        wait_until(lambda: place.query("SELECT count() FROM {t}.feedback_dead_letters") == [(2,)], 60, "both letters")
        wait_until(lambda: place.query("SELECT count() FROM {v}.negative_rate_by_minute") == [(19,)], 60, "the rest")
    assert sorted(place.query("SELECT stage, reason, source_topic FROM {t}.feedback_dead_letters")) == [
        ("sink", "undecodable", minutes),
        ("sink", "unstorable", minutes),
    ]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, "the events topic is shorter than the state: was it re-created?"),
        ({"epoch": 0}, "epoch 1 is stored already"),
        ({"password": "wrong"}, "login refused"),
    ],
)
def test_a_sink_that_would_do_damage_ends_and_asks_for_a_person(
    place: Bench, changed: dict[str, Any], sentence: str
) -> None:
    address = place.options.clickhouse
    stored = (
        f"INSERT INTO {address.database}.feedback_events (source_partition, version) VALUES (1001, {{version:UInt64}})"
    )
    place.client.command(stored, parameters={"version": version_of(1, 5)})
    password = changed.pop("password", address.password)
    process = _spawn(place.options, clickhouse=[address.url, address.user, password, address.database], **changed)
    with closing(process.stdout or sys.stdout):
        _, said = process.communicate(timeout=30)
    assert process.returncode == EXIT_STOP, said
    assert sentence in said
