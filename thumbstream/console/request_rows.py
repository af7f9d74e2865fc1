"""A row of the view `requests` as Helicone's clients read it. Pure.

Every field of the vendor's schema is there; what no event told is null, for absent is not zero.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from thumbstream.console.request_columns import SCORE_OF_RATING, SCORE_PREFIX

_NUMBER = re.compile(r"-?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?")
_LEAST, _MOST = -(2**63), 2**64 - 1  # whole numbers beyond are not written as JSON
_TRUTH = {"true": "1", "false": "0"}  # a score may be a boolean
_TEXTS = ("prompt", "response")  # of the conversation; long, and no properties
_UNKNOWN: Mapping[str, Any] = {
    "response_id": None, "response_created_at": None, "model_override": None, "helicone_user": None,
    "prompt_cache_write_tokens": None, "prompt_cache_read_tokens": None, "reasoning_tokens": None,
    "prompt_audio_tokens": None, "completion_audio_tokens": None, "feedback_id": None, "signed_body_url": None,
    "llmSchema": None, "asset_ids": None, "asset_urls": None, "assets": [], "cache_reference_id": None,
    "cache_enabled": None, "request_referrer": None, "ai_gateway_body_mapping": None, "storage_location": None,
}  # fmt: skip
_NUMBERS = {
    "response_status": "status",
    "delay_ms": "latency",
    "time_to_first_token": "time_to_first_token",
    "total_tokens": "total_tokens",
    "prompt_tokens": "prompt_tokens",
    "completion_tokens": "completion_tokens",
    "cost": "cost",
    "costUSD": "cost",
}
_LOGGED = {
    "provider": "provider",
    "request_path": "path",
    "target_url": "target_url",
    "country_code": "country_code",
    "request_body": "prompt",
    "response_body": "response",
}


def request_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Helicone's row from one of `request_statements`."""
    entries: Mapping[str, str] = row["entries"]
    properties = {key: text for key, text in entries.items() if key not in _TEXTS and not key.startswith(SCORE_PREFIX)}
    rating = _rating(row)
    return {
        **_UNKNOWN,
        **{field: _number(entries.get(key)) for field, key in _NUMBERS.items()},
        **{field: entries.get(key) for field, key in _LOGGED.items()},
        "request_id": row["id"],
        "request_created_at": _iso(row["first_ms"]),
        "request_user_id": row["user"],
        "request_model": row["model_name"],
        "response_model": row["model_name"],
        "model": row["model_name"],
        "prompt_id": row["prompt"],
        "prompt_version": row["version"],
        "request_properties": properties,
        "properties": properties,
        "scores": _scores(entries, rating),
        "feedback_rating": rating,
        "feedback_created_at": _iso(row["voted_ms"]) if row["kind"] == "explicit" else None,
        "feedback_comment": row["words"] or None,
        "updated_at": _iso(row["updated_ms"]),
    }


def _rating(row: Mapping[str, Any]) -> bool | None:
    """True or false for a person's thumb; a neutral vote and an implicit signal are none."""
    return row["vote"] == 1 if row["kind"] == "explicit" and row["vote"] else None


def _scores(entries: Mapping[str, str], rating: bool | None) -> dict[str, float] | None:
    found = {
        key.removeprefix(SCORE_PREFIX): number
        for key, text in entries.items()
        if key.startswith(SCORE_PREFIX) and (number := _number(_TRUTH.get(text, text))) is not None
    }
    if rating is not None:
        found[SCORE_OF_RATING] = int(rating)
    return found or None


def _number(text: str | None) -> float | None:
    if text is None or not _NUMBER.fullmatch(text):
        return None
    if set(text) & set(".eE"):
        return float(text)
    number = int(text)
    return number if _LEAST <= number <= _MOST else float(text)


def _iso(milliseconds: Any) -> str | None:
    if milliseconds is None:
        return None
    moment = datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
