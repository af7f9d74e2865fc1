"""The verbs of `thumbstream dead-letters`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import click

from thumbstream import target
from thumbstream.options import READY, YES, load_settings
from thumbstream.settings import Settings

_IDS = click.argument("letter_ids", nargs=-1, metavar="[LETTER_ID]...")
_FILTERS = (
    click.option("--stage", help="Who refused it: resolve, sink or deliver."),
    click.option("--reason", help="The reason word, as misrouted or invalid."),
    click.option("--tenant", help="Whose event it is; letters that could not be read have no tenant."),
    click.option("--since", help="Refused records not older than this: RFC 3339 with an offset, or 30m, 2h, 3d."),
    click.option("--limit", type=click.IntRange(min=1), help="At most so many, the oldest first."),
)


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    return reduce(lambda decorated, option: option(decorated), reversed(_FILTERS), command)


def _settings(ready_file: Path | None) -> Settings:
    return target.with_brokers(load_settings(), ready_file)


@click.group("dead-letters")
def dead_letters() -> None:
    """See what was refused after a topic held it, and replay or drop it.

    Example: thumbstream dead-letters list --since 2h
    """


@dead_letters.command("list")
@_filters
@click.option("--all", "handled", is_flag=True, help="Those that were replayed or dropped too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of a table.")
@READY
def list_(
    handled: bool,
    as_json: bool,
    limit: int | None,
    ready_file: Path | None,
    **chosen: str | None,
) -> None:
    """List the open letters, the oldest first.

    Example: thumbstream dead-letters list --reason misrouted --tenant acme --json
    """
    from thumbstream.commands.dead_letters import choice, show_list

    settings = _settings(ready_file)
    show_list(settings, choice(**chosen, ids=()), limit, handled=handled, as_json=as_json)


@dead_letters.command()
@click.argument("letter_id")
@READY
def show(letter_id: str, ready_file: Path | None) -> None:
    """Print everything about one letter, its original decoded where that is possible.

    What is printed holds what people wrote.

    Example: thumbstream dead-letters show feedback.events-2-17
    """
    from thumbstream.commands import dead_letters as command

    command.show(_settings(ready_file), letter_id)


@dead_letters.command()
@_IDS
@_filters
@YES
@READY
def replay(
    letter_ids: tuple[str, ...], limit: int | None, yes: bool, ready_file: Path | None, **chosen: str | None
) -> None:
    """Publish the events of letters again, under the right key, and mark the letters as replayed.

    A parked delivery goes to its receiver again, from this machine, with the receivers file of these settings.

    An event keeps its id and its time, so a replay too many changes nothing. What cannot be decoded, and what is still
    invalid, is refused with its reason while the others go on; exit 1 then.

    Example: thumbstream dead-letters replay --reason misrouted --since 3d --yes
    """
    from thumbstream.commands import dead_letters as command

    settings = _settings(ready_file)
    sys.exit(command.replay(settings, command.choice(**chosen, ids=letter_ids), limit, sure=yes))


@dead_letters.command()
@_IDS
@_filters
@YES
@READY
def drop(
    letter_ids: tuple[str, ...], limit: int | None, yes: bool, ready_file: Path | None, **chosen: str | None
) -> None:
    """Mark letters as seen to, so that they are no longer listed.

    Example: thumbstream dead-letters drop feedback.events-2-17 feedback.events-2-18
    """
    from thumbstream.commands import dead_letters as command

    settings = _settings(ready_file)
    sys.exit(command.drop(settings, command.choice(**chosen, ids=letter_ids), limit, sure=yes))
