"""`thumbstream dead-letters`: look at what was refused, publish it again where that can help, or put it aside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import click
from confluent_kafka import KafkaException
from rich.console import Console
from rich.table import Table
from rich.text import Text

from producers.kafka import BY_KEY, chosen_partition, message
from schemas.codec import Codec
from schemas.events import Alert, DeadLetter, FeedbackEvent
from sinks.delivery.receivers import ReceiversError
from thumbstream import letter_topic
from thumbstream.commands.deliver import load
from thumbstream.dead_letters import (
    DROPPED,
    REPLAYED,
    Choice,
    UnreplayableError,
    details,
    event_to_replay,
    mark,
    newest,
    parse_since,
    summary,
    visible,
)
from thumbstream.redelivery import is_delivery, newest_alerts, redelivery
from thumbstream.settings import Settings
from thumbstream.whole_topic import records

_NO_HEADERS: dict[str, bytes] = {}


def choice(stage: str | None, reason: str | None, tenant: str | None, since: str | None, ids: Sequence[str]) -> Choice:
    """The letters that options name. UsageError for a time that is none."""
    try:
        moment = None if since is None else parse_since(since, datetime.now(UTC))
    except (ValueError, OverflowError) as error:
        raise click.UsageError(f"--since {since!r}: give RFC 3339 with an offset, or 30m, 2h, 3d") from error
    return Choice(stage, reason, tenant, moment, frozenset(ids) if ids else None)


def show_list(settings: Settings, chosen: Choice, limit: int | None, *, handled: bool, as_json: bool) -> None:
    """Print one line a letter."""
    letters = _letters(settings, Codec(), chosen, limit, handled=handled)
    if as_json:
        for letter in letters:
            click.echo(visible(json.dumps(summary(letter), ensure_ascii=False)))
    else:
        Console().print(_table(letters, handled=handled))
        click.echo(f"{len(letters)} letters")


def _table(letters: Sequence[DeadLetter], *, handled: bool) -> Table:
    shown = Table()
    names = [name for name in summary(_NOTHING) if handled or name != "handled"]
    for name in names:
        shown.add_column(name, no_wrap=name == "letter_id", overflow="fold")
    for letter in letters:
        shown.add_row(*(Text(visible(str(summary(letter)[name] or ""))) for name in names))
    return shown


_NOTHING = DeadLetter("", "", "", "", None, None, None, None, 0, None, None)


def show(settings: Settings, letter_id: str) -> None:
    """Print everything about one letter as JSON."""
    codec = Codec()
    found = _letters(settings, codec, Choice(ids=frozenset({letter_id})), None, handled=True)
    if not found:
        raise click.ClickException(f"no letter {letter_id}")
    click.echo(visible(json.dumps(details(found[0], codec), indent=2, ensure_ascii=False)))


def replay(settings: Settings, chosen: Choice, limit: int | None, *, sure: bool) -> int:
    """Publish the chosen letters' events again, tell receivers what was parked for them, and mark the letters.

    The exit code, 1 when one could not be.

    A crash between both leaves letters open whose event is back: to replay them again is harmless, as the event
    keeps its id and its time.
    """
    codec = Codec()
    letters = _chosen(settings, codec, chosen, limit, "Replay", sure=sure)
    fit: list[tuple[DeadLetter, FeedbackEvent]] = []
    for letter in (letter for letter in letters if not is_delivery(letter)):
        try:
            fit.append((letter, event_to_replay(letter, codec, settings.topics.events.name)))
        except UnreplayableError as error:
            _say(letter, f"not replayed: {error}")
    done = _publish_events(settings, codec, fit) + _deliver(settings, codec, letters)
    marked = _mark(settings, codec, done, REPLAYED)
    return 0 if marked == len(letters) else 1


def drop(settings: Settings, chosen: Choice, limit: int | None, *, sure: bool) -> int:
    """Mark the chosen letters as seen to; the exit code."""
    codec = Codec()
    letters = _chosen(settings, codec, chosen, limit, "Drop", sure=sure)
    return 0 if _mark(settings, codec, letters, DROPPED) == len(letters) else 1


def _letters(settings: Settings, codec: Codec, chosen: Choice, limit: int | None, *, handled: bool) -> list[DeadLetter]:
    try:
        letters = newest(letter_topic.read(settings, codec), chosen)
    except KafkaException as error:
        raise click.ClickException(f"kafka: {error}") from error
    return [letter for letter in letters if handled or letter.handled is None][:limit]


def _chosen(
    settings: Settings, codec: Codec, chosen: Choice, limit: int | None, verb: str, *, sure: bool
) -> list[DeadLetter]:
    """The letters to act on, after a yes. Letters named by id are meant even when they were handled before."""
    if chosen == Choice():
        raise click.UsageError("name letters, or choose them with --stage, --reason, --tenant or --since")
    letters = _letters(settings, codec, chosen, limit, handled=chosen.ids is not None)
    if chosen.ids is not None and (missing := chosen.ids - {letter.letter_id for letter in letters}):
        raise click.ClickException(f"no letter {', '.join(sorted(missing))}: nothing is done")
    if letters and not sure:
        click.confirm(f"{verb} {len(letters)} letters?", abort=True)
    return letters


def _publish_events(
    settings: Settings, codec: Codec, fit: Sequence[tuple[DeadLetter, FeedbackEvent]]
) -> list[DeadLetter]:
    """The letters whose events are durable now, each under the key and on the partition that its event must have."""
    topic = settings.topics.events
    places = [chosen_partition(event, topic.partitions) for _, event in fit]
    messages = [
        (topic.name, *message(codec, event), letter.headers, place)
        for (letter, event), place in zip(fit, places, strict=True)
    ]
    outcomes = letter_topic.publish(settings, messages)
    for (letter, _), problem in zip(fit, outcomes, strict=True):
        if problem is not None:
            _say(letter, f"not replayed: {problem}")
    return [letter for (letter, _), problem in zip(fit, outcomes, strict=True) if problem is None]


def _deliver(settings: Settings, codec: Codec, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """The letters about deliveries that have reached their receivers now."""
    parked = [letter for letter in letters if is_delivery(letter)]
    if not parked:
        return []
    try:
        alerts = newest_alerts(list(records(settings, codec, settings.topics.alerts.name, Alert)))
        receivers = load(settings)
    except (KafkaException, ReceiversError) as error:
        raise click.ClickException(str(error)) from error
    done = []
    with redelivery(receivers, codec, alerts) as again:
        for letter in parked:
            try:
                again.tell(letter)
                done.append(letter)
            except UnreplayableError as error:
                _say(letter, f"not replayed: {error}")
    return done


def _mark(settings: Settings, codec: Codec, letters: Sequence[DeadLetter], handled: str) -> int:
    """Write down what became of letters; how many that worked for."""
    topic = settings.topics.dead_letters.name
    marks = [
        (topic, letter.letter_id.encode(), codec.encode(mark(letter, handled)), _NO_HEADERS, BY_KEY)
        for letter in letters
    ]
    outcomes = letter_topic.publish(settings, marks)
    for letter, problem in zip(letters, outcomes, strict=True):
        _say(letter, handled if problem is None else f"{handled}, but still listed: {problem}")
    return outcomes.count(None)


def _say(letter: DeadLetter, what: str) -> None:
    click.echo(visible(f"{letter.letter_id}: {what}"))
