"""Blocks of `sh` after the comment `<!-- runs -->` in README and docs are run, in order, against a running `up`.

All blocks of a page are one shell session, as a reader types them. Where such a block is followed by a block of `text`,
its output must be that, but for ids and times.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.polling import wait_until
from tests.system.conftest import Running

pytestmark = [pytest.mark.system, pytest.mark.integration]

ROOT = Path(__file__).resolve().parents[2]
PAGE_SECONDS = 60
_BLOCK = re.compile(r"<!-- runs -->\n```sh\n(.*?)```\n(?:```text\n(.*?)```\n)?", re.DOTALL)
_VARIABLE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|\b\d+\.\d s\b")
_END = "--- end of block ---"


def blocks(page: Path) -> list[tuple[str, str]]:
    """(commands, output or nothing) of every block that runs."""
    return _BLOCK.findall(page.read_text("utf-8"))


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if blocks(page)]


@pytest.fixture
def place(up: Running, tmp_path: Path) -> Path:
    """A directory like a fresh checkout in which `thumbstream up` was started."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (tmp_path / ".thumbstream").symlink_to(up.directory)
    return tmp_path


def environment() -> dict[str, str]:
    """The reader's: our command and Python first in PATH, this checkout's packages, no settings of whoever tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("THUMBSTREAM_")}
    path = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", "")))
    return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "110"}


def run(place: Path, script: str) -> str:
    """What a script prints; it must succeed at every step."""
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command, cwd=place, env=environment(), capture_output=True, text=True, timeout=PAGE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def comparable(text: str) -> str:
    return _VARIABLE.sub("*", text.strip())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_do_what_it_says(place: Path, page: Path) -> None:
    script = "".join(f"{commands}\necho; echo '{_END}'\n" for commands, _ in blocks(page))
    printed = run(place, script).split(_END)[:-1]
    assert len(printed) == len(blocks(page))
    for (commands, wanted), output in zip(blocks(page), printed, strict=True):
        if wanted:
            assert comparable(output) == comparable(wanted), commands


def test_the_readme_is_among_them_with_sending_loading_and_asking() -> None:
    commands = "\n".join(commands for commands, _ in blocks(ROOT / "README.md"))
    for word in ("curl", "/v1/events", "/v1/request/", "thumbstream send", "thumbstream load", "thumbstream sql"):
        assert word in commands


def test_what_the_file_says_is_what_analysts_see(place: Path) -> None:
    ready = place / ".thumbstream" / "ready.json"
    load = f"thumbstream load examples/votes.csv --map event_time=voted --map metadata.model=bot --ready-file {ready}"
    run(place, load)
    query = (
        "SELECT model, countIf(polarity = -1) AS negative, count() AS votes FROM current_votes"
        " WHERE startsWith(request_id, 'support-') GROUP BY model ORDER BY model"
    )
    wanted = [
        {"model": "atlas-1", "negative": 1, "votes": 2},
        {"model": "atlas-2", "negative": 0, "votes": 2},
        {"model": "breeze-mini", "negative": 1, "votes": 1},
    ]

    def answer() -> list[dict[str, object]]:
        lines = run(place, f'thumbstream sql --json "{query}" --ready-file {ready}').splitlines()
        return [json.loads(line) for line in lines]

    wait_until(lambda: answer() == wanted, 60, "the file's votes in current_votes")
