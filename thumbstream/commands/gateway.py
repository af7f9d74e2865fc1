"""`thumbstream gateway`: keys, producer, query endpoints and HTTP server, composed."""

from __future__ import annotations

from producers.access import Protection, Tokens
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

_NO_STORE = "queries are not set up here: THUMBSTREAM_CLICKHOUSE_URL is empty"


def run(settings: Settings) -> None:
    """Serve until stopped. Exits with EXIT_STOP when no keys can be read: nobody could send anything."""
    if settings.keys_file is None:
        die("THUMBSTREAM_KEYS_FILE is not set (make a key with `thumbstream keys create`)", code=EXIT_STOP)
    try:
        keys = Keys(settings.keys_file)
        protection = protect(settings, keys)
    except (KeysError, TokenKeysError) as error:
        die(str(error), code=EXIT_STOP)
    metrics = Metrics()
    publisher = KafkaPublisher(settings.kafka_bootstrap_servers, settings.topics.events, metrics, extra=settings.kafka)
    reader = query_reader(settings)
    queries = HeliconeQueries(keys, metrics, Statements(settings.clickhouse_views), reader, missing=_NO_STORE)
    app = create_app(
        publisher,
        keys,
        metrics,
        more=queries.routes(),
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


def query_reader(settings: Settings) -> ClickHouseReader | None:
    """Who answers queries: the analysts' login, which may read views and nothing else. None without a ClickHouse."""
    if not settings.clickhouse_url:
        return None
    login = settings.clickhouse_analyst_user, settings.clickhouse_analyst_password
    return ClickHouseReader(Account(settings.clickhouse_url, *login, settings.clickhouse))
