"""The command line is polite: every verb explains itself, wrong use exits with 2, trouble with 1 and a sentence."""

import inspect
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from producers.token_keys import read
from thumbstream.cli import main


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))


ALL = dict(commands(main))
VERBS = [path for path, command in ALL.items() if not isinstance(command, click.Group)]


def named(path: tuple[str, ...]) -> str:
    return " ".join(path) or "thumbstream"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings and no ready file of the person who runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("THUMBSTREAM_"):
            monkeypatch.delenv(name)


def call(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environment, prog_name="thumbstream")


@pytest.mark.parametrize("path", ALL, ids=named)
def test_every_command_explains_itself_with_a_sentence_and_an_example(path: tuple[str, ...]) -> None:
    answer = call(*path, "--help")
    assert answer.exit_code == 0
    text = inspect.cleandoc(ALL[path].help or "")
    assert re.match(r"[A-Z][^\n]+\.", text)
    assert "\nExample: " in text
    assert all(getattr(option, "help", "x") for option in ALL[path].params), "an option without help"


@pytest.mark.parametrize("path", VERBS, ids=named)
def test_every_example_uses_its_own_verb_with_options_that_exist(path: tuple[str, ...]) -> None:
    example = (ALL[path].help or "").partition("Example: ")[2].replace("\n", " ")
    words = shlex.split(example)
    begin = words.index("thumbstream")
    assert tuple(words[begin + 1 : begin + 1 + len(path)]) == path
    known = {name for option in ALL[path].params for name in (*option.opts, *option.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("path", ALL, ids=named)
def test_an_option_nobody_knows_is_wrong_use(path: tuple[str, ...]) -> None:
    answer = call(*path, "--no-such-option")
    assert answer.exit_code == 2
    assert "--no-such-option" in answer.stderr


@pytest.mark.parametrize(
    "line",
    [
        "send", "load", "worker", "worker rest", "sql", "keys create", "up --brokers 2", "up --ports 80",
        "load votes.csv --batch 0", "load votes.csv --batch 1001", "load votes.csv --format xml",
        "send --request-id r --rating maybe", "nonsense",
    ],
)  # fmt: skip
def test_missing_and_impossible_arguments_are_wrong_use(line: str) -> None:
    answer = call(*shlex.split(line))
    assert answer.exit_code == 2
    assert "Error: " in answer.stderr


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("sql 'SELECT 1'", "no ready file"),
        ("send --request-id r --rating up", "no ready file"),
        ("send --request-id r --rating up --metadata model --url http://x --api-key k", "'model' is not KEY=VALUE"),
        ("load votes.csv", "no ready file"),
        ("load none.csv --url http://x --api-key k", "cannot open none.csv"),
        ("load votes --url http://x --api-key k", "give --format"),
        ("load votes.csv --map ratng=a --url http://x --api-key k", "'ratng=a': write FIELD="),
        ("load votes.csv --set rating --url http://x --api-key k", "'rating': write FIELD="),
        ("simulate --incident none --url http://x --api-key k", "--incident must be one of"),
        ("keys create --tenant acme", "name the keys file"),
        ("keys rotate-tokens", "name the token keys file"),
        ("keys rotate-tokens --keep 0 --file x", "0 is not in the range"),
    ],
)
def test_wrong_use_is_said_in_a_sentence(line: str, sentence: str) -> None:
    answer = call(*shlex.split(line))
    assert answer.exit_code == 2, answer.output
    assert sentence in answer.stderr


NOWHERE = {
    "THUMBSTREAM_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "THUMBSTREAM_CLICKHOUSE_URL": "http://127.0.0.1:1",
    "THUMBSTREAM_CLICKHOUSE_ANALYST_PASSWORD": "x",
}


@pytest.mark.parametrize(
    "line", ["migrate", "sql 'SELECT 1'", "send --request-id r --url http://127.0.0.1:1 --api-key k"]
)
def test_a_server_that_is_not_there_is_a_sentence_and_exit_1(line: str) -> None:
    answer = call(*shlex.split(line), **NOWHERE)
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: ")
    assert "127.0.0.1" in answer.stderr


@pytest.mark.parametrize(
    "line", ["up", "gateway", "worker resolve", "sink", "topics create", "topics check", "migrate", "sql 'SELECT 1'"]
)
def test_a_setting_that_cannot_be_read_is_named(line: str) -> None:
    answer = call(*shlex.split(line), THUMBSTREAM_EPOCH="one")
    assert answer.exit_code == 1
    assert "THUMBSTREAM_EPOCH: 'one'" in answer.stderr


def test_a_created_key_is_printed_once_and_only_its_hash_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    answer = call("keys", "create", "--tenant", "acme", "--rights", "ingest, query", "--file", str(file))
    assert answer.exit_code == 0
    secret = answer.stdout.strip()
    assert secret.startswith("ts_")
    assert secret not in file.read_text()
    wrong = call("keys", "create", "--tenant", "acme", "--rights", "everything", "--file", str(file))
    assert wrong.exit_code == 1
    assert "rights must be some of" in wrong.stderr


def test_token_keys_are_made_rotated_and_cut_and_their_secrets_not_told(tmp_path: Path) -> None:
    file = tmp_path / "token-keys.toml"
    answers = [call("keys", "rotate-tokens", "--file", str(file), *more) for more in ((), (), ("--keep", "1"))]
    assert [answer.exit_code for answer in answers] == [0, 0, 0]
    first, second, third = (answer.stdout.split()[0] for answer in answers)
    assert answers[2].stdout == f"{third} signs from now on; removed: {first}, {second}\n"
    assert [key.id for key in read(file)] == [third]
    assert not any(
        line.split('"')[1] in answers[2].stdout for line in file.read_text().splitlines() if "secret =" in line
    )
    again = call("keys", "rotate-tokens", "--if-missing", THUMBSTREAM_TOKEN_KEYS_FILE=str(file))
    assert (again.exit_code, again.stdout) == (0, "")
    file.write_text("broken")
    assert call("keys", "rotate-tokens", "--file", str(file)).exit_code == 1


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"thumbstream, version \d+\.\d+\.\d+\n", call("--version").stdout)


def test_up_refuses_a_wrong_file_of_monitors_before_it_starts_anything(tmp_path: Path) -> None:
    file = tmp_path / "monitors.toml"
    file.write_text('[[monitor]]\nname = "x"\nz = -1\n')
    answer = call("up", "--data-dir", str(tmp_path / "data"), THUMBSTREAM_MONITORS_FILE=str(file))
    assert answer.exit_code == 1
    assert f"{file}:3: monitor x: z: must be a number above 0 and below 10, is -1" in answer.stderr
    assert not (tmp_path / "data").exists()
