"""What Helicone's filters and sort orders can name, and the expression over the view `requests` each name stands for.

Pure data. A caller's text is looked up here and never becomes SQL itself. Every expression is NULL where a request has
no such value; `@key` in it stands for the key of a map, which is a parameter of the query.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "boolean", "time"]

TEXT_OPERATORS = ("equals", "not-equals", "like", "ilike", "contains", "not-contains")
NUMBER_OPERATORS = ("equals", "not-equals", "gte", "lte", "lt", "gt")
OPERATORS: Mapping[Kind, tuple[str, ...]] = {
    "text": TEXT_OPERATORS,
    "number": NUMBER_OPERATORS,
    "boolean": ("equals", "not-equals"),
    "time": NUMBER_OPERATORS,
}
SCORE_OF_RATING = "helicone-score-feedback"
SCORE_PREFIX = "score."  # metadata keys under which scores lie


@dataclass(frozen=True, slots=True)
class Column:
    """One thing to compare: `sql` gives text, a float, a boolean, or microseconds since 1970 for a time.

    `keyed`: the caller names a key first; the parameter that takes the place of `@key` is `prefix` and that key.
    """

    kind: Kind
    sql: str
    keyed: bool = False
    prefix: str = ""


def _logged(key: str) -> str:
    """The text under a key of the metadata."""
    return f"if(mapContains(metadata, '{key}'), metadata['{key}'], NULL)"


def _text(key: str) -> Column:
    return Column("text", _logged(key))


def _number(key: str) -> Column:
    return Column("number", f"toFloat64OrNull({_logged(key)})")


def _dimension(name: str) -> Column:
    return Column("text", f"nullIf({name}, '(none)')")


def _time(name: str) -> Column:
    return Column("time", f"toUnixTimestamp64Milli({name}) * 1000")


_KEY = "if(mapContains(metadata, @key), metadata[@key], NULL)"
_RATED = "signal = 'explicit' AND polarity != 0"
REQUEST_ID = Column("text", "request_id")
CREATED = _time("first_seen")
USER = Column("text", "nullIf(user_id, '')")
MODEL = _dimension("model")
PROMPT_ID = _dimension("prompt_id")
RATING = Column("boolean", f"if({_RATED}, polarity = 1, NULL)")
RATING_SCORE = Column("number", f"if({_RATED}, toFloat64(polarity = 1), NULL)")
RATED_AT = _time("if(signal = 'explicit', voted_at, NULL)")
PROPERTY = Column("text", _KEY, keyed=True)
SCORE = Column(
    "number",
    f"multiIf({_KEY} = 'true', 1., {_KEY} = 'false', 0., toFloat64OrNull({_KEY}))",
    keyed=True,
    prefix=SCORE_PREFIX,
)
SCORED = Column(
    "boolean", f"(ifNull({_RATED}, 0) OR arrayExists(k -> startsWith(k, '{SCORE_PREFIX}'), mapKeys(metadata)))"
)

# table -> column -> what it stands for; a table that is a Column is a map: its columns are keys.
TABLES: Mapping[str, Mapping[str, Column] | Column] = {
    "feedback": {"rating": RATING, "created_at": RATED_AT},
    "request": {
        "id": REQUEST_ID,
        "created_at": CREATED,
        "user_id": USER,
        "model": MODEL,
        "prompt_id": PROMPT_ID,
        "prompt": _text("prompt"),
        "path": _text("path"),
        "country_code": _text("country_code"),
    },
    "response": {
        "status": _number("status"),
        "model": MODEL,
        "body_model": MODEL,
        "body_tokens": _number("total_tokens"),
        "body_completion": _text("response"),
    },
    "properties": PROPERTY,
    "request_response_rmt": {
        "request_id": REQUEST_ID,
        "request_created_at": CREATED,
        "user_id": USER,
        "model": MODEL,
        "prompt_id": PROMPT_ID,
        "prompt_version": _dimension("prompt_version"),
        "provider": _text("provider"),
        "status": _number("status"),
        "latency": _number("latency"),
        "time_to_first_token": _number("time_to_first_token"),
        "cost": _number("cost"),
        "prompt_tokens": _number("prompt_tokens"),
        "completion_tokens": _number("completion_tokens"),
        "total_tokens": _number("total_tokens"),
        "country_code": _text("country_code"),
        "target_url": _text("target_url"),
        "request_body": _text("prompt"),
        "response_body": _text("response"),
        "properties": PROPERTY,
        "search_properties": PROPERTY,
        "scores": SCORE,
        SCORE_OF_RATING: RATING,
    },
}

SORTS: Mapping[str, Column] = {
    "created_at": CREATED,
    "last_active": _time("updated_at"),
    "user_id": USER,
    "body_model": MODEL,
    "latency": _number("latency"),
    "time_to_first_token": _number("time_to_first_token"),
    "cost": _number("cost"),
    "prompt_tokens": _number("prompt_tokens"),
    "completion_tokens": _number("completion_tokens"),
    "total_tokens": _number("total_tokens"),
    "request_prompt": _text("prompt"),
    "response_text": _text("response"),
    "properties": PROPERTY,
}
