"""What was asked and answered in a logged model call, in the forms that OpenAI and Anthropic gave these fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def model(*documents: Mapping[str, Any]) -> str | None:
    """The first model that one of the documents names."""
    return next((found for each in documents if isinstance(found := each.get("model"), str) and found), None)


def prompt(request: Mapping[str, Any]) -> Any:
    """The messages, prompt or input of a request as sent; None when it has none of them."""
    return next((request[name] for name in ("messages", "prompt", "input") if request.get(name)), None)


def answer(response: Mapping[str, Any]) -> str | None:
    """The text of the first answer; None when there is none in a known form."""
    return _chosen(response.get("choices")) or _text(response.get("content")) or _text(response.get("output_text"))


def _chosen(choices: Any) -> str | None:
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return None
    message = first.get("message")
    return _text(message.get("content")) if isinstance(message, dict) else _text(first.get("text"))


def _text(content: Any) -> str | None:
    """A text itself, or the text parts of a list of parts."""
    if isinstance(content, str):
        return content or None
    parts = content if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "".join(texts) or None


def answer_in_text(text: str) -> str | None:
    """The same for an answer logged as text: one JSON document, a line for each piece of a stream, or the answer."""
    whole = _decoded(text)
    if whole is not None:
        return answer(whole)
    pieces = [_decoded(line) for line in text.splitlines()]
    if pieces and all(piece is not None for piece in pieces):
        return "".join(_delta(piece) for piece in pieces if piece is not None) or None
    return text or None


def _decoded(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _delta(piece: Mapping[str, Any]) -> str:
    choices = piece.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    delta = first.get("delta") if isinstance(first, dict) else None
    return (_text(delta.get("content")) if isinstance(delta, dict) else None) or ""
