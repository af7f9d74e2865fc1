"""What the Kafka settings of the other clients mean for Faust."""

import ssl
from pathlib import Path

import pytest
import trustme
from faust import SASLCredentials, SSLCredentials

from processors.credentials import credentials

LOGIN = {"sasl.username": "worker", "sasl.password": "secret"}


def test_without_a_protocol_the_connection_is_plain() -> None:
    assert credentials({"socket.keepalive.enable": "true"}) is None


@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "scram-sha-512"])
def test_a_login_is_carried_over(name: str, mechanism: str) -> None:
    found = credentials({"security.protocol": "sasl_plaintext", name: mechanism, **LOGIN})
    assert isinstance(found, SASLCredentials)
    assert (found.username, found.password, found.mechanism.value) == ("worker", "secret", mechanism.upper())
    assert found.protocol.value == "SASL_PLAINTEXT"
    assert "secret" not in repr(found)


def test_a_login_over_tls_checks_the_broker(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
    settings = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "ssl.ca.location": str(tmp_path / "ca.pem")}
    found = credentials({**settings, **LOGIN})
    assert isinstance(found, SASLCredentials)
    assert found.protocol.value == "SASL_SSL"
    assert found.ssl_context is not None
    assert (found.ssl_context.verify_mode, found.ssl_context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(found.ssl_context.get_ca_certs()) == 1


def test_the_name_of_the_broker_goes_unchecked_only_on_request() -> None:
    found = credentials({"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "none"})
    assert isinstance(found, SSLCredentials)
    assert (found.context.verify_mode, found.context.check_hostname) == (ssl.CERT_REQUIRED, False)


def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    certificate = trustme.CA().issue_cert("worker.example")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    assert credentials({"security.protocol": "SSL", "ssl.certificate.location": str(tmp_path / "both.pem")}) is not None


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}, "sasl.mechanism"),
        ({"security.protocol": "SASL_PLAINTEXT"}, "sasl.mechanism"),
        ({"security.protocol": "quantum"}, "security.protocol"),
        ({"security.protocol": "SSL", "ssl.keystore.location": "keys.p12"}, "ssl.keystore.location"),
        ({"security.protocol": "SASL_SSL", "sasl.oauthbearer.config": "x"}, "sasl.oauthbearer.config"),
    ],
)
def test_what_has_no_counterpart_is_named(settings: dict[str, str], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        credentials(settings)


def test_a_file_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        credentials({"security.protocol": "SSL", "ssl.ca.location": "/nowhere.pem"})
