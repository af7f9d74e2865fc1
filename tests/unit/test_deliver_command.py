"""`thumbstream deliver`: its files, who is told by which monitor, and what a reload changes."""

from pathlib import Path

import pytest
from click import ClickException

from sinks.delivery.receivers import ReceiversError
from thumbstream.commands.deliver import _Process as Process
from thumbstream.commands.deliver import load
from thumbstream.commands.up import run as up
from thumbstream.settings import Settings

DEADLINE = 10.0
SECRET = "whsec_" + "a2tr" * 8
RECEIVER = '[[receiver]]\nname = "{}"\nkind = "webhook"\nurl = "https://example.com/in"\nsecret_file = "key"\n'
MONITOR = '[[monitor]]\nname = "{}"\nkind = "threshold"\nby = ["model"]\nreceivers = {}\n'


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "key").write_text(SECRET + "\n")
    (tmp_path / "receivers.toml").write_text(RECEIVER.format("ops") + RECEIVER.format("chat"))
    (tmp_path / "monitors.toml").write_text(MONITOR.format("m1", '["ops"]') + MONITOR.format("m2", "[]"))
    return Settings(receivers_file=tmp_path / "receivers.toml", monitors_file=tmp_path / "monitors.toml")


def test_monitors_say_who_is_told_and_secret_files_lie_beside_the_receivers(settings: Settings) -> None:
    receivers = load(settings)
    assert receivers["ops"].monitors == {"m1"}
    assert receivers["chat"].monitors is None
    assert receivers["ops"].keys == (b"kkk" * 8,)


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("monitors.toml", MONITOR.format("m1", '["nobody"]'), "no receiver nobody"),
        ("monitors.toml", "[[monitor]]", "monitors.toml:1"),
        ("receivers.toml", RECEIVER.format("ops").replace("key", "none"), "secret_file: cannot read none"),
    ],
)
def test_files_that_do_not_fit_are_named(settings: Settings, file: str, text: str, sentence: str) -> None:
    assert settings.receivers_file is not None
    (settings.receivers_file.parent / file).write_text(text)
    with pytest.raises(ReceiversError, match=sentence.replace(".", r"\.")):
        load(settings)


def test_up_refuses_a_wrong_receivers_file_before_it_starts_anything(settings: Settings, tmp_path: Path) -> None:
    assert settings.receivers_file is not None
    settings.receivers_file.write_text("[[receiver]]")
    with pytest.raises(ClickException, match=r"receivers\.toml: receiver 1: name must be"):
        up(settings, tmp_path / "data", 1, None, auto=True)
    assert not (tmp_path / "data").exists()


def test_no_file_is_an_error_for_who_wants_to_deliver(tmp_path: Path) -> None:
    with pytest.raises(ReceiversError, match="THUMBSTREAM_RECEIVERS_FILE names it"):
        load(Settings())
    with pytest.raises(ReceiversError, match=r"none\.toml"):
        load(Settings(receivers_file=tmp_path / "none.toml"))


def test_a_reload_begins_a_new_round_with_what_the_files_say_and_a_wrong_file_changes_nothing(
    settings: Settings,
) -> None:
    process = Process(settings, load(settings))
    file = settings.receivers_file
    assert file is not None
    (file.parent / "monitors.toml").unlink()
    halt = process.begin()
    process.reload()
    assert not halt.is_set()
    (file.parent / "monitors.toml").write_text(MONITOR.format("m9", '["chat"]'))
    process.reload()
    assert halt.wait(DEADLINE)
    assert not process.stopping
    assert process.receivers["chat"].monitors == {"m9"}
    assert not process.begin().is_set()
    process.stop()
    assert process.begin().is_set(), "a stop between two rounds is heard"
