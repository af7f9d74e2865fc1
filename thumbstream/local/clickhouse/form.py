"""Fields of a multipart form: clickhouse-connect sends long query parameters that way."""

from __future__ import annotations

import re

from thumbstream.local.clickhouse.errors import ClickHouseError

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?')
_NAME = re.compile(rb'[;\s]name="([^"]*)"')


def read_form(content_type: str, body: bytes) -> dict[str, str]:
    """Give the fields by name. Raises `ClickHouseError` 48 for a file (an external table) and 27 for junk."""
    boundary = _BOUNDARY.search(content_type)
    parts = body.split(b"--" + boundary[1].encode()) if boundary else []
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise ClickHouseError(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", "The multipart body is malformed")
    return dict(_field(part) for part in parts[1:-1])


def _field(part: bytes) -> tuple[str, str]:
    head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    name = _NAME.search(head)
    if b"filename" in head or name is None:
        raise ClickHouseError(48, "NOT_IMPLEMENTED", "External tables are not supported by this server")
    return name[1].decode("utf-8", "replace"), content.removesuffix(b"\r\n").decode("utf-8", "surrogateescape")
