"""`thumbstream gateway`: keys, producer and HTTP server, composed."""

from __future__ import annotations

from producers.gateway import create_app
from producers.keys import Keys, KeysError
from producers.publisher import KafkaPublisher
from producers.server import serve
from thumbstream.settings import Settings
from thumbstream.telemetry import EXIT_STOP, Metrics, die


def run(settings: Settings) -> None:
    """Serve until stopped. Exits with EXIT_STOP when no keys can be read: nobody could send anything."""
    if settings.keys_file is None:
        die("THUMBSTREAM_KEYS_FILE is not set (make a key with `thumbstream keys create`)", code=EXIT_STOP)
    try:
        keys = Keys(settings.keys_file)
    except KeysError as error:
        die(str(error), code=EXIT_STOP)
    metrics = Metrics()
    publisher = KafkaPublisher(settings.kafka_bootstrap_servers, settings.topics.events, metrics, extra=settings.kafka)
    serve(create_app(publisher, keys, metrics, rules=settings.tenant), settings.gateway_host, settings.gateway_port)
