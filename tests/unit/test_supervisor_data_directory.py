"""A data directory has one user at a time."""

import os
from pathlib import Path

import pytest

from thumbstream.local.data_directory import DataDirectoryInUseError, exclusive


def test_the_second_user_is_told_who_the_first_is_and_may_follow_later(tmp_path: Path) -> None:
    directory = tmp_path / "made"
    with (
        exclusive(directory),
        pytest.raises(DataDirectoryInUseError, match=rf"made is in use by process {os.getpid()}$"),
        exclusive(directory),
    ):
        raise AssertionError("two users at once")
    with exclusive(directory):
        assert (directory / "lock").read_text() == f"{os.getpid()}\n"
