"""HTTP clients as good clients are: what got no answer, or one of 5xx, is sent again with the same ids and times."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.stack.ledger import Ledger, Promise
from tests.chaos.stack.plan import TENANTS
from tests.chaos.stack.voices import Event, Voices

_TIMEOUT = 6.0  # shorter than a frozen gateway sleeps
_DRAIN_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Post:
    """One HTTP request; `events` are empty for a vendor's call, whose `rating` is the promise about `request`.

    Of a change the request is the feedback id.
    """

    tenant: str
    path: str
    body: bytes
    content_type: str
    request: str
    events: tuple[Event, ...] = ()
    rating: bool | str | None = None
    broken: int = 0  # items that the gateway must refuse
    method: str = "POST"


class Client(threading.Thread):
    """One connection per gateway, one request at a time. `halt` ends new traffic; then what is pending is sent."""

    def __init__(
        self, gateways: Sequence[int], keys: Mapping[str, str], voices: Voices, ledger: Ledger, rate: float
    ) -> None:
        super().__init__(name="client", daemon=True)
        self._keys, self._voices, self._ledger, self._rate = keys, voices, ledger, rate
        self._connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT) for port in gateways]
        self._pending: deque[Post] = deque()
        self._answered: deque[Post] = deque(maxlen=200)
        self._given: deque[tuple[str, str]] = deque(maxlen=60)  # tenant and feedback id of votes that can be changed
        self._halt = threading.Event()

    def halt(self) -> None:
        """No new requests from now on; join the thread to see everything acknowledged."""
        self._halt.set()

    def run(self) -> None:
        try:
            self._run()
        except Exception as failure:  # noqa: BLE001 - the judge is told
            self._ledger.wonder(f"a client ended: {failure!r}")

    def _run(self) -> None:
        began = time.monotonic()
        while not self._halt.wait(self._voices.dice.expovariate(self._rate)):
            self._speak(time.monotonic() - began)
        deadline = time.monotonic() + _DRAIN_SECONDS
        while self._pending and time.monotonic() < deadline:
            self._send(self._pending.popleft())
            time.sleep(0.02)
        for connection in self._connections:
            connection.close()
        if self._pending:
            self._ledger.wonder(f"{len(self._pending)} requests were never answered, such as {self._pending[0]}")

    def _speak(self, elapsed: float) -> None:
        dice, chance = self._voices.dice, self._voices.dice.random()
        if self._pending and dice.random() < 0.5:
            self._ledger.count("requests sent again for want of an answer")
            self._send(self._pending.popleft())
        if chance < 0.03 and self._answered:
            self._ledger.count("requests sent again for no reason")
            self._send(dice.choice(self._answered))
        elif chance < 0.06:
            self._cut(self._post(elapsed))
        else:
            self._send(self._post(elapsed))

    def _post(self, elapsed: float) -> Post:
        now, choice = time.time_ns() // 1_000_000, self._voices.dice.random()
        if choice < 0.12:
            return self._helicone(elapsed)
        if choice < 0.24:
            return self._batch(elapsed, now)
        if choice < 0.34:
            return self._portkey(elapsed)
        if choice < 0.42 and self._given:
            return self._change()
        tenant, event = self._voices.event(elapsed, now, named=choice < 0.9)
        return Post(tenant, "/v1/events", json.dumps(event).encode(), "application/json", "", (event,))

    def _helicone(self, elapsed: float) -> Post:
        tenant, request, rating = self._voices.rating(elapsed)
        body = json.dumps({"rating": rating}).encode()
        return Post(tenant, f"/v1/request/{request}/feedback", body, "application/json", request, rating=rating)

    def _portkey(self, elapsed: float) -> Post:
        tenant, request, rating = self._voices.rating(elapsed)
        value = self._voices.dice.randint(0, 10) if rating else -1
        body = json.dumps({"trace_id": request, "value": value}).encode()
        return Post(tenant, "/v1/feedback", body, "application/json", request, rating=f"value {value}")

    def _change(self) -> Post:
        """Often right after the vote, at either gateway."""
        dice = self._voices.dice
        tenant, feedback_id = self._given[-1] if dice.random() < 0.5 else dice.choice(self._given)
        value = dice.randint(-10, 10)
        body = json.dumps({"value": value, "metadata": {"model": f"m{dice.randrange(8)}"}}).encode()
        path, rating = f"/v1/feedback/{feedback_id}", f"value {value}"
        return Post(tenant, path, body, "application/json", feedback_id, rating=rating, method="PUT")

    def _batch(self, elapsed: float, now: int) -> Post:
        dice, tenant = self._voices.dice, self._voices.dice.choice(TENANTS)
        drawn = [self._voices.event(elapsed, now, named=True) for _ in range(dice.randrange(6, 60))]
        events = tuple(event for owner, event in drawn if owner == tenant)
        broken = int(dice.random() < 0.1 and bool(events))
        items = [*events, *[{"request_id": "r0", "applause": True}] * broken]
        if dice.random() < 0.3:
            body = "\n".join(map(json.dumps, items)).encode()
            return Post(tenant, "/v1/events", body, "application/x-ndjson", "", events, broken=broken)
        return Post(tenant, "/v1/events", json.dumps(items).encode(), "application/json", "", events, broken=broken)

    def _send(self, post: Post) -> None:
        """One try, on either gateway."""
        connection = self._voices.dice.choice(self._connections)
        self._ledger.count("requests")
        try:
            connection.request(post.method, post.path, post.body, self._headers(post))
            response = connection.getresponse()
            status, answer = response.status, response.read()
        except (OSError, http.client.HTTPException) as failure:
            connection.close()
            self._ledger.count(f"no answer: {type(failure).__name__}")
            self._pending.append(post)
            return
        self._ledger.count(f"status {status}")
        if status >= 500:
            self._pending.append(post)
        else:
            self._judge(post, status, answer)

    def _judge(self, post: Post, status: int, answer: bytes) -> None:
        if post.rating is not None and status == 200:
            way = "helicone" if isinstance(post.rating, bool) else f"portkey's {post.method}"
            self._ledger.acknowledge([Promise(post.tenant, post.request, None, post.rating)], way)
            if way == "portkey's POST":
                self._given.append((post.tenant, json.loads(answer)["feedback_ids"][0]))
        elif post.rating is None and status == (207 if post.broken else 200):
            self._take(post, answer)
        elif not (status == 400 and not post.events):  # an empty batch holds nothing
            self._ledger.wonder(f"status {status} for {post}: {answer!r}")
        self._answered.append(post)

    def _take(self, post: Post, answer: bytes) -> None:
        ids = json.loads(answer)["event_ids"][: len(post.events)]
        wanted = [event.get("event_id", got) for event, got in zip(post.events, ids, strict=True)]
        if ids != wanted or None in ids:
            self._ledger.wonder(f"wrong ids for {post}: {answer!r}")
        pairs = zip(post.events, ids, strict=True)
        promises = [Promise(post.tenant, event["request_id"], event_id) for event, event_id in pairs]
        self._ledger.acknowledge(promises, "native")

    def _headers(self, post: Post) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._keys[post.tenant]}", "Content-Type": post.content_type}

    def _cut(self, post: Post) -> None:
        """Hang up in the middle of the body, or after it without waiting for the answer; it will be sent again."""
        dice, connection = self._voices.dice, self._voices.dice.choice(self._connections)
        lines = [f"{post.method} {post.path} HTTP/1.1", "Host: here", f"Content-Length: {len(post.body)}"]
        lines += [f"{name}: {value}" for name, value in self._headers(post).items()]
        whole = "\r\n".join([*lines, "", ""]).encode() + post.body
        kept = whole if dice.random() < 0.4 else whole[: -dice.randrange(1, max(2, len(post.body)))]
        self._ledger.count("requests cut")
        try:
            with socket.create_connection(("127.0.0.1", connection.port), timeout=_TIMEOUT) as line:
                line.sendall(kept)
        except OSError:
            self._ledger.count("no answer: cut before it began")
        self._pending.append(post)
