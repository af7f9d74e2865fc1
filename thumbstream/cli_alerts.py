"""The verbs of `thumbstream alerts`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from thumbstream.options import FILE


@click.group()
def alerts() -> None:
    """Check what is watched, and try it on what was.

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
