"""`thumbstream demo`: the product's main job on the real parts, told as it happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
from confluent_kafka import Consumer
from rich.console import Console

from schemas.codec import Codec
from schemas.events import Alert
from thumbstream import target
from thumbstream.commands.simulate import post
from thumbstream.commands.sql import ask, table
from thumbstream.local import die_with_parent
from thumbstream.posting import Poster
from thumbstream.traffic import Event, Traffic

_START_SECONDS = 150
_ALERT_SECONDS = 100  # a minute's tick, and the seconds until it is evaluated
_STORE_SECONDS = 30
_HISTORY, _VOTES = 3_000, 60
_MODEL = "atlas-2"
_STORED = """SELECT (SELECT count() FROM current_votes),
    (SELECT sum(votes) FROM negative_rate_by_day WHERE rollup = 'tenant')"""
_QUESTIONS = {
    "How is each model judged now?": """
        SELECT model, count() AS votes, countIf(polarity = -1) AS negative, negative / votes AS rate
        FROM current_votes GROUP BY model ORDER BY rate DESC""",
    "How was each model judged this hour, with 95 % bounds?": """
        SELECT group_key AS model, negative, votes, rate, rate_low, rate_high FROM negative_rate_by_hour
        WHERE rollup = 'model' AND hour = toStartOfHour(now()) ORDER BY rate DESC""",
    "Which alerts are open?": """
        SELECT monitor, group['model'] AS model, negative, total, rate, lower_bound AS at_least
        FROM alerts_open ORDER BY monitor""",
}

_console = Console()


class DemoFailedError(RuntimeError):
    """A step of the demo did not show what it must."""


def run(directory: Path, *, leave: bool) -> int:
    """Run the demo; 0 when every step showed what it must. Stays up until Ctrl-C unless `leave`."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    began = time.monotonic()
    with _up(directory) as process:
        try:
            ready = _wait_ready(process, directory / "ready.json")
            _show(ready)
        except (DemoFailedError, click.ClickException) as error:
            _say(f"[bold red]FAILED[/]: {error}")
            return 1
        _say(f"all checks passed after {time.monotonic() - began:.0f} s")
        if not leave:
            _stay(process, ready)
    return 0


def _say(text: str) -> None:
    _console.print(f"[bold]==>[/] {text}")


@contextmanager
def _up(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    _say("starting Apache Kafka, ClickHouse, gateway, workers and sink")
    wrapper = [sys.executable, die_with_parent.__file__, str(os.getpid())]
    command = [sys.executable, "-m", "thumbstream", "up", "--data-dir", str(directory), "--ports", "auto"]
    # A session of its own: Ctrl-C is for this process, which then stops the other one.
    process = subprocess.Popen([*wrapper, *command], start_new_session=True)  # noqa: S603 - our own command, no shell
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_ready(process: subprocess.Popen[bytes], file: Path) -> dict[str, Any]:
    deadline = time.monotonic() + _START_SECONDS
    while not file.exists():
        if process.poll() is not None:
            raise DemoFailedError("`thumbstream up` ended; its last lines are above")
        if time.monotonic() > deadline:
            raise DemoFailedError(f"not everything was healthy within {_START_SECONDS} s")
        time.sleep(0.2)
    return target.read_ready(file)


def _show(ready: dict[str, Any]) -> None:
    traffic = Traffic(seed=1, incident=_MODEL)
    with closing(_alert_consumer(ready)) as alerts, Poster(target.Target(ready["gateway_url"], ready["api_key"])) as to:
        _say(f"sending {_HISTORY:,} votes of the last day, and some people who change their minds")
        now = time.time_ns() // 1_000_000
        post(to, list(traffic.history(_HISTORY, now)))
        for _ in range(100):
            post(to, traffic.next(now))
        _say(f"an incident: {_VOTES} people vote on answers of {_MODEL}, half of them thumbs down")
        post(to, _incident(traffic))
        _await_alert(alerts)
    _await_stored(ready)
    _answer(ready)


def _incident(traffic: Traffic) -> list[Event]:
    now = time.time_ns() // 1_000_000
    votes = [traffic.vote(now - index * 500, _MODEL) for index in range(_VOTES)]
    return [vote | {"rating": index % 2 == 0} for index, vote in enumerate(votes)]


def _alert_consumer(ready: dict[str, Any]) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": ready["kafka_bootstrap"],
            "group.id": f"demo-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    consumer.subscribe([ready["topics"]["alerts"]])
    return consumer


def _await_alert(consumer: Consumer) -> None:
    codec, began = Codec(), time.monotonic()
    with _console.status("waiting for the alert: it is decided when the present minute is over"):
        while time.monotonic() - began < _ALERT_SECONDS:
            message = consumer.poll(0.5)
            if message is None or message.error() is not None:
                continue
            alert = codec.decode_as(Alert, _bytes(message.value()))
            if alert.group.get("model") == _MODEL:
                _say_alert(alert)
                return
    raise DemoFailedError(f"no alert arrived within {_ALERT_SECONDS} s")


def _bytes(value: str | bytes | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def _say_alert(alert: Alert) -> None:
    late = time.time() - alert.evaluated_at / 1000
    _say(
        f"[bold red]{alert.status}[/] on the topic, {late:.1f} s after the minute ended: {alert.monitor} "
        f"{dict(alert.group)}: {alert.negative} of {alert.total} negative in {alert.window_minutes} minutes, "
        f"surely at least {alert.lower_bound:.0%}, threshold {alert.threshold:.0%}"
    )


def _await_stored(ready: dict[str, Any]) -> None:
    """An answer over half of the votes would be true, but puzzling."""
    deadline = time.monotonic() + _STORE_SECONDS
    with _console.status("waiting until ClickHouse holds what was sent"):
        while any(count < _HISTORY for count in _ask(ready, _STORED)[1][0]):
            if time.monotonic() > deadline:
                raise DemoFailedError(f"ClickHouse did not hold all votes within {_STORE_SECONDS} s")
            time.sleep(0.2)


def _answer(ready: dict[str, Any]) -> None:
    for title, query in _QUESTIONS.items():
        deadline = time.monotonic() + _STORE_SECONDS
        rows: list[tuple[Any, ...]] = []
        while not rows:
            names, rows = _ask(ready, query)
            if not rows and time.monotonic() > deadline:
                raise DemoFailedError(f"ClickHouse has no answer to: {title}")
        _console.print(table(names, rows, title))


def _ask(ready: dict[str, Any], query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    login = ready["clickhouse_analyst"]
    return ask(query, ready["clickhouse_url"], login["user"], login["password"], login["database"])


def _stay(process: subprocess.Popen[bytes], ready: dict[str, Any]) -> None:
    _say(f"feedback: {ready['gateway_url']}/v1/events   metrics: {ready['gateway_url']}/metrics")
    _say(f"ClickHouse: {ready['clickhouse_url']}   Kafka: {ready['kafka_bootstrap']}")
    _say("Ctrl-C stops everything")
    try:
        process.wait()
    except KeyboardInterrupt:
        _say("stopping")
