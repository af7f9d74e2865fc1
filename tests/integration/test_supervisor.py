"""The supervisor, with tiny children that behave, crash, give up, refuse to stop or never become healthy."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.polling import wait_until
from thumbstream.local.child_spec import ChildSpec, RestartPolicy
from thumbstream.local.probes import http_answers
from thumbstream.local.supervisor import Supervisor

pytestmark = pytest.mark.integration

STAY = "import signal; print('up', flush=True); signal.pause()"
REFUSE_TO_STOP = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
)
QUICK = RestartPolicy(first=0.05, longest=0.2)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Supervision:
    """A supervisor in a thread, with everything it said and told."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.said: list[tuple[str, str]] = []
        self.told: list[tuple[dict[str, int], bool]] = []
        self.exit_code: int | None = None

    def spec(self, name: str, code: str, *arguments: str, **options: Any) -> ChildSpec:
        """Describe a child that runs Python code and is healthy once it has printed a line."""
        log = self.directory / f"{name}.log"
        argv = [sys.executable, "-I", "-S", "-c", code, *arguments]
        return ChildSpec(**{"probe": lambda: log.stat().st_size > 0, **options}, name=name, argv=argv, log=log)

    def run(self, *specs: ChildSpec, **options: Any) -> None:
        self.supervisor = Supervisor(
            specs,
            on_change=lambda pids, healthy: self.told.append((pids, healthy)),
            say=lambda name, event: self.said.append((name, event)),
            **options,
        )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.exit_code = self.supervisor.run()

    def until_healthy(self) -> dict[str, int]:
        """Wait until `on_change` was told of full health; gives the pids it was told."""
        wait_until(lambda: self.told and self.told[-1][1], 60, f"all healthy; it said {self.said}")
        return self.told[-1][0]

    def until_said(self, name: str, pattern: str, times: int = 1) -> list[str]:
        def hits() -> list[str]:
            return [event for who, event in list(self.said) if who == name and re.search(pattern, event)]

        wait_until(lambda: len(hits()) >= times, 60, f"{name}: {pattern!r} in {self.said}")
        return hits()

    def finish(self) -> int | None:
        """Stop it and wait; gives the exit code."""
        self.supervisor.stop()
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.exit_code

    def end(self) -> int | None:
        """Wait until it stops by itself; gives the exit code."""
        self._thread.join(20)
        return self.exit_code


@pytest.fixture
def supervision(tmp_path: Path) -> Iterator[Supervision]:
    supervision = Supervision(tmp_path)
    yield supervision
    supervision.finish()


def test_a_child_starts_only_when_what_it_comes_after_is_healthy(supervision: Supervision, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    prepared: list[bool] = []
    first = supervision.spec(
        "kafka", STAY, probe=gate.exists, on_healthy=lambda: prepared.append("sink" in supervision.supervisor.pids)
    )
    supervision.run(supervision.spec("sink", STAY, after=["kafka"]), first)
    wait_until(lambda: supervision.told, 60, "the first child was told")
    assert set(supervision.told[-1][0]) == {"supervisor", "kafka"}
    gate.touch()
    assert set(supervision.until_healthy()) == {"supervisor", "kafka", "sink"}
    assert prepared == [False], "on_healthy runs once, before anything that starts after it"


def test_a_crashed_child_is_restarted_alone_and_that_is_told(supervision: Supervision) -> None:
    supervision.run(supervision.spec("gateway", STAY), supervision.spec("sink", STAY))
    before = supervision.until_healthy()
    os.kill(before["sink"], signal.SIGKILL)
    supervision.until_said("sink", r"crashed: was killed by signal 9, restart in 0\.[56]")
    wait_until(lambda: supervision.supervisor.healthy, 60, "healthy again")
    after = supervision.until_healthy()
    assert after["gateway"] == before["gateway"]
    assert after["sink"] != before["sink"]
    assert ({"supervisor": os.getpid(), "gateway": before["gateway"]}, False) in supervision.told


RELOAD = """
import signal, time
signal.signal(signal.SIGHUP, lambda *_: print("read again", flush=True))
print("up", flush=True)
while True: time.sleep(0.1)
"""


def test_sighup_goes_on_to_the_children_that_reload(supervision: Supervision, tmp_path: Path) -> None:
    supervision.run(supervision.spec("watch", RELOAD, reloads=True), supervision.spec("kafka", STAY))
    before = supervision.until_healthy()
    supervision.supervisor.reload()
    log = tmp_path / "watch.log"
    wait_until(lambda: log.read_text().splitlines() == ["up", "read again"], 60, "the child was asked")
    assert supervision.supervisor.pids == before
    assert [name for name, event in supervision.said if event == "asked to reload"] == ["watch"]


IN_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(1, termios.TIOCSCTTY, 0)
from thumbstream.local.supervisor import Supervisor
supervisor = Supervisor([], on_change=lambda *_: os.write(2, b"up "))
reload = supervisor.reload
supervisor.reload = lambda: (reload(), os.write(2, b"reloads "))
code = supervisor.run()
os.write(2, b"stopped")
os._exit(code)
"""


def test_a_child_that_is_starting_is_asked_once_it_is_healthy(supervision: Supervision, tmp_path: Path) -> None:
    """It may have read its files before they changed, and it may not handle the signal yet."""
    may_be_healthy = threading.Event()
    supervision.run(supervision.spec("watch", RELOAD, reloads=True, probe=may_be_healthy.is_set))
    log = tmp_path / "watch.log"
    wait_until(lambda: log.exists() and log.read_text() == "up\n", 60, "it has started")
    supervision.supervisor.reload()
    wait_until(lambda: not supervision.supervisor._reloading, 60, "the request is taken")
    may_be_healthy.set()
    wait_until(lambda: log.read_text().splitlines() == ["up", "read again"], 60, "the child was asked")


def test_a_terminal_that_is_closed_stops_it_and_sighup_alone_does_not(tmp_path: Path) -> None:
    master, slave = os.openpty()
    log = tmp_path / "said"
    with log.open("wb") as said:
        command = [sys.executable, "-c", IN_A_TERMINAL]
        process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=said)
    os.close(slave)
    wait_until(lambda: log.read_text() == "up ", 60, "it runs")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.read_text() == "up reloads ", 60, "it reloads")
    os.close(master)
    assert process.wait(60) == 0
    assert log.read_text() == "up reloads stopped"


def test_delays_grow_while_a_child_keeps_crashing(supervision: Supervision) -> None:
    policy = RestartPolicy(first=0.1, longest=0.4)
    child = supervision.spec("sink", "print('up', flush=True); raise SystemExit(3)", restart=policy, start_seconds=20)
    supervision.run(supervision.spec("kafka", STAY), child)
    crashes = supervision.until_said("sink", r"crashed: exited with code 3", times=2)
    delays = [float(re.findall(r"restart in ([\d.]+) s", event)[0]) for event in crashes[:2]]
    assert 0.1 <= delays[0] < delays[1] <= 0.4


def test_exit_78_stays_down_with_its_last_words_and_the_rest_keeps_running(supervision: Supervision) -> None:
    code = "import signal\ndef stop(*_):\n print('51 bad records in a row', flush=True)\n raise SystemExit(78)\n"
    code += "signal.signal(signal.SIGUSR1, stop); print('up', flush=True)\nwhile True: signal.pause()"
    supervision.run(supervision.spec("resolve", code), supervision.spec("gateway", STAY))
    before = supervision.until_healthy()
    os.kill(before["resolve"], signal.SIGUSR1)
    [event] = supervision.until_said("resolve", "stays down")
    assert "exit code 78" in event
    assert "51 bad records in a row" in event
    wait_until(lambda: not supervision.told[-1][1], 60, "that is told")
    os.kill(before["gateway"], signal.SIGKILL)
    supervision.until_said("gateway", "healthy", times=2)
    assert set(supervision.supervisor.pids) == {"supervisor", "gateway"}, "still supervised, still without resolve"
    assert supervision.finish() == 0


def test_what_starts_after_a_child_that_stays_down_is_not_started(supervision: Supervision) -> None:
    supervision.run(
        supervision.spec(
            "kafka", "raise SystemExit('no')", restart=RestartPolicy(stays_down=frozenset({1})), probe=bool
        ),
        supervision.spec("sink", STAY, after=["kafka"]),
        supervision.spec("gateway", STAY),
    )
    supervision.until_said("sink", "stays down: it starts after kafka")
    supervision.until_said("gateway", "healthy")
    assert not supervision.supervisor.healthy


def test_stopping_goes_in_reverse_order_and_kills_what_refuses_in_time(
    supervision: Supervision, tmp_path: Path
) -> None:
    supervision.run(
        supervision.spec("kafka", STAY),
        supervision.spec("deaf", REFUSE_TO_STOP, after=["kafka"]),
        supervision.spec("console", STAY, after=["deaf"]),
        stop_seconds=3.0,
    )
    pids = supervision.until_healthy()
    began = time.monotonic()
    assert supervision.finish() == 0
    assert time.monotonic() - began < 3.0
    assert all(is_gone(pids[name]) for name in ("kafka", "deaf", "console"))
    ends = [(name, event.split(":")[0]) for name, event in supervision.said if event.startswith(("stopped", "killed"))]
    assert ends == [("console", "stopped"), ("deaf", "killed"), ("kafka", "stopped")]


def test_a_child_that_never_becomes_healthy_is_named_with_its_last_lines(supervision: Supervision) -> None:
    code = "import signal; print('waiting for a broker at 127.0.0.1:1', flush=True); signal.pause()"
    supervision.run(
        supervision.spec("kafka", STAY),
        supervision.spec("sink", code, after=["kafka"], probe=lambda: False, start_seconds=1.0),
    )
    assert supervision.end() == 1
    [event] = supervision.until_said("supervisor", "cannot start")
    assert "sink is not healthy after 1 s" in event
    assert "waiting for a broker at 127.0.0.1:1" in event
    assert set(supervision.supervisor.pids) == {"supervisor"}, "the healthy ones were stopped too"


def test_a_child_that_dies_before_it_is_healthy_is_not_waited_for_until_the_deadline(
    supervision: Supervision,
) -> None:
    supervision.run(supervision.spec("sink", "raise SystemExit('no such setting')", probe=lambda: False, restart=QUICK))
    assert supervision.end() == 1
    [event] = supervision.until_said("supervisor", "cannot start")
    assert "sink exited with code 1 3 times" in event
    assert "no such setting" in event


def test_a_failing_on_healthy_fails_the_start(supervision: Supervision) -> None:
    def make_topics() -> None:
        raise RuntimeError("not authorised to make topics")

    supervision.run(supervision.spec("kafka", STAY, on_healthy=make_topics))
    assert supervision.end() == 1
    supervision.until_said("supervisor", "kafka is up, but .*not authorised to make topics")


def test_a_long_on_healthy_holds_up_no_stop(supervision: Supervision) -> None:
    asked, given_up = threading.Event(), threading.Event()

    def migrate() -> None:
        asked.set()
        given_up.wait(60)

    supervision.run(
        supervision.spec("clickhouse", STAY, on_healthy=migrate), supervision.spec("sink", STAY, after=["clickhouse"])
    )
    try:
        assert asked.wait(60)
        assert supervision.finish() == 0
    finally:
        given_up.set()
    assert "sink" not in supervision.told[-1][0]


def test_the_http_probe_believes_only_a_good_answer() -> None:
    def serve(status: bytes) -> bool:
        def answer(server: socket.socket) -> None:
            with server.accept()[0] as client:
                client.recv(4096)
                client.sendall(b"HTTP/1.0 " + status + b"\r\n\r\n")

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=answer, args=[server])
            thread.start()
            answered = http_answers(f"http://127.0.0.1:{server.getsockname()[1]}/readyz")()
            thread.join(5)
            return answered

    assert serve(b"200 OK")
    assert not serve(b"503 Service Unavailable")
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()[1]
    assert not http_answers(f"http://127.0.0.1:{nobody}/readyz")()


PROGRAM = f"""
import sys
from pathlib import Path
from thumbstream.local import ready_file
from thumbstream.local.child_spec import ChildSpec
from thumbstream.local.supervisor import Supervisor

directory = Path(sys.argv[1])
file = directory / "ready.json"

def spec(name, code):
    log = directory / (name + ".log")
    return ChildSpec(name=name, argv=[sys.executable, "-c", code], log=log, probe=lambda: log.stat().st_size > 0)

supervisor = Supervisor(
    [spec("polite", {STAY!r}), spec("deaf", {REFUSE_TO_STOP!r})],
    on_change=ready_file.publisher(file, {{}}),
    on_stopping=lambda: ready_file.remove(file),
    stop_seconds=float(sys.argv[2]),
)
sys.exit(supervisor.run())
"""


class Program:
    """A supervisor as a process of its own, with one child that is polite and one that is deaf to SIGTERM."""

    def __init__(self, directory: Path, stop_seconds: float) -> None:
        argv = [sys.executable, "-c", PROGRAM, str(directory), str(stop_seconds)]
        root = Path(__file__).parents[2]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=root)
        self._file = directory / "ready.json"

    def pids(self) -> dict[str, int]:
        """Pids of the ready file; nothing while there is none."""
        try:
            found: dict[str, int] = json.loads(self._file.read_text())["pids"]
        except FileNotFoundError:
            return {}
        return found

    def until_ready(self) -> dict[str, int]:
        return wait_until(self.pids, 60, "the ready file is there")


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Callable[[float], Program]]:
    programs: list[Program] = []

    def run(stop_seconds: float) -> Program:
        programs.append(Program(tmp_path, stop_seconds))
        return programs[-1]

    yield run
    for started in programs:
        started.process.kill()
        started.process.communicate()


def test_a_killed_supervisor_leaves_no_orphan(program: Callable[[float], Program]) -> None:
    supervisor = program(10.0)
    pids = supervisor.until_ready()
    assert pids["supervisor"] == supervisor.process.pid
    assert not is_gone(pids["deaf"])
    supervisor.process.kill()
    wait_until(lambda: is_gone(pids["polite"]) and is_gone(pids["deaf"]), 60, "the children died with it")


@pytest.mark.parametrize(("number", "stop_seconds"), [(signal.SIGTERM, 10.0), (signal.SIGINT, 3.0)])
def test_a_signal_stops_everything_in_time(
    program: Callable[[float], Program], number: signal.Signals, stop_seconds: float
) -> None:
    supervisor = program(stop_seconds)
    pids = supervisor.until_ready()
    supervisor.process.send_signal(number)
    output, _ = supervisor.process.communicate(timeout=stop_seconds)
    assert supervisor.process.returncode == 0
    assert is_gone(pids["polite"])
    assert is_gone(pids["deaf"])
    assert supervisor.pids() == {}, "the ready file is gone"
    assert re.search(r"^\d\d:\d\d:\d\d deaf +killed", output, re.MULTILINE)


def test_the_ready_file_follows_a_restart(program: Callable[[float], Program]) -> None:
    supervisor = program(10.0)
    before = supervisor.until_ready()
    os.kill(before["polite"], signal.SIGKILL)
    wait_until(lambda: supervisor.pids().get("polite", before["polite"]) != before["polite"], 60, "a new pid")
    assert supervisor.pids()["deaf"] == before["deaf"]
