"""The command line. Verbs are thin: each reads its options and calls one module of `thumbstream.commands`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from thumbstream.cli_alerts import alerts
from thumbstream.cli_dead_letters import dead_letters
from thumbstream.cli_deliver import deliver
from thumbstream.options import DIRECTORY, FILE, KEY, READY, URL, YES, load_settings
from thumbstream.settings import Settings


def _start(role: str) -> Settings:
    from thumbstream.telemetry import announce, configure_logging

    settings = load_settings()
    configure_logging(role, level=settings.log_level)
    announce(settings.describe())
    return settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="thumbstream")
def main() -> None:
    """User feedback on LLM answers as an event stream that is right.

    Example: thumbstream up, and in another window: thumbstream send --request-id r1 --rating down
    """


@main.command()
@click.option("--data-dir", type=DIRECTORY, help="Where data stays between starts. Default: .thumbstream")
@click.option("--brokers", type=click.Choice(["1", "3"]), default="1", show_default=True, help="Kafka brokers.")
@READY
@click.option(
    "--ports", type=click.Choice(["fixed", "auto"]), default="fixed", show_default=True, help="auto: any free."
)
def up(data_dir: Path | None, brokers: str, ready_file: Path | None, ports: str) -> None:
    """Start everything on this machine: Kafka, ClickHouse, gateway, workers, sink. Ctrl-C stops it.

    Example: thumbstream up --data-dir data --ports auto --ready-file ready.json
    """
    from thumbstream.commands.up import run

    settings = load_settings()
    sys.exit(run(settings, (data_dir or settings.data_dir).absolute(), int(brokers), ready_file, auto=ports == "auto"))


@main.command()
def gateway() -> None:
    """Take feedback over HTTP and publish it to Kafka.

    Example: THUMBSTREAM_KEYS_FILE=keys.toml thumbstream gateway
    """
    from thumbstream.commands.gateway import run

    run(_start("gateway"))


@main.command()
@click.argument("role", type=click.Choice(["resolve", "watch"]))
def worker(role: str) -> None:
    """Run one Faust worker: `resolve` (latest votes, minute counts) or `watch` (alerts).

    Example: thumbstream worker resolve
    """
    from thumbstream.commands.worker import run

    run(_start(role), role)


@main.command()
def sink() -> None:
    """Store all topics in ClickHouse.

    Example: THUMBSTREAM_CLICKHOUSE_URL=http://127.0.0.1:8123 thumbstream sink
    """
    from thumbstream.commands.sink import run

    run(_start("sink"))


@main.group()
def topics() -> None:
    """Create Kafka topics, or check the ones that are there.

    Example: thumbstream topics create
    """


@topics.command("create")
def topics_create() -> None:
    """Create the topics that are missing.

    Example: THUMBSTREAM_REPLICATION=3 thumbstream topics create
    """
    from confluent_kafka import KafkaException

    from thumbstream import topic_admin

    settings = load_settings()
    admin = topic_admin.client(settings.kafka_bootstrap_servers, settings.kafka)
    try:
        made = topic_admin.create(admin, settings.topics, settings.replication)
    except KafkaException as error:
        raise click.ClickException(f"kafka: {error}") from error
    click.echo("created: " + (", ".join(made) or "nothing, all topics are there"))


@topics.command("check")
def topics_check() -> None:
    """Say what is wrong with the topics; exit 1 if anything is.

    Example: thumbstream topics check
    """
    from confluent_kafka import KafkaException

    from thumbstream import topic_admin

    settings = load_settings()
    admin = topic_admin.client(settings.kafka_bootstrap_servers, settings.kafka)
    try:
        wrong = topic_admin.problems(admin, settings.topics)
    except KafkaException as error:
        raise click.ClickException(f"kafka: {error}") from error
    for sentence in wrong:
        click.echo(sentence, err=True)
    click.echo("topics are as they must be" if not wrong else f"{len(wrong)} problems", err=bool(wrong))
    sys.exit(1 if wrong else 0)


@main.command()
def migrate() -> None:
    """Create or update ClickHouse's tables and views, and the analysts' login where one is set.

    Example: THUMBSTREAM_CLICKHOUSE_PASSWORD=... thumbstream migrate
    """
    from clickhouse_connect.driver.exceptions import ClickHouseError

    from sinks.migrate import MigrationError
    from thumbstream.commands.migrate import run

    try:
        done = run(load_settings())
    except (ClickHouseError, MigrationError) as error:
        raise click.ClickException(f"ClickHouse: {error}") from error
    click.echo("applied: " + (", ".join(done) or "nothing, the database is up to date"))


@main.group()
def keys() -> None:
    """Manage API keys, and the keys that sign feedback tokens.

    Example: thumbstream keys create --tenant acme --rights ingest
    """


@keys.command("create")
@click.option("--tenant", required=True, help="Whose feedback the key may send or read.")
@click.option("--rights", default="ingest", show_default=True, help="Comma-separated: ingest, query, tokens, admin.")
@click.option("--origin", "origins", multiple=True, help="A browser origin that may use the key; repeatable.")
@click.option("--file", "file", type=FILE, help="Keys file. Default: THUMBSTREAM_KEYS_FILE.")
def keys_create(tenant: str, rights: str, origins: tuple[str, ...], file: Path | None) -> None:
    """Add a key to the keys file and print its secret, once: only a hash is kept.

    Example: thumbstream keys create --tenant acme --rights ingest,query --file keys.toml
    """
    from producers.keys import KeysError, create_key

    path = file or load_settings().keys_file
    if path is None:
        raise click.UsageError("name the keys file: --file, or THUMBSTREAM_KEYS_FILE")
    try:
        secret = create_key(path, tenant, [right.strip() for right in rights.split(",")], origins=origins)
    except KeysError as error:
        raise click.ClickException(str(error)) from error
    click.echo(secret)


@keys.command("rotate-tokens")
@click.option("--keep", type=click.IntRange(1), help="Keep only so many, the newest; tokens of the others end at once.")
@click.option("--if-missing", is_flag=True, help="Do nothing when the file is there.")
@click.option("--file", "file", type=FILE, help="Token keys file. Default: THUMBSTREAM_TOKEN_KEYS_FILE.")
def keys_rotate_tokens(keep: int | None, if_missing: bool, file: Path | None) -> None:
    """Sign feedback tokens with a new key from now on; makes the file when it is not there.

    Older keys go on verifying what they signed, until --keep or a person removes them.

    Example: thumbstream keys rotate-tokens --keep 2 --file token-keys.toml
    """
    from datetime import UTC, datetime

    from producers.token_keys import TokenKeysError, rotate

    path = file or load_settings().token_keys_file
    if path is None:
        raise click.UsageError("name the token keys file: --file, or THUMBSTREAM_TOKEN_KEYS_FILE")
    if if_missing and path.exists():
        return click.echo(f"{path} is there", err=True)
    try:
        made, removed = rotate(path, datetime.now(UTC), keep=keep)
    except (TokenKeysError, OSError) as error:
        raise click.ClickException(str(error)) from error
    return click.echo(f"{made} signs from now on" + (f"; removed: {', '.join(removed)}" if removed else ""))


main.add_command(alerts)
main.add_command(dead_letters)
main.add_command(deliver)


@main.command()
@click.option("--request-id", required=True, help="The answer that is judged.")
@click.option("--rating", type=click.Choice(["up", "down"]), help="Thumb up or down.")
@click.option("--comment", help="What the person wrote.")
@click.option("--user-id", help="Who judged.")
@click.option("--metadata", "metadata", multiple=True, metavar="KEY=VALUE", help="Repeatable; as model=gpt-x.")
@click.option("--retract", is_flag=True, help="Take the standing vote back.")
@READY
@URL
@KEY
def send(**options: Any) -> None:
    """Send one event to the gateway and print its reply.

    Example: thumbstream send --request-id r1 --rating down --metadata model=atlas-2
    """
    from thumbstream.commands.send import run

    run(**options)


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), help="Default: from the file's name.")
@click.option("--map", "mapping", multiple=True, metavar="FIELD=COLUMN", help="Repeatable; metadata.KEY=COLUMN too.")
@click.option("--set", "fixed", multiple=True, metavar="FIELD=VALUE", help="A field that all events get; repeatable.")
@click.option("--rest-as-metadata", is_flag=True, help="Columns that map to nothing become metadata.")
@click.option("--keep-times/--now", "keep_times", default=True, help="Keep the file's times (default), or send as now.")
@click.option("--batch", default=1000, show_default=True, type=click.IntRange(1, 1000), help="Events per request.")
@click.option("--rejects", type=FILE, help="Write refused records here, one JSON object a line.")
@READY
@URL
@KEY
def load(**options: Any) -> None:
    """Load a file of events: .jsonl, .ndjson or .csv, each also .gz; - is standard input.

    Exit 1 if anything was refused. Loading again is harmless for records that have a time; one without gets the
    time of the load.

    Example: thumbstream load votes.csv.gz --map event_time=created_at --map metadata.model=reply_type
    """
    from thumbstream.commands.load import run

    sys.exit(run(**options))


@main.command()
@click.option("--seconds", default=60.0, show_default=True, help="How long to send.")
@click.option("--rate", default=20.0, show_default=True, help="Events per second.")
@click.option("--incident", default="", metavar="MODEL", help="A model whose answers turn bad half-way through.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same traffic.")
@READY
@URL
@KEY
def simulate(**options: Any) -> None:
    """Send made-up traffic: votes, re-votes, late and duplicate events, and an incident in one model.

    Example: thumbstream simulate --seconds 120 --incident atlas-2 --ready-file ready.json
    """
    from thumbstream.commands.simulate import run

    run(**options)


@main.command()
@click.option("--request", "request_id", help="Erase this request.")
@click.option("--user", "user_id", help="Erase every request that this user has said something about.")
@click.option("--tenant", help="The key's tenant. Needed where neither ready file nor keys file tells it.")
@click.option("--now", is_flag=True, help="Take content off ClickHouse's disk now, not with the daily run.")
@YES
@READY
@URL
@KEY
def erase(**options: Any) -> None:
    """Erase requests for good, and say what is gone and what goes when. Needs a key with the right admin.

    Nothing that comes later, or late, brings an erased request back.

    Example: thumbstream erase --user u-17 --now --ready-file ready.json
    """
    from thumbstream.commands.erase import run

    sys.exit(run(load_settings(), **options))


@main.command()
@click.argument("query")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a row instead of a table.")
@READY
def sql(query: str, as_json: bool, ready_file: Path | None) -> None:
    """Ask ClickHouse as an analyst and print the answer as a table.

    Example: thumbstream sql "SELECT model, count() FROM current_votes GROUP BY model"
    """
    from thumbstream.commands.sql import run

    run(load_settings(), query, ready_file, as_json=as_json)


@main.command()
@click.option("--since", metavar="WHEN", help="Only events appended since: a time as 2026-05-01T00:00Z, or 6h, 2d.")
@click.option("--wait", default=30.0, show_default=True, help="Seconds to wait for worker and sink to catch up.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option("--metrics", type=FILE, help="Also write gauges there, in Prometheus' text format.")
@READY
def audit(since: str | None, wait: float, as_json: bool, metrics: Path | None, ready_file: Path | None) -> None:
    """Check that the books balance: every event that was accepted is stored, refused or parked, and counts are right.

    Exit 1 if anything is off, with tenant, hour, place and ids; 2 if it could not be judged.

    Example: thumbstream audit --since 2d --json
    """
    from thumbstream.commands.audit import run

    sys.exit(run(load_settings(), since, wait, metrics, ready_file, as_json=as_json))


@main.command()
@click.option("--data-dir", type=DIRECTORY, help="Where the demo's data goes; emptied at start.")
@click.option("--exit", "leave", is_flag=True, envvar="DEMO_EXIT", help="End after the last check instead of staying.")
def demo(data_dir: Path | None, leave: bool) -> None:
    """Show the whole product: start it, send traffic with an incident, see the alert, ask SQL.

    Example: thumbstream demo --exit
    """
    from thumbstream.commands.demo import run

    sys.exit(run((data_dir or load_settings().data_dir / "demo").absolute(), leave=leave))
