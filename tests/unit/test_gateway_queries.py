"""What the gateway's settings mean for queries: a login that reads, or a reason why there is none."""

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from thumbstream.commands.gateway import query_reader
from thumbstream.settings import Settings


def test_with_an_address_there_is_a_reader() -> None:
    reader, _ = query_reader(Settings(clickhouse_url="http://store:8123"))
    assert reader is not None
    asyncio.run(reader.close())


@pytest.mark.parametrize(
    ("url", "reason", "logged"),
    [
        ("", "queries are not set up here: THUMBSTREAM_CLICKHOUSE_URL is empty", []),
        ("store", "queries are not set up here: the settings of ClickHouse cannot be used", ["queries_off"]),
    ],
)
def test_without_a_usable_address_there_is_a_reason(url: str, reason: str, logged: list[str]) -> None:
    with capture_logs() as logs:
        assert query_reader(replace(Settings(), clickhouse_url=url)) == (None, reason)
    assert [entry["event"] for entry in logs] == logged
