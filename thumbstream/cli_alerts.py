"""The verbs of `thumbstream alerts`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from thumbstream.options import FILE, READY, load_settings


@click.group()
def alerts() -> None:
    """See alerts, check what is watched, and try monitors on the votes of the past.

    Example: thumbstream alerts check monitors.toml
    """


@alerts.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Check a file of monitors and say what it watches; name file, line and reason of all that is wrong.

    Exit 1 if anything is wrong.

    Example: thumbstream alerts check monitors.toml
    """
    from thumbstream.commands.alerts_check import run

    sys.exit(run(file))


@alerts.command()
@click.option(
    "--from", "source", required=True, metavar="clickhouse|FILE", help="Where the votes are; files as `load`."
)
@click.option("--monitors", "files", type=FILE, multiple=True, help="A file of monitors; repeatable, to compare.")
@click.option("--inject", "incident", metavar="model=X,rate=0.5,hours=4", help="Put incidents in; also every=HOURS.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same incidents.")
@click.option("--tenant", help="Only this tenant; of a file: whose votes they are.")
@click.option("--since", metavar="WHEN", help="A time as 2026-05-01T00:00Z, or 6h, 2d. ClickHouse: 30 days ago.")
@click.option("--until", metavar="WHEN", help="Votes before that time.")
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), help="Default: from the file's name.")
@click.option("--map", "mapping", multiple=True, metavar="FIELD=COLUMN", help="Repeatable; metadata.KEY=COLUMN too.")
@click.option("--set", "fixed", multiple=True, metavar="FIELD=VALUE", help="A field that all events get; repeatable.")
@click.option("--rest-as-metadata", is_flag=True, help="Columns that map to nothing become metadata.")
@click.option("--picture", "drawn", type=FILE, help="Draw rate, band and alerts over time into this HTML file.")
@click.option("--json", "as_json", is_flag=True, help="One transition a line, with the fields of alert_history.")
@READY
def backtest(
    files: tuple[Path, ...],
    incident: str | None,
    seed: int,
    drawn: Path | None,
    ready_file: Path | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Say what monitors would have done with the votes of the past: alerts, how long, what was found and how late.

    Without --monitors those of THUMBSTREAM_MONITORS_FILE, or the built-in ones.

    Example: thumbstream alerts backtest --from clickhouse --monitors monitors.toml --since 30d --picture month.html
    """
    from thumbstream.commands.alerts_backtest import Asked, run

    sys.exit(run(load_settings(), Asked(**asked), files, incident, seed, drawn, ready_file, as_json=as_json))


@alerts.command("list")
@click.option("--all", "closed", is_flag=True, help="Every episode that ever was, not only open alerts.")
@click.option("--tenant", help="Only this tenant's.")
@click.option("--monitor", help="Only this monitor's.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 100_000), help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the fields of alert_history.")
@READY
def list_(
    closed: bool, tenant: str | None, monitor: str | None, limit: int, as_json: bool, ready_file: Path | None
) -> None:
    """List open alerts, the newest first, as ClickHouse has them.

    Example: thumbstream alerts list --tenant acme
    """
    from thumbstream.commands.alerts import show_list

    show_list(load_settings(), ready_file, tenant, monitor, limit, closed=closed, as_json=as_json)


@alerts.command()
@click.argument("alert", metavar="FINGERPRINT|ALERT_ID")
@click.option("--examples", default=5, show_default=True, type=click.IntRange(0, 1000), help="So many negative votes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@READY
def show(alert: str, examples: int, as_json: bool, ready_file: Path | None) -> None:
    """Print an alert: evidence, transitions, frequent reasons, and examples of the negative votes that it saw.

    A fingerprint means its newest episode. What is printed holds what people wrote.

    Example: thumbstream alerts show 5503c64c557b59f2
    """
    from thumbstream.commands import alerts as command

    command.show(load_settings(), ready_file, alert, examples, as_json=as_json)
