"""The system under test: `thumbstream up` with three brokers, and a second process of every stage beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.chaos.stack.plan import TENANTS, StackPlan
from tests.polling import wait_until
from tests.system.conftest import Running, is_up
from thumbstream.local import children, ports
from thumbstream.local.stack import environment
from thumbstream.settings import Settings

_VERBS = {
    "gateway": ("gateway",),
    "resolve": ("worker", "resolve"),
    "watch": ("worker", "watch"),
    "sink": ("sink",),
}
_SKEWED = Path(__file__).parent / "skewed"
_START_SECONDS = 180.0
_STAYS_DOWN = 78
_BROKERS = 3


@dataclass(slots=True)
class Own:
    """A process that the run started itself. `wanted` ones come back when they die; guests do not."""

    name: str
    role: str
    process: subprocess.Popen[bytes]
    log: Path
    wanted: bool = True


class Fleet:
    """Starts everything and keeps it up. `complaints` lists what no fault may cause."""

    def __init__(self, plan: StackPlan, say: Callable[[str], None]) -> None:
        self.plan, self.say = plan, say
        self.counted: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.gateway_port = ports.free_ports(1)[0]
        self.keys: dict[str, str] = {}
        self._own: dict[str, Own] = {}
        self._started = 0
        self._seen = 0  # bytes of the supervisor's log that were read

    def start(self) -> None:
        """Bring everything up; raises when it does not come."""
        directory = self.plan.directory
        command = [sys.executable, "-m", "thumbstream", "up", "--data-dir", str(directory), "--ports", "auto"]
        with (directory / "up.log").open("wb") as log:
            self.up = Running(
                subprocess.Popen([*command, "--brokers", str(_BROKERS)], stdout=log, stderr=log), directory
            )
        wait_until(lambda: is_up(self.up), _START_SECONDS, f"`up` is healthy; see {directory}/up.log")
        self.ready = self.up.ready
        self.keys = {tenant: self.up.key(tenant) for tenant in TENANTS}
        self.admin = AdminClient({"bootstrap.servers": self.ready["kafka_bootstrap"], "log_level": 0})
        for role in _VERBS:
            self._spawn(f"{role}-own", role)

    @property
    def gateways(self) -> tuple[int, int]:
        """Ports of both."""
        return int(self.ready["gateway_url"].rpartition(":")[2]), self.gateway_port

    def pids(self, role: str) -> dict[str, int]:
        """Name -> pid of the running processes of a role: a stage, `kafka` or `clickhouse`."""
        supervised = {name: pid for name, pid in self.up.ready["pids"].items() if name.partition("-")[0] == role}
        own = {
            own.name: own.process.pid for own in self._own.values() if own.role == role and own.process.poll() is None
        }
        return {name: pid for name, pid in {**supervised, **own}.items() if psutil.pid_exists(pid)}

    def attend(self) -> None:
        """Start again what died, and note what should not have happened."""
        for own in list(self._own.values()):
            if (code := own.process.poll()) is not None:
                self._ended(own, code)
        self._read_supervisor()
        if (code := self.up.process.poll()) is not None:
            raise RuntimeError(f"`up` ended with {code}")

    def invite(self, role: str) -> str:
        """Start a third process of a role; its name."""
        self._started += 1
        return self._spawn(f"{role}-guest-{self._started}", role, wanted=False).name

    def signal(self, pid: int, number: signal.Signals) -> bool:
        """False when the process has gone meanwhile."""
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

    def whole(self) -> bool:
        """True when all brokers are up and every partition has all its replicas in sync."""
        try:
            known = self.admin.list_topics(timeout=3)
        except KafkaException:
            return False
        partitions = [partition for topic in known.topics.values() for partition in topic.partitions.values()]
        return len(known.brokers) == _BROKERS and all(len(partition.isrs) == _BROKERS for partition in partitions)

    def controller(self) -> str:
        """Name of the broker that is the controller."""
        return f"kafka-{self.admin.describe_cluster(request_timeout=5).result().controller.id}"

    def leader(self, topic: str, partition: int) -> str:
        """Name of the broker that leads a partition."""
        return f"kafka-{self.admin.list_topics(topic, timeout=5).topics[topic].partitions[partition].leader}"

    def complete(self) -> bool:
        """True when everything that belongs to the system runs and says that it is ready."""
        roles = [own.role for own in self._own.values() if own.wanted and own.process.poll() is None]
        return bool(self.up.ready["healthy"]) and sorted(roles) == sorted(_VERBS) and self.whole()

    def stop(self) -> None:
        """End everything."""
        for own in self._own.values():
            children.stop(own.process, grace_seconds=8)
        for pid in self.up.ready["pids"].values() if self.up.process.poll() is None else ():
            self.signal(pid, signal.SIGCONT)
        self.up.process.terminate()
        try:
            self.up.process.wait(40)
        except subprocess.TimeoutExpired:
            self.complaints.append("`up` does not end after SIGTERM")
            self.up.process.kill()

    def _spawn(self, name: str, role: str, *, wanted: bool = True) -> Own:
        log = self.plan.directory / "logs" / f"{name}.log"
        port = self.gateway_port if role == "gateway" and wanted else ports.free_ports(1)[0]
        argv = [sys.executable, "-m", "thumbstream", *_VERBS[role]]
        process = children.spawn(argv, log, self._environment(role, port), Path(__file__).parents[3])
        self._own[name] = Own(name, role, process, log, wanted)
        self.counted[f"starts of {role} by the run"] += 1
        self.say(f"start {name}")
        return self._own[name]

    def _environment(self, role: str, port: int) -> dict[str, str]:
        login = self.ready["clickhouse_admin"]
        settings = Settings(
            kafka_bootstrap_servers=self.ready["kafka_bootstrap"],
            replication=_BROKERS,
            clickhouse_url=self.ready["clickhouse_url"],
            clickhouse_user=login["user"],
            clickhouse_password=login["password"],
            clickhouse_database=login["database"],
            gateway_port=port,
            keys_file=self.plan.directory / "keys.toml",
            data_dir=self.plan.directory / "own",
            health_port=0 if role == "gateway" else port,
        )
        if role != "gateway":
            return environment(settings)
        self._started += 1
        skew = (7_200, -7_200)[self._started % 2]  # a new wrong clock at every start
        return {**environment(settings), "PYTHONPATH": str(_SKEWED), "SKEW_SECONDS": str(skew)}

    def _ended(self, own: Own, code: int) -> None:
        del self._own[own.name]
        self.counted[f"exits of {own.role} with {code}"] += 1
        self.say(f"{own.name} ended with {code}: {children.last_lines(own.log, 1)[:200]}")
        if code == _STAYS_DOWN:
            self.complaints.append(f"{own.name} gave up for good: {children.last_lines(own.log, 3)}")
        elif own.wanted:
            self._spawn(own.name, own.role)

    def _read_supervisor(self) -> None:
        """What the supervisor said since the last look: restarts are counted, giving up is a complaint."""
        with (self.plan.directory / "up.log").open("rb") as log:
            log.seek(self._seen)
            said = log.read()
        whole = said[: said.rfind(b"\n") + 1]
        self._seen += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            words = line.split()
            if "stays down" in line:
                self.complaints.append(line)
            if len(words) > 3 and words[2] == "crashed:":
                self.counted[f"restarts of {words[1]} by the supervisor"] += 1
                self.counted[f"{words[1].partition('-')[0]} {' '.join(words[3:]).partition(',')[0]}"] += 1


def wait_complete(fleet: Fleet, seconds: float = 120.0) -> None:
    """Attend until everything is there again."""
    deadline = time.monotonic() + seconds
    while not fleet.complete():
        fleet.attend()
        if time.monotonic() > deadline:
            fleet.complaints.append("the system does not become complete again")
            return
        time.sleep(0.3)
