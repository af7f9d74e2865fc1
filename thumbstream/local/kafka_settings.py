"""What an embedded broker is told: the text of its files and command line. Pure: nothing here touches a disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
_REPLICAS = 3
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Node:
    """One broker, which is also a KRaft controller; `id` counts from 1, everything it owns is in `directory`."""

    id: int
    port: int
    controller_port: int
    directory: Path

    @property
    def name(self) -> str:
        return f"kafka-{self.id}"

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def log(self) -> Path:
        """Everything the broker prints."""
        return self.directory / "broker.log"

    @property
    def properties(self) -> Path:
        return self.directory / "server.properties"

    @property
    def logging(self) -> Path:
        return self.directory / "log4j2.properties"


def broker_properties(node: Node, nodes: Sequence[Node]) -> str:
    """Text of `server.properties` for `node` of a cluster of `nodes` (one, or three and more)."""
    replicated = len(nodes) >= _REPLICAS
    replicas, in_sync = (_REPLICAS, 2) if replicated else (1, 1)
    settings = {
        "process.roles": "broker,controller",
        "node.id": node.id,
        "controller.quorum.voters": ",".join(f"{n.id}@{LOOPBACK}:{n.controller_port}" for n in nodes),
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://{LOOPBACK}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{node.address}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": node.directory / "log",
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        "group.initial.rebalance.delay.ms": 0,
        # A killed broker may not come back before its old session has ended: 12 s with Kafka's 9 s. A broker alone
        # risks nothing with a shorter one, as nobody could take over from it.
        "broker.session.timeout.ms": 4_000 if replicated else 2_000,
        "broker.heartbeat.interval.ms": 1_000 if replicated else 500,
        # The cleaner takes its buffer from the heap at start, and stops for good when a segment has more records
        # than fit in it (24 bytes each): small segments go with a small buffer.
        "log.cleaner.dedupe.buffer.size": 48 * _MIB,
        "log.segment.bytes": 128 * _MIB,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def logging_properties() -> str:
    """Text of the log4j2 file: warnings and errors, plus the few lines that tell a start from a stop."""
    return """\
status=error
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %m (%c{1})%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
logger.start.name=org.apache.kafka.common.utils.AppInfoParser
logger.start.level=error
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=info
"""


def java_command(
    java: Path, jars: Sequence[Path], main_class: str, heap_mib: int, logging: Path, options: Sequence[str] = ()
) -> list[str]:
    """Command line of one JVM running `main_class`, without that class's own arguments; `heap_mib` bounds its heap.

    `options` are further ones for the JVM.
    """
    return [
        str(java),
        "-Xms64m",
        f"-Xmx{heap_mib}m",
        "-XX:TieredStopAtLevel=1",  # C1 only: half the start time, and nobody runs for days here
        "-XX:+UseSerialGC",
        "-XX:+ExitOnOutOfMemoryError",  # a dead broker is restarted, a wounded one is not noticed
        *options,
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={logging}",
        "-cp",
        ":".join(str(jar) for jar in jars),
        main_class,
    ]
