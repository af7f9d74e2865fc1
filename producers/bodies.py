"""Request bodies: read with a limit and a deadline, then parsed to items. Only here is a client's JSON parsed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import orjson
from starlette.types import Receive

from producers.dialects.exchange import Body, Item, Problem, Reply
from schemas.constraints import Violation

MAX_BODY = 1 << 20
MAX_EVENTS = 1_000
_DRAIN = 16 * MAX_BODY  # a client mid-upload reads its 413 only if somebody takes in what it still sends
REQUEST = 64 << 10  # what a request takes beside its body: at most this much of headers, and the work on them


class ProblemError(Exception):
    """A whole request that cannot be served."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class DisconnectedError(Exception):
    """The client went away before its body was complete: nobody is there to answer."""


class Memory:
    """How many bytes requests hold at this moment, at most `limit`, and nobody more than what is left.

    So who is alone may hold half, and each of `n` who hold as much as they may leaves the next one about as much.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._by_owner: Counter[str] = Counter()

    @contextmanager
    def hold(self, owner: str, size: int = REQUEST) -> Iterator[Share]:
        """Admit one request of `owner`: its share, which is given back at the end."""
        share = Share(self, owner)
        try:
            share.take(size)
            yield share
        finally:
            self.give_back(owner, share.size)

    def take(self, owner: str, size: int) -> None:
        """Count `size` bytes more for `owner`, or ProblemError `unavailable`."""
        left = self.limit - self.held - size
        if self._by_owner[owner] + size > left:
            raise ProblemError(Problem("unavailable", "too many requests at once: send all of it again later"))
        self.held += size
        self._by_owner[owner] += size

    def give_back(self, owner: str, size: int) -> None:
        """Undo what was taken."""
        self.held -= size
        self._by_owner[owner] -= size
        if not self._by_owner[owner]:
            del self._by_owner[owner]


class Share:
    """What one request holds."""

    def __init__(self, memory: Memory, owner: str) -> None:
        self._memory, self._owner = memory, owner
        self.size = 0

    def take(self, size: int) -> None:
        """Hold `size` bytes more, or ProblemError `unavailable`."""
        self._memory.take(self._owner, size)
        self.size += size


async def read(receive: Receive, share: Share, seconds: float, limit: int = MAX_BODY) -> bytes:
    """The whole body. ProblemError when it is too large, too slow, or there is no memory for it."""
    try:
        async with asyncio.timeout(seconds):
            return await _chunks(receive, share, limit)
    except TimeoutError:
        raise ProblemError(Problem("timeout", f"the body did not arrive within {seconds:g} s")) from None


async def _chunks(receive: Receive, share: Share, limit: int) -> bytes:
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise DisconnectedError
        chunk: bytes = message.get("body", b"")
        more = message.get("more_body", False) and size <= _DRAIN
        size += len(chunk)
        if size <= limit:
            share.take(len(chunk))
            chunks.append(chunk)
    if size > limit:
        raise ProblemError(Problem("too_large", f"a body must be at most {limit} bytes"))
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def parse(body: bytes, *, lines: bool) -> Body:
    """The items of a body; `lines` for NDJSON. ProblemError for a body as a whole that is unusable."""
    parsed = _lines(body) if lines else _document(body)
    if parsed.many and not parsed.items:
        raise ProblemError(Problem("empty", "there is no event in the body"))
    if len(parsed.items) > MAX_EVENTS:
        raise ProblemError(Problem("too_large", f"a body must hold at most {MAX_EVENTS} events"))
    return parsed


def _lines(body: bytes) -> Body:
    return Body([_line(line) for line in body.split(b"\n") if line.strip()], many=True)


def _line(line: bytes) -> Item:
    line = line.strip()
    try:
        value = orjson.loads(line)
        _require_unique_keys(line, orjson.dumps(value))
    except (ValueError, TypeError) as problem:
        return Item(None, line, Violation(None, "malformed_json", str(problem)))
    return Item(value, line)


def _document(body: bytes) -> Body:
    try:
        value = orjson.loads(body)
        if not isinstance(value, list):
            _require_unique_keys(body, orjson.dumps(value))
            return Body([Item(value, body)])
        items = [Item(element, orjson.dumps(element)) for element in value]
        _require_unique_keys(body, *(item.original for item in items))
    except (ValueError, TypeError) as problem:
        raise ProblemError(Problem("malformed_json", f"the body is not JSON: {problem}")) from None
    return Body(items, many=True)


def _require_unique_keys(sent: bytes, *encoded: bytes) -> None:
    """ValueError when the parser dropped one of two equal keys: which one counts is then anybody's guess.

    What was dropped had quotes around it, so the value encoded again has fewer of them than the text that came in.
    (A quote written as \\u0022 gains one; such a text is at worst taken with its last key.)
    """
    if sum(text.count(b'"') for text in encoded) < sent.count(b'"'):
        raise ValueError("an object has the same key twice")


class Answer(NamedTuple):
    """A reply as it is sent. `again` tells whether a request with the same headers gets the same one at this moment."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    again: Callable[[], bool] | None = None


def encode(reply: Reply, more: Mapping[str, str]) -> Answer:
    """A reply's bytes and headers, those of `more` too."""
    named = {**reply.headers, **more}
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    if reply.status == 204:
        return Answer(204, headers, b"")  # HTTP forbids a body and what describes it
    kind = b"text/plain; charset=utf-8" if reply.plain else b"application/json"
    body = reply.document.encode() if reply.plain else orjson.dumps(reply.document)
    return Answer(reply.status, [(b"content-type", kind), (b"content-length", b"%d" % len(body)), *headers], body)
