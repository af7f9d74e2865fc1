"""`thumbstream gateway`: keys, producer, query endpoints and HTTP server, composed."""

from __future__ import annotations

import structlog

from producers import feedback_ids
from producers.access import Protection, Tokens
from producers.feedback_ids import FeedbackIds, SecretsError, SecretsFile
from producers.gateway import create_app
from producers.keys import Keys, KeysError
from producers.publisher import KafkaPublisher
from producers.server import serve
from producers.token_keys import TokenKeys, TokenKeysError
from thumbstream.console.clickhouse_reader import Account, ClickHouseReader
from thumbstream.console.helicone_queries import HeliconeQueries
from thumbstream.console.request_statements import Statements
from thumbstream.settings import Settings
from thumbstream.telemetry import EXIT_STOP, Metrics, die
from thumbstream.widget import page

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    """Serve until stopped. Exits with EXIT_STOP when no keys, or no secrets of feedback ids, can be read."""
    if settings.keys_file is None:
        die("THUMBSTREAM_KEYS_FILE is not set (make a key with `thumbstream keys create`)", code=EXIT_STOP)
    try:
        keys = Keys(settings.keys_file)
        protection = protect(settings, keys)
        secrets = SecretsFile(settings.feedback_ids_file or settings.keys_file.parent / feedback_ids.NAME)
    except (KeysError, TokenKeysError, SecretsError) as error:
        die(str(error), code=EXIT_STOP)
    metrics = Metrics()
    publisher = KafkaPublisher(settings.kafka_bootstrap_servers, settings.topics.events, metrics, extra=settings.kafka)
    reader, missing = query_reader(settings)
    statements = Statements(settings.clickhouse_views)
    queries = HeliconeQueries(keys, metrics, statements, reader, missing=missing, protection=protection)
    app = create_app(
        publisher,
        keys,
        metrics,
        feedback_ids=FeedbackIds(secrets),
        more=[*queries.routes(), *page.routes()],
        closing=[reader.close] if reader else [],
        rules=settings.tenant,
        protection=protection,
    )
    serve(app, settings.gateway_host, settings.gateway_port)


def protect(settings: Settings, keys: Keys) -> Protection:
    """Tokens, origins and limits as the settings say. Raises TokenKeysError."""
    file = settings.token_keys_file
    return Protection(
        tokens=None if file is None else Tokens(TokenKeys(file), keys),
        key_origins=keys.lets_in,
        page_origins=settings.page_origins,
        per_key=settings.limit_per_key,
        per_token=settings.limit_per_token,
        per_address=settings.limit_per_address,
        proxies=settings.trusted_proxies,
    )


def query_reader(settings: Settings) -> tuple[ClickHouseReader | None, str]:
    """Who answers queries: the analysts' login, which may read views and nothing else. Or nobody, and why.

    Votes are taken in any case, so settings that cannot be used are told to whoever asks, and to the log.
    """
    if not settings.clickhouse_url:
        return None, "queries are not set up here: THUMBSTREAM_CLICKHOUSE_URL is empty"
    login = settings.clickhouse_analyst_user, settings.clickhouse_analyst_password
    try:
        return ClickHouseReader(Account(settings.clickhouse_url, *login, settings.clickhouse)), ""
    except ValueError as error:
        _log.error("queries_off", problem=str(error))
        return None, "queries are not set up here: the settings of ClickHouse cannot be used"
