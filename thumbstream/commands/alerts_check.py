"""`thumbstream alerts check`: what a file of monitors says, or all that is wrong with it."""

from __future__ import annotations

from pathlib import Path

import click

from processors.minutes import rollup_name
from processors.monitor_fields import duration
from processors.monitor_file import preset_name
from processors.monitors import Monitor
from thumbstream.monitors_file import MonitorsFileError, load


def run(file: Path) -> int:
    """Print one line per monitor, or one per fault; 1 if there is one."""
    try:
        monitors = load(file)
    except MonitorsFileError as error:
        for line in error.lines:
            click.echo(line, err=True)
        return 1
    for monitor in monitors:
        click.echo(_sentence(monitor))
    return 0


def _sentence(monitor: Monitor) -> str:
    groups = f"by {rollup_name(monitor.rollup)}" if monitor.rollup else "whole tenant"
    windows = ", ".join(map(duration, monitor.windows))
    parts = [f"{monitor.name}: {monitor.kind}, {groups}, above {monitor.threshold * 100:g}%, {_rule(monitor)}"]
    parts += [f"in {windows} of {monitor.min_votes} votes or more", monitor.severity]
    parts += [f"only {name} {' or '.join(values)}" for name, values in monitor.where]
    parts += [f"to {', '.join(monitor.receivers)}"] if monitor.receivers else []
    return ", ".join(parts) + ("" if monitor.enabled else " (switched off)")


def _rule(monitor: Monitor) -> str:
    if monitor.kind == "threshold":
        return preset_name(monitor)
    return f"for {duration(monitor.wait)}"
