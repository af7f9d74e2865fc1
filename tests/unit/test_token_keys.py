"""Token keys: what the file may say, how rotation goes, and that no secret leaves it but in signatures."""

import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from producers import secret_files
from producers.token_keys import TokenKeys, TokenKeysError, create_if_missing, read, rotate

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
GOOD = f'[[token_key]]\nid = "a"\nsecret = "{"A" * 43}="\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "token-keys.toml"


@pytest.fixture(autouse=True)
def _fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_files, "_log", structlog.get_logger())


def test_the_file_is_made_with_one_key_and_is_private(path: Path) -> None:
    create_if_missing(path, NOW)
    (key,) = read(path)
    assert re.fullmatch(r"20260501-[0-9a-f]{8}", key.id)
    assert len(key.secret) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    create_if_missing(path, NOW)
    assert read(path) == [key]


def test_a_new_key_signs_and_the_older_ones_stay_with_what_people_wrote(path: Path) -> None:
    create_if_missing(path, NOW)
    path.write_text("# ours\n" + path.read_text())
    (first,) = read(path)
    made, removed = rotate(path, NOW)
    keys = TokenKeys(path)
    assert (keys.newest().id, removed) == (made, [])
    assert keys.get(first.id) == first
    assert keys.get("x") is None
    assert path.read_text().startswith("# ours\n")


def test_only_the_newest_are_kept_when_that_is_asked_for(path: Path) -> None:
    made = [rotate(path, NOW)[0] for _ in range(3)]
    last, removed = rotate(path, NOW, keep=2)
    assert removed == made[:2]
    assert [key.id for key in read(path)] == [made[2], last]
    assert rotate(path, NOW, keep=1)[1] == [made[2], last]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_unknown_id_is_looked_for_at_once_and_a_new_key_signs_within_a_second(path: Path) -> None:
    clock = 0.0
    create_if_missing(path, NOW)
    keys = TokenKeys(path, monotonic=lambda: clock)
    made, _ = rotate(path, NOW)
    assert keys.newest().id != made
    assert keys.get(made) is not None
    assert keys.newest().id == made
    another, _ = rotate(path, NOW)
    clock = 1.0
    assert keys.newest().id == another


def test_a_broken_file_keeps_the_old_keys_and_no_secret_is_logged(path: Path) -> None:
    clock = 0.0
    create_if_missing(path, NOW)
    (key,) = read(path)
    text = path.read_text()
    secret = text.split('"')[3]
    keys = TokenKeys(path, monotonic=lambda: clock)
    with capture_logs() as logs:
        for broken in ("", text + "x", text.replace(secret, secret[:20]), text.replace("]]", "]", 1), text + text):
            path.write_text(broken)
            clock += 2
            assert keys.newest() == key
    assert [entry["event"] for entry in logs] == ["token_keys_file_broken"] * 5
    assert secret[:20] not in repr(logs)
    assert secret not in repr(keys.newest())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"no \[\[token_key\]\]"),
        ("[[token_key]\n", "line 1"),
        ("[[key]]\n", r"only \[\[token_key\]\]"),
        ("token_key = 1\n", r"only \[\[token_key\]\]"),
        ("token_key = [1]\n", "section 1: a token key has only"),
        (GOOD + GOOD, "an id is there twice"),
        (GOOD + GOOD.replace('"a"', '"b c"'), "section 2: id"),
        (GOOD + "owner = 1\n", "section 1: a token key has only"),
        (GOOD.replace("A" * 43, "A" * 39), "section 1: secret"),
        (GOOD.replace("A" * 43, "!" * 43), "section 1: secret"),
        (GOOD.replace(f'"{"A" * 43}="', "7"), "section 1: secret"),
    ],
)
def test_what_is_wrong_is_said_without_the_secret(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(TokenKeysError, match=says) as refused:
        TokenKeys(file)
    assert str(file) in str(refused.value)
    assert "AAAA" not in str(refused.value)


def test_a_broken_file_is_not_rotated(path: Path) -> None:
    create_if_missing(path, NOW)
    path.write_text("broken")
    with pytest.raises(TokenKeysError):
        rotate(path, NOW)
    assert path.read_text() == "broken"
