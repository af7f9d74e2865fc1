"""The ready file is private, whole, and true."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from thumbstream.local import ready_file


def content(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "made" / "ready.json"
    ready_file.write(path, {"api_key": "secret"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert content(path) == {"api_key": "secret"}
    assert list(path.parent.iterdir()) == [path], "no draft is left behind"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    ready_file.write(path, {"number": 1})
    with pytest.raises(TypeError):
        ready_file.write(path, {"number": object()})
    assert content(path) == {"number": 1}
    ready_file.write(path, {"number": 2})
    assert content(path) == {"number": 2}


def test_removing_it_twice_is_harmless(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    ready_file.write(path, {})
    ready_file.remove(path)
    ready_file.remove(path)
    assert not path.exists()


def test_it_appears_when_all_is_healthy_and_follows_every_change_after(tmp_path: Path) -> None:
    path = tmp_path / "ready.json"
    path.write_text("left by a process that was killed")
    on_change = ready_file.publisher(path, {"tenant_id": "demo"})
    assert not path.exists()
    on_change({"sink": 1}, False)
    assert not path.exists()
    on_change({"sink": 1}, True)
    assert content(path) == {"tenant_id": "demo", "pids": {"sink": 1}, "healthy": True}
    on_change({}, False)
    assert content(path) == {"tenant_id": "demo", "pids": {}, "healthy": False}
    on_change({"sink": 2}, True)
    assert content(path)["pids"] == {"sink": 2}
