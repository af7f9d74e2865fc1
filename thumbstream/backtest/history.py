"""Where the votes of the past come from: a file, read as `thumbstream load` reads it, or ClickHouse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import clickhouse_connect
from clickhouse_connect.driver.exceptions import ClickHouseError

from processors.merge import merge
from producers.validation import RefusedError, parse_event
from schemas.events import PROMOTED, FeedbackEvent, ResolvedFeedback
from thumbstream.backtest.tallies import Tally, tally
from thumbstream.load_files import events, form_of, open_text
from thumbstream.load_records import Plan, RecordError

_FOREVER = 1 << 62  # an append time at which no client's clock is ahead


@dataclass(slots=True)
class Votes:
    """Tallies in the order of minutes, and how many records were no events, by reason word."""

    tallies: list[Tally]
    refused: dict[str, int] = field(default_factory=dict)


def from_file(file: Path, form: str | None, plan: Plan, tenant: str) -> Votes:
    """The standing votes of a file: the latest of each request, taken back ones left out."""
    votes, rows = Votes([]), dict[str, ResolvedFeedback]()
    with open_text(file) as source:
        for number, line in events(source, form_of(file, form), plan):
            try:
                _fold(rows, _event(line, tenant), number)
            except (RecordError, RefusedError) as error:
                word = error.violation.reason if isinstance(error, RefusedError) else str(error).partition(":")[0]
                votes.refused[word] = votes.refused.get(word, 0) + 1
    votes.tallies = sorted(found for row in rows.values() if (found := tally(row)) is not None)
    return votes


def _event(line: dict[str, Any] | RecordError, tenant: str) -> FeedbackEvent:
    if isinstance(line, RecordError):
        raise line
    return parse_event(line, tenant_id=tenant, source="backtest", new_id=lambda: "", received_at=None)


def _fold(rows: dict[str, ResolvedFeedback], event: FeedbackEvent, version: int) -> None:
    row = merge(rows.get(event.request_id), event, version, _FOREVER)
    if row is not None:
        rows[event.request_id] = row


Login = tuple[str, str, str, str]  # address, user, password, database

_QUERY = """SELECT intDiv(toUnixTimestamp(voted_at), 60) AS minute, tenant_id, {values}, user_id,
  countIf(polarity < 0) AS negative, countIf(polarity > 0) AS positive
FROM current_votes
WHERE signal = 'explicit' AND polarity != 0 {tenant}
  AND voted_at >= fromUnixTimestamp({since}) AND voted_at < fromUnixTimestamp({until})
GROUP BY ALL ORDER BY ALL"""


def from_clickhouse(login: Login, tenant: str | None, since: int, until: int) -> Votes:
    """The standing votes from `since` to `until` (epoch ms), of one tenant or of all. ClickException."""
    return Votes(list(_asked(login, tenant, since // 1000, until // 1000)))


def _asked(login: Login, tenant: str | None, since: int, until: int) -> Iterator[Tally]:
    clause = "AND tenant_id = {tenant:String}" if tenant else ""
    query = _QUERY.format(values=", ".join(PROMOTED), since=since, until=until, tenant=clause)
    url, user, password, database = login
    try:
        with (
            closing(
                clickhouse_connect.get_client(
                    dsn=url, username=user, password=password, database=database, autogenerate_session_id=False
                )
            ) as client,
            client.query_rows_stream(query, parameters={"tenant": tenant or ""}) as rows,
        ):
            yield from map(_tally, rows)
    except ClickHouseError as error:
        raise click.ClickException(str(error)) from error


def _tally(row: Iterable[Any]) -> Tally:
    minute, tenant, *rest = row
    *values, user, negative, positive = rest
    return Tally(minute, tenant, tuple(values), user, negative, positive)
