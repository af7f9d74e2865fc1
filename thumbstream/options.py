"""Options that several verbs share, and the settings as they read them."""

from __future__ import annotations

from pathlib import Path

import click

from thumbstream import settings as settings_module
from thumbstream.settings import Settings, SettingsError

FILE = click.Path(path_type=Path, dir_okay=False)
DIRECTORY = click.Path(path_type=Path, file_okay=False)
READY = click.option("--ready-file", type=FILE, help="The ready file of `thumbstream up`; tells address and key.")
URL = click.option("--url", help="Gateway address, as http://127.0.0.1:8080.")
KEY = click.option("--api-key", envvar="THUMBSTREAM_API_KEY", help="Secret of an API key.")
YES = click.option("--yes", is_flag=True, help="Do not ask first.")


def load_settings() -> Settings:
    """The settings of this process. ClickException names the one that cannot be read."""
    try:
        return settings_module.load()
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
