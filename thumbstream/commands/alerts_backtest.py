"""`thumbstream alerts backtest`: what would these monitors have said of the votes that are there?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from processors.minutes import Group, rollup_of
from processors.monitors import Monitor
from schemas.events import Alert
from thumbstream import monitors_file
from thumbstream.backtest import picture
from thumbstream.backtest.history import Votes, from_clickhouse, from_file
from thumbstream.backtest.incidents import Detection, Incident, IncidentError, detections, inject
from thumbstream.backtest.incidents import parse as parse_incident
from thumbstream.backtest.run import backtest
from thumbstream.backtest.series import series, width_for
from thumbstream.backtest.summary import Episode, Line, episodes, lines
from thumbstream.backtest.tallies import MINUTE, Tally
from thumbstream.commands.audit import moment
from thumbstream.commands.load import pairs
from thumbstream.commands.sql import login
from thumbstream.load_records import Plan
from thumbstream.settings import Settings

CLICKHOUSE = "clickhouse"
_LAST_MONTH = 30 * 86_400_000
_TIMES = ("started_at", "evaluated_at", "ended_at")
_FIELDS = (
    "tenant_id", "fingerprint", "alert_id", "monitor", "kind", "severity", "rollup", "group", "status", *_TIMES,
    "window_minutes", "negative", "total", "rate", "lower_bound", "threshold", "top_user_share", "reason", "sequence",
)  # fmt: skip
_CHARTS = 12


@dataclass(frozen=True, slots=True)
class Asked:
    """Which votes: `source` is a file or CLICKHOUSE, the rest is as in `load`; times are epoch ms."""

    source: str
    form: str | None
    mapping: tuple[str, ...]
    fixed: tuple[str, ...]
    rest_as_metadata: bool
    tenant: str | None
    since: str | None
    until: str | None


@dataclass(slots=True)
class Result:
    """What one file of monitors did until a minute: with the votes as they are (`plain`), and with incidents."""

    name: str
    monitors: tuple[Monitor, ...]
    alerts: list[Alert]
    plain: list[Alert]
    until: int
    found: dict[str, Detection] = field(default_factory=dict)


def run(
    settings: Settings,
    asked: Asked,
    files: Sequence[Path],
    incident: str | None,
    seed: int,
    drawn: Path | None,
    ready_file: Path | None,
    *,
    as_json: bool,
) -> int:
    """Run all files over the same votes and print; 1 when there are no votes."""
    chosen = _monitors(settings, files)
    put_in = _incident(incident)
    votes = _votes(settings, asked, ready_file)
    if not votes.tallies:
        click.echo("no votes", err=True)
        return 1
    changed = votes.tallies if put_in is None else inject(votes.tallies, put_in, Random(seed))  # noqa: S311 - a test
    results = [_result(name, monitors, votes.tallies, changed, put_in) for name, monitors in chosen]
    if drawn is not None:
        drawn.write_text(_picture(results, changed, put_in), "utf-8")
    if as_json:
        for line in _json_lines(results):
            click.echo(line)
    else:
        _show(results, votes, put_in)
    return 0


def _monitors(settings: Settings, files: Sequence[Path]) -> list[tuple[str, tuple[Monitor, ...]]]:
    default = [settings.monitors_file] if settings.monitors_file else []
    try:
        found = [(file.name, monitors_file.load(file)) for file in files or default]
    except monitors_file.MonitorsFileError as error:
        raise click.ClickException("\n".join(error.lines)) from error
    return found or [("built-in", monitors_file.load(None))]


def _incident(text: str | None) -> Incident | None:
    try:
        return None if text is None else parse_incident(text)
    except IncidentError as error:
        raise click.UsageError(f"--inject: {error}") from error


def _votes(settings: Settings, asked: Asked, ready_file: Path | None) -> Votes:
    now = time.time_ns() // 1_000_000
    since = None if asked.since is None else moment(asked.since, now / 1000)
    until = None if asked.until is None else moment(asked.until, now / 1000)
    if asked.source == CLICKHOUSE:
        first = now - _LAST_MONTH if since is None else since
        return from_clickhouse(login(settings, ready_file), asked.tenant, first, now if until is None else until)
    plan = Plan(pairs(asked.mapping), pairs(asked.fixed), asked.rest_as_metadata, keep_times=True, now=now)
    votes = from_file(Path(asked.source), asked.form, plan, asked.tenant or "local")
    low, high = (since or 0) // MINUTE, (until or 1 << 60) // MINUTE
    votes.tallies = [one for one in votes.tallies if low <= one.minute < high]
    return votes


def _result(
    name: str,
    monitors: tuple[Monitor, ...],
    tallies: Sequence[Tally],
    changed: Sequence[Tally],
    incident: Incident | None,
) -> Result:
    plain, until = backtest(monitors, tallies), tallies[-1].minute + 1
    if incident is None:
        return Result(name, monitors, plain, plain, until)
    alerts, begins = backtest(monitors, changed), _begins(incident, tallies)
    names = [monitor.name for monitor in monitors]
    return Result(name, monitors, alerts, plain, until, detections(names, alerts, incident, begins))


def _begins(incident: Incident, tallies: Sequence[Tally]) -> list[int]:
    return incident.begins(tallies[0].minute, tallies[-1].minute + 1)


def _json_lines(results: Sequence[Result]) -> Iterator[str]:
    for result in results:
        more = {"monitors": result.name} if len(results) > 1 else {}
        for alert in result.alerts:
            yield json.dumps({**_fields(alert), **more}, ensure_ascii=False)


def _fields(alert: Alert) -> dict[str, Any]:
    """An alert as `alert_history` names it."""
    found = {name: getattr(alert, name) for name in _FIELDS}
    times = {name: None if found[name] is None else _text(found[name]) for name in _TIMES}
    return {**found, **times, "group": dict(alert.group)}


def _text(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _show(results: Sequence[Result], votes: Votes, incident: Incident | None) -> None:
    tallies = votes.tallies
    negative, total = sum(one.negative for one in tallies), sum(one.negative + one.positive for one in tallies)
    first, last = tallies[0].minute, tallies[-1].minute
    days = (last - first) // 1440 + 1
    span = f"{_text(first * MINUTE)[:10]} to {_text(last * MINUTE)[:10]}, {days:,} day{'s' * (days > 1)}"
    click.echo(f"{total:,} votes, {negative:,} negative ({negative / total:.1%}), {span}")
    for reason, count in sorted(votes.refused.items()):
        click.echo(f"  {count:,} records left out: {reason}", err=True)
    if incident is not None:
        click.echo(f"{len(_begins(incident, tallies)):,} incidents put in: {incident.text}")
    head, *rows = _cells(results, incident)
    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number < 2 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=max(100, Console().width)).print(table)


def _cells(results: Sequence[Result], incident: Incident | None) -> list[list[str]]:
    """The table as texts, its head first."""
    head = ["file", "monitor", "alerts", "groups", "median", "longest", "open"]
    found = ["found", "of", "delay"] if incident is not None else []
    rows = [[*head, *found]]
    for result in results:
        for line in lines(result.monitors, episodes(result.plain, result.until)):
            detected = _detected(result.found[line.monitor]) if incident is not None else []
            rows.append([result.name, *_line(line), *detected])
    return rows


def _line(line: Line) -> list[str]:
    lasted = [_duration(line.median_minutes), _duration(line.longest_minutes)]
    return [line.monitor, f"{line.alerts:,}", f"{line.groups:,}", *lasted, f"{line.open:,}"]


def _detected(found: Detection) -> list[str]:
    return [f"{found.share:.0%}", f"{found.incidents:,}", _duration(found.delay)]


def _duration(minutes: float | None) -> str:
    if minutes is None:
        return "-"
    hours, rest = divmod(round(minutes), 60)
    return f"{hours}h {rest:02}m" if hours else f"{rest}m"


def _picture(results: Sequence[Result], tallies: Sequence[Tally], incident: Incident | None) -> str:
    first, last = tallies[0].minute, results[0].until
    spans = {result.name: episodes(result.alerts, last) for result in results}
    groups, width = _groups(tallies, [one for found in spans.values() for one in found]), width_for(first, last)
    buckets = series(tallies, groups, width)
    begins = _begins(incident, tallies) if incident is not None else []
    charts = [
        picture.Chart(group, buckets[group], *_watched(results, spans, group), _marked(incident, begins, group))
        for group in groups
    ]
    return picture.page("Backtest of alerts", _cells(results, incident), charts, first, last, width)


def _groups(tallies: Sequence[Tally], found: Sequence[Episode]) -> list[Group]:
    """Tenants, then the groups that were longest in alarm."""
    tenants = dict.fromkeys(Group(one.tenant, (), ()) for one in tallies)
    lasted: dict[Group, int] = {}
    for one in found:
        rollup = rollup_of(one.alert.rollup)
        group = Group(one.alert.tenant_id, rollup, tuple(one.alert.group[name] for name in rollup))
        lasted[group] = lasted.get(group, 0) + one.end - one.begin
    return list(dict.fromkeys([*tenants, *sorted(lasted, key=lambda group: -lasted[group])]))[:_CHARTS]


def _watched(
    results: Sequence[Result], spans: dict[str, list[Episode]], group: Group
) -> tuple[float, list[picture.Lane]]:
    """(the threshold to draw, a lane for each monitor that watches the group)."""
    watching = [(result.name, one) for result in results for one in result.monitors if one.watches(group)]
    lanes = [
        picture.Lane(
            f"{name} {one.name}", [span for span in spans[name] if span.alert.fingerprint == one.fingerprint(group)]
        )
        for name, one in watching
    ]
    return (watching[0][1].threshold if watching else 0.2), [lane for lane in lanes if lane.episodes or len(lanes) < 4]


def _marked(incident: Incident | None, begins: Sequence[int], group: Group) -> list[tuple[int, int]]:
    if incident is None:
        return []
    about = {**dict(zip(group.rollup, group.values, strict=True)), "tenant": group.tenant_id}
    touched = all(about.get(name, value) == value for name, value in incident.groups.items())
    return [(begin, begin + incident.minutes) for begin in begins] if touched else []
