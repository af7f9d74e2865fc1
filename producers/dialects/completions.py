"""What was asked and answered in a logged model call, in the forms of OpenAI, Anthropic and Google."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def model(*documents: Mapping[str, Any]) -> str | None:
    """The first model that one of the documents names."""
    return next((found for each in documents if isinstance(found := each.get("model"), str) and found), None)


def prompt(request: Mapping[str, Any]) -> Any:
    """The messages, contents, prompt or input of a request as sent; None when it has none of them."""
    return next((request[name] for name in ("messages", "contents", "prompt", "input") if request.get(name)), None)


_COUNTS = {
    "prompt_tokens": ("prompt_tokens", "input_tokens", "promptTokenCount"),
    "completion_tokens": ("completion_tokens", "output_tokens", "candidatesTokenCount"),
    "total_tokens": ("total_tokens", "totalTokenCount"),
}


def tokens(response: Mapping[str, Any]) -> dict[str, int]:
    """How many tokens a response says it took; what it does not say is left out, the total excepted."""
    said = next((found for name in ("usage", "usageMetadata") if isinstance(found := response.get(name), dict)), {})
    counts = {ours: said[name] for ours, names in _COUNTS.items() for name in names if type(said.get(name)) is int}
    if len(counts) == 2 and "total_tokens" not in counts:
        counts["total_tokens"] = sum(counts.values())
    return counts


def answer(response: Mapping[str, Any]) -> str | None:
    """The text of the first answer; None when there is none in a known form."""
    chosen, candidate = _first(response.get("choices")), _first(response.get("candidates"))
    message, content = chosen.get("message"), candidate.get("content")
    return (
        _text(message.get("content") if isinstance(message, dict) else chosen.get("text"))
        or _text(content.get("parts") if isinstance(content, dict) else None)
        or _text(response.get("content"))
        or _text(response.get("output_text"))
    )


def _first(choices: Any) -> Mapping[str, Any]:
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


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
    pieces = [_decoded(line) for line in text.split("\n") if line.strip()]  # JSON may hold other ends of lines
    if pieces and all(piece is not None for piece in pieces):
        return _whole("".join(_delta(piece) for piece in pieces if piece is not None)) or None
    return text or None


def _whole(text: str) -> str:
    """The text with halves of characters joined that came in two pieces of a stream."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _decoded(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _delta(piece: Mapping[str, Any]) -> str:
    delta = _first(piece.get("choices")).get("delta")
    return (_text(delta.get("content")) if isinstance(delta, dict) else None) or ""
