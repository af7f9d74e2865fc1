"""The passwords a start makes: random, private, and the same after a restart."""

import hashlib
import json
from pathlib import Path

from thumbstream.local.clickhouse.process import command, prepare_logins, ready_file


def test_passwords_are_made_once_and_differ(tmp_path: Path) -> None:
    first, other = prepare_logins(tmp_path / "a"), prepare_logins(tmp_path / "b")
    assert prepare_logins(tmp_path / "a") == first
    assert len({first.admin[1], first.analyst[1], other.admin[1], other.analyst[1]}) == 4


def test_only_the_owner_may_read_the_files_and_none_lies_in_the_data_directory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare_logins(data)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not any(path.is_relative_to(data) for path in files)


def test_the_server_gets_hashes_and_no_passwords(tmp_path: Path) -> None:
    credentials = prepare_logins(tmp_path / "data")
    text = credentials.logins_file.read_text()
    assert credentials.admin[1] not in text
    digest = hashlib.sha256(credentials.analyst[1].encode()).hexdigest()
    assert json.loads(text)["analyst"] == {"password_sha256": digest, "kind": "analyst"}


def test_the_command_names_the_files_that_were_prepared(tmp_path: Path) -> None:
    line = command(tmp_path / "data", port=8123)
    assert str(prepare_logins(tmp_path / "data").logins_file) in line
    assert str(ready_file(tmp_path / "data")) in line
    assert line[line.index("--port") + 1] == "8123"
