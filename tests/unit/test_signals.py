"""A signal's handler runs in whatever the main thread is doing, so it takes no lock that this thread may hold."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sinks.delivery.receivers import Receivers
from thumbstream.commands import deliver, sink
from thumbstream.local.clickhouse import __main__ as clickhouse
from thumbstream.settings import Settings
from thumbstream.signals import set_soon

DEADLINE = 10.0
Handlers = dict[int, Callable[..., object]]


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Handlers:
    """What is installed, by signal; nothing really is."""
    installed: Handlers = {}
    monkeypatch.setattr(signal, "signal", installed.__setitem__)
    return installed


def test_an_event_is_set_although_its_lock_is_held_by_the_thread_that_asks() -> None:
    event, lock = threading.Event(), threading.RLock()
    # The event's own lock hangs whoever takes it twice; by this one, setting in the same thread is seen at once.
    vars(event)["_cond"] = threading.Condition(lock)
    with lock:
        set_soon(event)
        assert not event.is_set()
    assert event.wait(DEADLINE)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[threading.Event]:
    """The events that `set_soon` was given, which it leaves alone."""
    given: list[threading.Event] = []
    for module in (sink, deliver, clickhouse):
        monkeypatch.setattr(module, "set_soon", given.append)
    return given


def test_the_sink_s_handlers_set_its_stop_soon(
    monkeypatch: pytest.MonkeyPatch, handlers: Handlers, told: list[threading.Event]
) -> None:
    def consume(*arguments: Any) -> None:
        stop = arguments[-1]
        for number in (signal.SIGTERM, signal.SIGINT):
            handlers[number](number, None)
        assert told == [stop, stop]
        assert not stop.is_set()

    monkeypatch.setattr(sink, "consume", consume)
    sink.run(Settings())
    assert len(told) == 2


def test_delivery_s_handlers_set_the_end_of_its_round_soon(
    monkeypatch: pytest.MonkeyPatch, handlers: Handlers, told: list[threading.Event]
) -> None:
    def read(*arguments: Any) -> bool:
        halt = arguments[-1]
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            handlers[number](number, None)
        assert told == [halt] * 3
        assert not halt.is_set()
        return True

    monkeypatch.setattr(deliver, "load", lambda _: Receivers(()))
    monkeypatch.setattr(deliver, "deliver", read)
    deliver.run(Settings())
    assert len(told) == 3


def test_the_embedded_clickhouse_s_handlers_set_its_stop_soon(
    monkeypatch: pytest.MonkeyPatch, handlers: Handlers, told: list[threading.Event], tmp_path: Path
) -> None:
    def taken(_: int) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(os, "umask", lambda _: 0)
    monkeypatch.setattr(clickhouse, "Logins", Path)
    monkeypatch.setattr(clickhouse, "Server", taken)  # where everything ends here, behind the handlers
    places = {"data-dir": "data", "logins": "logins.json", "ready-file": "ready/file"}
    monkeypatch.setattr(sys, "argv", ["", *(f"--{name}={tmp_path / place}" for name, place in places.items())])
    with pytest.raises(SystemExit, match="cannot listen"):
        clickhouse.main()
    for number in (signal.SIGTERM, signal.SIGINT):
        handlers[number](number, None)
    assert len(told) == 2
    assert not told[0].is_set()
