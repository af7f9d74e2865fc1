"""The verbs of `thumbstream deliver`."""

from __future__ import annotations

import sys

import click

from thumbstream.options import load_settings


@click.group(invoke_without_command=True)
@click.pass_context
def deliver(context: click.Context) -> None:
    """Tell receivers of alerts: webhooks, Slack, Alertmanager. THUMBSTREAM_RECEIVERS_FILE says who is told.

    Each transition is delivered at least once, in order, under an id that never changes.

    Example: THUMBSTREAM_RECEIVERS_FILE=receivers.toml thumbstream deliver
    """
    if context.invoked_subcommand is None:
        from thumbstream.commands.deliver import run
        from thumbstream.telemetry import announce, configure_logging

        settings = load_settings()
        configure_logging("deliver", level=settings.log_level)
        announce(settings.describe())
        run(settings)


@deliver.command("test")
@click.argument("receiver")
def test(receiver: str) -> None:
    """Send a test to one receiver and judge its answer; exit 1 unless it was delivered.

    Example: thumbstream deliver test ops
    """
    from thumbstream.commands.deliver import check

    sys.exit(check(load_settings(), receiver))
