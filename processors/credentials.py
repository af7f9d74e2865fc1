"""How Faust logs in: the Kafka settings that our other clients take as they are, translated for its own client."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

from faust import SASLCredentials, SSLCredentials
from faust.auth import Credentials

_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_UNTRANSLATED = (
    "sasl.oauthbearer", "sasl.kerberos", "ssl.keystore", "ssl.ca.pem", "ssl.certificate.pem", "ssl.key.pem",
)  # fmt: skip


def credentials(settings: Mapping[str, str]) -> Credentials | None:
    """What `security.protocol`, `sasl.*` and `ssl.*` of librdkafka mean; None for a plain connection.

    ValueError names a setting that has no counterpart, OSError a file that cannot be read.
    """
    protocol = settings.get("security.protocol", "plaintext").upper()
    if protocol == "PLAINTEXT":
        return None
    for name in settings:
        if name.startswith(_UNTRANSLATED):
            raise ValueError(f"{name}: workers cannot log in like that; use sasl.username or ssl.*.location")
    context = _context(settings) if protocol.endswith("SSL") else None
    if protocol == "SSL":
        return SSLCredentials(context)
    if protocol not in ("SASL_PLAINTEXT", "SASL_SSL"):
        raise ValueError(f"security.protocol: {protocol} is none that Kafka has")
    return SASLCredentials(
        username=settings.get("sasl.username"),
        password=settings.get("sasl.password"),
        mechanism=_mechanism(settings),
        ssl_context=context,
    )


def _mechanism(settings: Mapping[str, str]) -> str:
    chosen = settings.get("sasl.mechanism", settings.get("sasl.mechanisms", "")).upper()
    if chosen not in _MECHANISMS:
        raise ValueError(f"sasl.mechanism: workers can use {', '.join(_MECHANISMS)}, not {chosen or 'none'}")
    return chosen


def _context(settings: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.get("ssl.ca.location"))
    if settings.get("ssl.endpoint.identification.algorithm", "https") == "none":
        context.check_hostname = False
    if certificate := settings.get("ssl.certificate.location"):
        context.load_cert_chain(certificate, settings.get("ssl.key.location"), settings.get("ssl.key.password"))
    return context
