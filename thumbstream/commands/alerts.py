"""`thumbstream alerts list` and `show`: open alerts and history from ClickHouse, with what people said meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.events import PROMOTED
from thumbstream.commands.sql import ask, login
from thumbstream.dead_letters import visible
from thumbstream.settings import Settings

Row = dict[str, Any]
_COLUMNS = (
    "status",
    "severity",
    "monitor",
    "tenant_id",
    "group",
    "rate",
    "negative",
    "total",
    "started_at",
    "ended_at",
)
_REASONS = 10
_LIST = """
SELECT * FROM {view} WHERE ({{tenant:String}} = '' OR tenant_id = {{tenant:String}})
  AND ({{monitor:String}} = '' OR monitor = {{monitor:String}})
ORDER BY started_at DESC, tenant_id, monitor LIMIT {{limit:UInt32}}
"""
_TRANSITIONS = """
SELECT * FROM alert_transitions WHERE fingerprint = {fingerprint:String}
  AND ({started:Int64} = 0 OR started_at = fromUnixTimestamp64Milli({started:Int64}, 'UTC'))
ORDER BY started_at DESC, sequence DESC LIMIT 1000
"""
_VOTES = """
FROM current_votes WHERE tenant_id = {tenant:String} AND polarity = -1 AND signal != 'implicit'
  AND voted_at >= fromUnixTimestamp64Milli({since:Int64}, 'UTC')
  AND voted_at < fromUnixTimestamp64Milli({until:Int64}, 'UTC')
"""
_EXAMPLES = "SELECT request_id, voted_at, comment, reasons, user_id, model, prompt_id, prompt_version" + _VOTES
_FREQUENT = "SELECT arrayJoin(reasons) AS reason, count() AS votes" + _VOTES


class Views:
    """The analysts' views."""

    def __init__(self, settings: Settings, ready_file: Path | None) -> None:
        self._where = login(settings, ready_file)

    def rows(self, query: str, **parameters: Any) -> list[Row]:
        """Rows as dictionaries. ClickException when ClickHouse refuses."""
        names, rows = ask(query, *self._where, parameters=parameters)
        return [dict(zip(names, row, strict=True)) for row in rows]


def show_list(
    settings: Settings,
    ready_file: Path | None,
    tenant: str | None,
    monitor: str | None,
    limit: int,
    *,
    closed: bool,
    as_json: bool,
) -> None:
    """Print one line an alert, the newest first."""
    query = _LIST.format(view="alert_history" if closed else "alerts_open")
    found = Views(settings, ready_file).rows(query, tenant=tenant or "", monitor=monitor or "", limit=limit)
    if as_json:
        for row in found:
            _print_json(row)
        return
    Console().print(_table(found, [name for name in _COLUMNS if closed or name not in ("status", "ended_at")]))
    click.echo(f"{len(found)} {'alerts' if closed else 'open alerts'}")


def show(settings: Settings, ready_file: Path | None, name: str, examples: int, *, as_json: bool) -> None:
    """Print an alert's newest episode, or the one that an alert id is of. ClickException when there is none."""
    views = Views(settings, ready_file)
    whole = details(views, name, examples)
    if as_json:
        _print_json(whole)
        return
    for line in _page(whole):
        click.echo(visible(line))


def details(views: Views, name: str, examples: int) -> Row:
    """Transitions of one episode, with examples of negative votes and frequent reasons from the window that fired."""
    fingerprint, started = _named(name)
    found = views.rows(_TRANSITIONS, fingerprint=fingerprint, started=started)
    if not found:
        raise click.ClickException(f"no alert {name}")
    episode = [row for row in found if row["started_at"] == found[0]["started_at"]]
    fired, last = episode[-1], episode[0]
    condition, parameters = _place(fired)
    until = int(_utc(fired["evaluated_at"]).timestamp() * 1000)
    times = {"since": until - fired["window_minutes"] * 60_000, "until": until}
    chosen = {"tenant": fired["tenant_id"], **times, **parameters}
    votes = views.rows(f"{_EXAMPLES}{condition} ORDER BY voted_at DESC LIMIT {examples}", **chosen)
    reasons = views.rows(
        f"{_FREQUENT}{condition} GROUP BY reason ORDER BY votes DESC, reason LIMIT {_REASONS}", **chosen
    )
    return {
        **last,
        "evidence": {key: fired[key] for key in _EVIDENCE},
        "transitions": [{key: row[key] for key in ("alert_id", "status", "evaluated_at", "reason")} for row in episode],
        "examples": votes,
        "reasons": reasons,
    }


_EVIDENCE = ("window_minutes", "negative", "total", "rate", "lower_bound", "threshold", "top_user_share")


def _named(name: str) -> tuple[str, int]:
    """(fingerprint, begin of the episode in epoch ms or 0) of a fingerprint or an alert id."""
    fingerprint, _, rest = name.partition(":")
    started = rest.partition(":")[0]
    return fingerprint, int(started) if started.isdecimal() else 0


def _place(alert: Row) -> tuple[str, dict[str, Any]]:
    """The condition that a vote is of the alert's group, and its parameters. Values never become part of the text."""
    condition, parameters = "", dict[str, Any]()
    for number, (name, value) in enumerate(sorted(alert["group"].items())):
        column = name if name in PROMOTED else f"metadata[{{name_{number}:String}}]"
        condition += f" AND {column} = {{value_{number}:String}}"
        parameters |= {f"name_{number}": name, f"value_{number}": value}
    return condition, parameters


def _page(whole: Row) -> Iterator[str]:
    seen = whole["evidence"]
    yield f"{whole['monitor']} ({whole['kind']}, {whole['severity']}): {whole['status']}"
    yield f"  alert     {whole['alert_id']}"
    yield f"  tenant    {whole['tenant_id']}"
    yield f"  group     {_group(whole['group'])}"
    yield f"  since     {_text(whole['started_at'])}" + (
        f" until {_text(whole['ended_at'])}" if whole["ended_at"] else ""
    )
    share = "" if seen["top_user_share"] is None else f", most negative user {seen['top_user_share']:.0%}"
    yield (
        f"  evidence  {seen['negative']} of {seen['total']} votes in {seen['window_minutes']} min negative"
        f" ({seen['rate']:.1%}, at least {seen['lower_bound']:.1%}; threshold {seen['threshold']:.1%}{share})"
    )
    for each in reversed(whole["transitions"]):
        yield f"  {_text(each['evaluated_at'])}  {each['status']}: {each['reason']}"
    yield "Frequent reasons: " + (
        ", ".join(f"{each['reason']} ({each['votes']})" for each in whole["reasons"]) or "none"
    )
    yield f"Negative votes in the window that fired, {len(whole['examples'])} of them:"
    for vote in whole["examples"]:
        yield f"  {_text(vote['voted_at'])}  {vote['request_id']}  {vote['comment'] or '-'}"


def _table(rows: list[Row], columns: list[str]) -> Table:
    shown = Table()
    for name in (*columns, "fingerprint"):
        shown.add_column(name, no_wrap=name == "fingerprint", overflow="fold")
    for row in rows:
        shown.add_row(*(Text(visible(_cell(row[name]))) for name in (*columns, "fingerprint")))
    return shown


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return _group(value)
    return f"{value:.3f}" if isinstance(value, float) else _text(value)


def _group(group: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in group.items()) or "(whole tenant)"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return (
        _utc(value).isoformat(timespec="seconds").replace("+00:00", "Z") if isinstance(value, datetime) else str(value)
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _print_json(row: Row) -> None:
    click.echo(visible(json.dumps(row, default=_plain, ensure_ascii=False)))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return _utc(value).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return list(value)
