"""Which gateway a command talks to: named by options, or by the ready file of `thumbstream up`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

DEFAULT_READY = Path(".thumbstream/ready.json")


@dataclass(frozen=True, slots=True)
class Target:
    """Address and secret."""

    url: str
    api_key: str

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.api_key}"}


def read_ready(path: Path | None) -> dict[str, Any]:
    """The ready file. UsageError when it is not there: nothing runs, or it runs elsewhere."""
    file = path or DEFAULT_READY
    try:
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise click.UsageError(f"no ready file {file}: is `thumbstream up` running? (see --ready-file)") from error
    return content


def find(url: str | None, api_key: str | None, ready_file: Path | None) -> Target:
    """The gateway to talk to. Options win over the ready file."""
    if url and api_key:
        return Target(url.rstrip("/"), api_key)
    ready = read_ready(ready_file)
    return Target((url or str(ready["gateway_url"])).rstrip("/"), api_key or str(ready["api_key"]))
