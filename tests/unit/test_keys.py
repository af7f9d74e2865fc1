"""API keys: what a file may say, how secrets are found, and how a change on disk takes effect."""

import os
import stat
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from producers import secret_files
from producers.keys import Keys, KeysError, create_key, read


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "keys.toml"


@pytest.fixture(autouse=True)
def _fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_files, "_log", structlog.get_logger())


def test_a_created_key_is_found_by_its_secret_and_by_nothing_else(path: Path) -> None:
    secret = create_key(path, "acme", ["ingest", "query"], key_id="web-1", origins=["https://a.example"])
    ring = Keys(path)
    key = ring.find(secret)
    assert key is not None
    assert (key.id, key.tenant, key.rights) == ("web-1", "acme", frozenset({"ingest", "query"}))
    assert key.origins == ("https://a.example",)
    for wrong in (None, "", "ts", "ts__", "ts_web-1_", secret + "x", secret[:-1], secret[3:], "xx" + secret[2:]):
        assert ring.find(wrong) is None
    assert ring.find("ts_other_" + secret.removeprefix("ts_web-1_")) is None
    assert ring.find("\udcff") is None


def test_the_file_holds_no_secret_is_private_and_keeps_what_was_there(path: Path) -> None:
    first = create_key(path, 'quo"té\\', ["admin"])
    path.write_text("# ours\n" + path.read_text())
    second = create_key(path, "b", ["ingest"])
    text = path.read_text()
    assert text.startswith("# ours\n")
    assert first not in text
    assert second not in text
    assert first.split("_", 2)[2] not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [key.tenant for key in read(path).values()] == ['quo"té\\', "b"]
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208 - hidden drafts count too


def test_a_key_that_would_break_the_file_is_not_added(path: Path) -> None:
    create_key(path, "acme", ["ingest"], key_id="one")
    before = path.read_bytes()
    wrong: tuple[tuple[str, list[str], str | None], ...] = (
        ("a", ["root"], None),
        ("a", [], None),
        ("", ["ingest"], None),
        ("a\n", ["ingest"], None),
        ("a", ["ingest"], "one"),
        ("a", ["ingest"], "with_underscore"),
    )
    for tenant, rights, key_id in wrong:
        with pytest.raises(KeysError):
            create_key(path, tenant, rights, key_id=key_id)
    assert path.read_bytes() == before
    path.write_text("broken")
    with pytest.raises(KeysError):
        create_key(path, "acme", ["ingest"])
    assert path.read_text() == "broken"


def test_a_change_counts_within_a_second_and_not_sooner(path: Path) -> None:
    clock = Clock()
    old = create_key(path, "acme", ["ingest"])
    ring = Keys(path, monotonic=clock)
    path.unlink()
    new = create_key(path, "acme", ["ingest"])
    clock.now = 0.9
    assert ring.find(new) is None
    clock.now = 1.0
    assert ring.find(new) is not None
    assert ring.find(old) is None


@pytest.mark.parametrize("replacement", ["[[key]\n", '[[key]]\nid = "x"\n', None])
def test_a_broken_file_keeps_the_old_keys_and_is_logged_once_until_it_changes(
    path: Path, replacement: str | None
) -> None:
    clock = Clock()
    secret = create_key(path, "acme", ["ingest"])
    whole = path.read_text()
    ring = Keys(path, monotonic=clock)
    if replacement is None:
        path.unlink()
    else:
        path.write_text(replacement)
    with capture_logs() as logs:
        for clock.now in (1, 2, 3):
            assert ring.find(secret) is not None
    assert [entry["event"] for entry in logs] == ["keys_file_broken"]
    assert str(path) in logs[0]["problem"]
    path.write_text(whole + "\n")
    clock.now = 9
    with capture_logs() as logs:
        assert ring.find(secret) is not None
    assert [entry["event"] for entry in logs] == ["keys_file_read"]


GOOD = f'id = "a"\nsha256 = "{"0" * 64}"\ntenant = "t"\nrights = ["ingest"]\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[key]\n", "line 1"),
        ("\n\nkey = [\n", "at end of document"),
        (f"[[key]]\n{GOOD}\n# more\n[[key]]\n{GOOD}", "line 8: the id a is there twice"),
        (f"[[key]]\n{GOOD}owner = 1\n", "line 1: a key has only"),
        (f"[[key]]\n{GOOD.replace('ingest', 'write')}", "line 1: rights must be some of"),
        (f"[[key]]\n{GOOD.replace('0', 'z')}", "line 1: sha256"),
        ("[[key]]\n" + GOOD.replace('"t"', '""'), "line 1: tenant"),
        ("[[key]]\n" + GOOD.replace('"a"', '"a_b"'), "line 1: id"),
        (f"[[key]]\n{GOOD}origins = 'x'\n", "line 1: origins must be a list"),
        (f"[[key]]\n{GOOD}origins = ['https://a.example/']\n", "line 1: origins must be as browsers write them"),
        ("[key]\nid = 1\n", r"only \[\[key\]\] sections"),
        ("[keys]\n", r"only \[\[key\]\] sections"),
        ("key = [1]\n", "a key has only"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(KeysError, match=says) as refused:
        Keys(file)
    assert str(file) in str(refused.value)


def test_without_a_file_there_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match=r"none\.toml"):
        Keys(tmp_path / "none.toml")
