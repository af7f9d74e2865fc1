"""A Kafka that asks for TLS and a login: every stage gets in with the same `[kafka]` settings, and nobody without."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
from confluent_kafka import KafkaException
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from producers.publisher import KafkaPublisher
from schemas.events import FeedbackEvent, ResolvedFeedback
from tests.chaos.stage import Stage, stage
from tests.polling import wait_until
from thumbstream import topic_admin
from thumbstream.local import kafka
from thumbstream.local.ports import free_ports
from thumbstream.telemetry import EXIT_STOP, Metrics

pytestmark = pytest.mark.integration
LOGIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_worker="secret";'


def _key_store(certificate: trustme.LeafCert) -> bytes:
    """Key and certificates in PEM; Java reads keys in PKCS#8 only."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return text + b"".join(blob.bytes() for blob in certificate.cert_chain_pems)


class SecureBroker:
    """An embedded broker with a second listener, which wants TLS and a password."""

    def __init__(self, directory: Path) -> None:
        (port,) = free_ports(1)
        authority = trustme.CA()
        authority.cert_pem.write_to_path(directory / "ca.pem")
        (directory / "broker.pem").write_bytes(_key_store(authority.issue_cert("127.0.0.1")))
        self.address = f"127.0.0.1:{port}"
        self.settings = {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": "worker",
            "sasl.password": "secret",
            "ssl.ca.location": str(directory / "ca.pem"),
        }
        plan = kafka.prepare(directory / "kafka")
        node = plan.nodes[0]
        text = node.properties.read_text()
        for name in ("listeners", "advertised.listeners"):
            text = text.replace(f"\n{name}=", f"\n{name}=SECURE://{self.address},")
        text = text.replace("protocol.map=", "protocol.map=SECURE:SASL_SSL,")
        more = {
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.secure.plain.sasl.jaas.config": LOGIN,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": directory / "broker.pem",
        }
        node.properties.write_text(text + "".join(f"{name}={value}\n" for name, value in more.items()))
        self.cluster = kafka.Cluster(plan)
        self.cluster.launch(node.id)
        self.cluster.wait_ready(node.id, 60)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    made = SecureBroker(tmp_path_factory.mktemp("secure"))
    yield made
    made.cluster.stop(grace_seconds=3)


@pytest.fixture
def place(broker: SecureBroker, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Stage]:
    with stage(broker.cluster.bootstrap, unique("secure"), tmp_path) as made:
        yield made


def configure(monkeypatch: pytest.MonkeyPatch, directory: Path, settings: dict[str, str]) -> None:
    """What the child processes find as their settings file."""
    lines = ["[kafka]", *(f'"{name}" = "{value}"' for name, value in settings.items())]
    (directory / "thumbstream.toml").write_text("\n".join(lines))
    monkeypatch.setenv("THUMBSTREAM_CONFIG", str(directory / "thumbstream.toml"))


def test_votes_flow_over_tls_with_a_login(
    broker: SecureBroker, place: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, tmp_path, broker.settings)
    topic_admin.create(topic_admin.client(broker.address, broker.settings), place.topics, 1)

    async def publish() -> list[str | None]:
        publisher = KafkaPublisher(broker.address, place.topics.events, Metrics(), extra=broker.settings)
        try:
            return list(await publisher.publish([FeedbackEvent("acme", "r1", "e1", "vote", rating=True)]))
        finally:
            await publisher.close()

    assert asyncio.run(publish()) == [None]
    workers = [replace(place, bootstrap=broker.address).ready_worker(role) for role in ("resolve", "watch")]
    wait_until(lambda: place.found(place.topics.latest, ResolvedFeedback), 60, "the vote is resolved")
    for worker in workers:
        assert "secret" not in worker.said
        assert worker.terminate() == 0


def test_a_wrong_password_opens_nothing(broker: SecureBroker, place: Stage) -> None:
    admin = topic_admin.client(broker.address, {**broker.settings, "sasl.password": "wrong"})
    with pytest.raises((KafkaException, TimeoutError)):
        topic_admin.wait_for(admin, [place.topics.events.name], 5)


def test_a_worker_names_the_setting_that_it_cannot_use(
    broker: SecureBroker, place: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.create()
    configure(monkeypatch, tmp_path, {**broker.settings, "sasl.kerberos.service.name": "kafka"})
    worker = replace(place, bootstrap=broker.address).worker("resolve")
    assert worker.exit_code() == EXIT_STOP
    assert "sasl.kerberos.service.name" in worker.said
