"""`thumbstream deliver`: alerts to receivers; and a test of one receiver."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterable

import click
import structlog

from processors.monitors import Monitor
from schemas.events import Alert
from sinks.delivery.messages import RESOLVED, Notice
from sinks.delivery.post import Poster
from sinks.delivery.reader import Options
from sinks.delivery.receivers import Receiver, Receivers, ReceiversError, parse, routed
from sinks.delivery.replies import Answer, Verdict
from sinks.delivery.requests import request
from sinks.delivery.run import run as deliver
from thumbstream import monitors_file
from thumbstream.health import HealthServer
from thumbstream.monitors_file import MonitorsFileError
from thumbstream.settings import Settings
from thumbstream.signals import set_soon
from thumbstream.telemetry import EXIT_CRASH, EXIT_STOP, Metrics, die

_TEST_MINUTES = 1
_log = structlog.get_logger("deliver")


def load(settings: Settings) -> Receivers:
    """The receivers of the settings' file, with the monitors that name them.

    ReceiversError names file, receiver and field, or what is wrong with the monitors.
    """
    path = settings.receivers_file
    if path is None:
        raise ReceiversError("no receivers file: THUMBSTREAM_RECEIVERS_FILE names it")
    try:
        receivers = parse(path.read_text("utf-8"), os.environ, lambda name: (path.parent / name).read_text("utf-8"))
        return routed(receivers, routes(monitors_file.load(settings.monitors_file)))
    except (OSError, UnicodeDecodeError, ReceiversError) as error:
        raise ReceiversError(f"{path}: {error}") from error
    except MonitorsFileError as error:
        raise ReceiversError(str(error)) from error


def routes(monitors: Iterable[Monitor]) -> dict[str, set[str]]:
    """Receiver -> the monitors that name it."""
    found: dict[str, set[str]] = {}
    for monitor in monitors:
        for name in monitor.receivers:
            found.setdefault(name, set()).add(monitor.name)
    return found


def options(settings: Settings) -> Options:
    """What delivery needs to know of the settings."""
    return Options(
        settings.kafka_bootstrap_servers,
        settings.topics,
        f"{settings.group}-deliver",
        f"{settings.group}-watch",
        settings.kafka,
    )


class _Process:
    """What signals change: whether to go on, and with which receivers."""

    def __init__(self, settings: Settings, receivers: Receivers) -> None:
        self._settings, self.receivers = settings, receivers
        self._halt, self.stopping = threading.Event(), False

    def begin(self) -> threading.Event:
        """A new round; the event that will end it."""
        self._halt = threading.Event()
        if self.stopping:  # a signal came while nobody waited for it
            self._halt.set()
        return self._halt

    def stop(self, *_: object) -> None:
        """SIGTERM, SIGINT."""
        self.stopping = True
        set_soon(self._halt)

    def reload(self, *_: object) -> None:
        """SIGHUP: read the files again; wrong ones change nothing."""
        try:
            self.receivers = load(self._settings)
        except ReceiversError as error:
            _log.error("receivers stay as they are", error=str(error))
            return
        set_soon(self._halt)


def run(settings: Settings) -> None:
    """Deliver until SIGTERM or SIGINT, then commit. SIGHUP begins anew with what the files say then."""
    metrics, ready = Metrics(), threading.Event()
    try:
        process = _Process(settings, load(settings))
    except ReceiversError as error:
        die(str(error), code=EXIT_STOP)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, process.stop)
    signal.signal(signal.SIGHUP, process.reload)
    if settings.health_port:
        HealthServer(settings.health_port, metrics, ready.is_set).start()
    while not process.stopping:
        _round(settings, process, metrics, ready)


def _round(settings: Settings, process: _Process, metrics: Metrics, ready: threading.Event) -> None:
    halt, receivers = process.begin(), process.receivers
    _log.info("receivers", names=[receiver.name for receiver in receivers.receivers])
    ended = deliver(options(settings), receivers, metrics, lambda now: ready.set() if now else ready.clear(), halt)
    ready.clear()
    if not ended and process.stopping:
        os._exit(0)  # a request is under way; what it is about is not committed and is sent again
    if not ended:
        die("a delivery hangs: a new start reads the files again", code=EXIT_CRASH)


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
