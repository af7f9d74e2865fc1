"""`thumbstream deliver`: alerts to receivers; and a test of one receiver."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid

import click

from schemas.events import Alert
from sinks.delivery.messages import RESOLVED, Notice
from sinks.delivery.post import Poster
from sinks.delivery.reader import Options
from sinks.delivery.receivers import Receiver, Receivers, ReceiversError, parse
from sinks.delivery.replies import Answer, Verdict
from sinks.delivery.requests import request
from sinks.delivery.run import run as deliver
from thumbstream.health import HealthServer
from thumbstream.settings import Settings
from thumbstream.telemetry import EXIT_STOP, Metrics, die

_TEST_MINUTES = 1


def load(settings: Settings) -> Receivers:
    """The receivers of the settings' file. ReceiversError names file, receiver and field."""
    path = settings.receivers_file
    if path is None:
        raise ReceiversError("no receivers file: THUMBSTREAM_RECEIVERS_FILE names it")
    try:
        return parse(path.read_text("utf-8"), os.environ, lambda name: (path.parent / name).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ReceiversError(f"{path}: {error}") from error
    except ReceiversError as error:
        raise ReceiversError(f"{path}: {error}") from error


def options(settings: Settings) -> Options:
    """What delivery needs to know of the settings."""
    return Options(
        settings.kafka_bootstrap_servers,
        settings.topics,
        f"{settings.group}-deliver",
        f"{settings.group}-watch",
        settings.kafka,
    )


def run(settings: Settings) -> None:
    """Deliver until SIGTERM or SIGINT, then commit."""
    metrics, stop, ready = Metrics(), threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        receivers = load(settings)
    except ReceiversError as error:
        die(str(error), code=EXIT_STOP)
    if settings.health_port:
        HealthServer(settings.health_port, metrics, ready.is_set).start()
    deliver(options(settings), receivers, metrics, lambda now: ready.set() if now else ready.clear(), stop)


def check(settings: Settings, name: str) -> int:
    """Send a test to a receiver and say what its answer means; the exit code."""
    try:
        receiver = load(settings)[name]
    except ReceiversError as error:
        raise click.ClickException(str(error)) from error
    answer = send(receiver, _test(time.time_ns() // 1_000_000))
    click.echo(_judgement(receiver, answer), err=answer.verdict is not Verdict.DELIVERED)
    return 0 if answer.verdict is Verdict.DELIVERED else 1


def send(receiver: Receiver, subject: Alert | Notice) -> Answer:
    """Send one thing at once, without log or retry."""
    poster = Poster(receiver)
    try:
        return poster.post(request(receiver, subject, time.time_ns() // 1_000_000))
    finally:
        poster.close()


def _test(now: int) -> Notice:
    """A test that an Alertmanager sees end by itself, a minute from now."""
    text = "This is a test by thumbstream deliver test: nothing is wrong."
    return Notice(f"test_{uuid.uuid4().hex}", "test", RESOLVED, now + _TEST_MINUTES * 60_000, now, text)


def _judgement(receiver: Receiver, answer: Answer) -> str:
    meaning = {
        Verdict.DELIVERED: "delivered",
        Verdict.RETRY: "not delivered now: an alert would be tried again",
        Verdict.REFUSED: "refused: an alert would be parked as a dead letter",
    }
    return f"{receiver.name} ({receiver.kind} at {receiver.host}): {meaning[answer.verdict]}: {answer.text}"
