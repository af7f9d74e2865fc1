"""Who may do what: the settings analysts may send, their limits, and the gate every statement passes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

from thumbstream.local.clickhouse.errors import ClickHouseError
from thumbstream.local.clickhouse.logins import Login
from thumbstream.local.clickhouse.statements import QUOTED, Statement

ANALYST_LIMITS = {
    "max_execution_time": "30",
    "timeout_overflow_mode": "throw",
    "max_memory_usage": "1500000000",
    "max_result_bytes": "1000000000",
    "max_bytes_before_external_group_by": "500000000",
    "max_threads": "2",
}
# Limits of their own that analysts may lower for one query, as a client does that must not wait long.
LOWERABLE = frozenset({"max_execution_time", "max_memory_usage", "max_result_bytes", "max_threads"})
# Formatting and reading comfort only: nothing that names a file, runs an expression or raises a limit.
ANALYST_SETTINGS = frozenset({
    "cast_string_to_dynamic_use_inference", "date_time_input_format", "date_time_output_format",
    "enable_http_compression", "http_headers_progress_interval_ms", "http_zlib_compression_level", "join_use_nulls",
    "log_comment", "max_block_size", "output_format_arrow_compression_method", "output_format_arrow_string_as_string",
    "output_format_json_quote_64bit_integers", "output_format_json_quote_denormals",
    "output_format_native_encode_types_in_binary_format", "output_format_parquet_string_as_string",
    "output_format_write_statistics", "send_progress_in_http_headers", "session_timezone",
    "use_variant_as_common_type",
})  # fmt: skip
# A quote inside a quoted name must not open a literal, so quoted names are matched too, but keep their text.
_LITERAL = re.compile(QUOTED, re.DOTALL)
_FILE = re.compile(r"\bfile\b", re.IGNORECASE)


class Parser(Protocol):
    """The engine's own parser, as `handle.Handle` gives it."""

    def classify(self, sql: bytes, database: str) -> tuple[str, int]:
        """Give the class of the statement and how many statements there are."""

    def rewrite(self, sql: bytes) -> str | None:
        """Give the statement in the engine's spelling, or None when it cannot be parsed."""


def check_settings(login: Login, settings: Mapping[str, str]) -> None:
    """Raise `ClickHouseError` 164 for a setting this login may not send, or not with this value."""
    for name, value in settings.items():
        if not login.is_admin and name not in ANALYST_SETTINGS and not _lowers(name, value):
            raise ClickHouseError(164, "READONLY", f"Cannot modify '{name}' setting in readonly mode.")


def analyst_limits(settings: Mapping[str, str]) -> dict[str, str]:
    """The limits of one query of an analyst: their own, but for those that the request lowers."""
    return {**ANALYST_LIMITS, **{name: value for name, value in settings.items() if name in LOWERABLE}}


def _lowers(name: str, value: str) -> bool:
    number = int(value) if value.isascii() and value.isdecimal() else 0
    return name in LOWERABLE and 0 < number <= int(ANALYST_LIMITS[name])


def check_statement(login: Login, statement: Statement, parser: Parser, database: str, *, read_only: bool) -> bool:
    """Raise `ClickHouseError` 497, 164 or 62, or tell whether the statement only reads.

    `read_only` is set for an administrator's GET. Analysts only read, always.
    """
    if statement.forbidden:
        raise ClickHouseError(497, "ACCESS_DENIED", f"{login.name}: {statement.forbidden} is not available here.")
    if not login.is_admin:
        _refuse_undecodable(statement)
    kind, count = parser.classify(statement.head, database)
    if count > 1:
        raise ClickHouseError(62, "SYNTAX_ERROR", "Multi-statements are not allowed")
    reads = kind == "READ_ONLY"
    if not reads and (read_only or not login.is_admin):
        message = (
            f"{login.name}: Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly."
        )
        raise ClickHouseError(164, "READONLY", message)
    if not login.is_admin:
        _refuse_file_function(login, statement, parser)
    return reads


def _refuse_undecodable(statement: Statement) -> None:
    """The gate reads text and the engine runs bytes: only what is the same to both may pass."""
    try:
        readable = "\0" not in statement.head.decode()
    except UnicodeDecodeError:
        readable = False
    if not readable:
        raise ClickHouseError(62, "SYNTAX_ERROR", "The statement is not UTF-8 text")


def _refuse_file_function(login: Login, statement: Statement, parser: Parser) -> None:
    """The scalar function `file` needs no grant. The engine's own spelling undoes escapes such as `f\\x69le`."""
    rewritten = parser.rewrite(statement.head)
    if rewritten is None:
        raise ClickHouseError(62, "SYNTAX_ERROR", "The statement cannot be parsed")
    if names_file(rewritten):
        raise ClickHouseError(
            497, "ACCESS_DENIED", f"{login.name}: Not enough privileges: `file` is not for this user."
        )


def names_file(sql: str) -> bool:
    """Tell whether the word `file` stands outside string literals; inside a quoted name it counts."""
    return bool(_FILE.search(_LITERAL.sub(lambda found: "''" if found[0][0] == "'" else found[0], sql)))
