"""Whatever is sent to any route: no 5xx, nothing published without a 2xx, a refusal in the caller's own form."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.bodies import ProblemError, parse
from producers.dialects.exchange import Dialect, Problem
from producers.dialects.native import NATIVE, NDJSON
from producers.dialects.routing import ROUTES, Route, Router, speaker
from producers.feedback_ids import unshared_ids
from tests.fixtures.memory_gateway import MemoryGateway
from tests.fixtures.refusal_forms import form, seen
from tests.fixtures.vendor_samples import Player, samples

_IDS = unshared_ids()
Header = tuple[bytes, bytes]
Answer = tuple[int, dict[bytes, bytes], bytes]


def _bodies(route: Route) -> list[Any]:
    """What clients really send there, as far as golden files know."""
    return [
        exchange["request"]["body"]
        for sample in samples()
        if route.dialect.name.startswith(sample.name.partition("/")[0])
        for exchange in sample.exchanges
        if exchange["request"]["method"] == route.method
        and "body" in exchange["request"]
        and exchange["reply"]["status"] < 300
        and route.path(exchange["request"]["path"].removesuffix("/").split("/")[1:]) is not None
    ]


# What golden files have no sample of. A route without an entry is fuzzed with any JSON.
_MORE: dict[str, list[Any]] = {
    "/v1/events": [
        {"request_id": "r", "rating": True, "metadata": {"model": "m"}, "tags": ["t"], "event_time": 1_767_268_800_000},
        [{"request_id": "r", "score": 3, "scale": [1, 5]}, {"request_id": "r", "kind": "retract"}],
    ],
    "/v1/feedback-tokens": [{"request_id": "r", "values": {"rating": True, "scale": [1, 5]}, "expires_in": 60}],
    "/v1/token-feedback": [{"rating": True, "comment": "c"}, [{"rating": False}, {"kind": "retract"}]],
    "/v1/session/{session_id}/feedback": [{"rating": True}],
    "/v1/request/{request_id}/property": [{"key": "plan", "value": "pro"}],
    "/v1/request/{request_id}/score": [{"scores": {"accuracy": 1, "fluent": True}}],
    "/v1/feedback": [{"helicone-id": "h", "name": "n", "value": 1, "data-type": "numerical"}],
    "/v1/feedback/{feedback_id}": [{"value": 3, "weight": 0.5, "metadata": {"_user": "u"}, "text": "t"}],
    "/feedback/{feedback_id}": [{"value": 3}],
    "/feedback": [{"id": "g", "good_response": True, "desired_response": "", "feedback": ""}],
}
_LOG = {
    "providerRequest": {
        "url": "u",
        "json": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        "meta": {"Helicone-Property-App": "shop"},
    },
    "providerResponse": {
        "status": 200,
        "headers": {},
        "json": {"choices": [{"message": {"content": "hello"}}], "content": [{"type": "text", "text": "t"}]},
        "textBody": '{"choices": [{"delta": {"content": "x"}}]}',
    },
    "timing": {
        "startTime": {"seconds": 1_767_268_800, "milliseconds": 5},
        "endTime": {"seconds": 1, "milliseconds": 2},
    },
    "provider": "p",
}

_texts = st.text(max_size=20) | st.sampled_from(["", "\0", "a" * 257, "é" * 200, "\u202e", "NaN", "true", "1e999"])
_numbers = (
    st.integers(min_value=-(2**80), max_value=2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, 1, -1, 5, 10, 11, 1e308, 5e-324, 2**63, 2**64])
)
_scalars = st.none() | st.booleans() | _numbers | _texts
_values = st.recursive(
    _scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4), max_leaves=12
)
_broken = st.sampled_from(
    [
        b"", b" ", b"{", b"nul", b"NaN", b"[NaN]", b'{"rating": NaN}', b'{"rating": Infinity}', b"\xff\xfe", b"\0",
        b'{"rating": true, "rating": false}', b'{"data": {"a": 1, "a": 2}}', b'{"rating": "\\ud800"}', b"1e999",
        b'{"\\ud800": 1}', b'{"rating": "\x00"}', b'{"rating": "\\u0000"}', b"[" * 100_000, b'{"a":' * 100_000,
        b'{"data":' + b"[" * 200 + b"]" * 200 + b"}", b'{"data": {"a":' + b"[" * 100 + b"]" * 100 + b"}}",
        b'{"rating": ' + b"9" * 5_000 + b"}", b'{"data": {"rating": 1e400}}', b'{"rating": true}\n{"rating": false}',
        b'\xef\xbb\xbf{"rating": true}', b'{"data": {"' + b"k" * 200 + b'": 1}}', b"[]", b"[[]]",
        b"[" + b"1," * 1_100 + b"1]", b'{"data": "' + b"x" * 300_000 + b'"}',
    ]
)  # fmt: skip


@st.composite
def _mutated(draw: st.DrawFn, base: Any) -> Any:
    """A real body with one place replaced, dropped or added to; sometimes the body as it is."""
    places = list(_places(base))
    place = draw(st.sampled_from(places))
    action = draw(st.sampled_from(["keep", "replace", "drop", "add"]))
    copy = json.loads(json.dumps(base))
    if action == "keep" or not place:
        return copy if action == "keep" else draw(_values)
    parent = copy
    for step in place[:-1]:
        parent = parent[step]
    if action == "drop":
        del parent[place[-1]]
    elif action == "add" and isinstance(parent, dict):
        parent[draw(_texts)] = draw(_values)
    else:
        parent[place[-1]] = draw(_values)
    return copy


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from _places(inner, (*path, step))


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode()


def _contents(route: Route) -> st.SearchStrategy[bytes]:
    bases = [*_bodies(route), *_MORE.get(route.template, [])]
    if route.template.endswith("/log"):
        bases.append(_LOG)
    real = st.sampled_from(bases).flatmap(_mutated).map(_encoded) if bases else st.nothing()
    return real | real | _values.map(_encoded) | _broken | st.binary(max_size=40)


_segments = st.one_of(
    st.sampled_from(
        [b"req_123abc", b"%00", b"%ff", b"%", b"a%2Fb", b"%C3%A9", b"a" * 300, b"\xff", b"..", b"%0a", b"~"]
    ),
    st.text("abc-_.%0", min_size=1, max_size=12).map(str.encode),
)
_odd_headers = st.lists(
    st.tuples(
        st.sampled_from([
            b"content-type", b"user-agent", b"content-encoding", b"helicone-request-id", b"helicone-user-id",
            b"helicone-property-app", b"helicone-property-", b"helicone-auth", b"x-portkey-api-key", b"authorization",
            b"x-portkey-metadata", b"x-portkey-trace-id", b"cohere-version", b"origin", b"cookie", b"expect",
        ]),
        st.binary(max_size=30)
        | st.sampled_from([b"Bearer", b"application/x-ndjson", b"text/plain", b"gzip", b"{", b'{"a":1}']),
    ),
    max_size=4,
)  # fmt: skip


async def _call(gateway: MemoryGateway, method: str, raw_path: bytes, headers: list[Header], body: bytes) -> Answer:
    """One request as a server hands it over: bytes that no HTTP client library would send may be among them."""
    messages: list[dict[str, Any]] = []
    inbox = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        return next(inbox)

    async def send(message: Any) -> None:
        messages.append(message)

    path = unquote_to_bytes(raw_path).decode("utf-8", "replace")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": raw_path,
        "query_string": b"",
        "headers": headers,
    }
    await gateway.app(scope, receive, send)
    start, content = messages
    return start["status"], dict(start["headers"]), content["body"]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> MemoryGateway:
    return MemoryGateway(tmp_path_factory.mktemp("fuzz"), rights=("ingest", "tokens"), feedback_ids=_IDS)


def _path(route: Route) -> bytes:
    """A path of the route, with a feedback id that the gateway knows as its own."""
    known = route.template.replace("{feedback_id}", _IDS.issue("acme", "r"))
    return known.replace("{", "").replace("}", "").encode()


def _check(gateway: MemoryGateway, before: int, answer: Answer, dialect: Dialect) -> None:
    status, headers, body = answer
    assert status < 500, body
    if status >= 300:
        assert len(gateway.publisher.messages) == before, "published without a 2xx"
        named = {name.decode(): value.decode("latin-1") for name, value in headers.items()}
        assert seen(named, body) == form(dialect, status)
    else:
        assert status == 204 or body, "clients read a 2xx with nothing in it as a failure"
        assert (b"content-type" in headers) == (status != 204)


def _send(gateway: MemoryGateway, method: str, path: bytes, headers: list[Header], body: bytes) -> Answer:
    before = len(gateway.publisher.messages)
    answer = asyncio.run(_call(gateway, method, path, headers, body))
    _check(gateway, before, answer, _form_of(method, path, headers, body, answer[0]))
    gateway.events  # noqa: B018 - everything published can be read back
    gateway.publisher.messages.clear()
    return answer


def _form_of(method: str, path: bytes, headers: list[Header], body: bytes, status: int) -> Dialect:
    """Whose form a refusal must have: the path's and the headers' before the body is understood, then the body's."""
    router = Router()
    found = router.match(method, path.decode("latin-1"))
    named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    if isinstance(found, Problem):
        routes = router.at(path.decode("latin-1"))
        return speaker(routes, named) if routes else NATIVE
    lines = named.get("content-type", "").partition(";")[0].strip().lower() in NDJSON
    unread = status in (401, 413, 415)
    try:
        parsed = None if unread else parse(body, lines=lines)
    except ProblemError:
        parsed = None
    if parsed is None:
        return speaker(found, named)
    return next((route.dialect for route, _ in found if route.claims(named, parsed)), found[-1][0].dialect)


def _key(gateway: MemoryGateway, route: Route, key: str | None = None) -> list[Header]:
    """What a caller of the route shows: a token where tokens are taken, else the key in the dialect's own header."""
    if route.dialect.token is not None:
        return [(b"authorization", f"Bearer {gateway.token('r')}".encode())]
    bare = route.sign == "x-portkey-api-key"
    return [((route.sign or "authorization").encode(), f"{'' if bare else 'Bearer '}{key or gateway.key}".encode())]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.template}, {route.dialect.name}")
def test_no_body_breaks_a_route(gateway: MemoryGateway, route: Route) -> None:
    @settings(max_examples=settings().max_examples // 2)
    @given(_contents(route), _odd_headers)
    def attack(body: bytes, odd: list[Header]) -> None:
        path = _path(route)
        _send(gateway, route.method, path, [*_key(gateway, route), *odd], body)

    attack()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.template}, {route.dialect.name}")
def test_no_path_breaks_a_route(gateway: MemoryGateway, route: Route) -> None:
    bases = [*_bodies(route), *_MORE.get(route.template, []), _LOG]

    @settings(max_examples=settings().max_examples // 5)
    @given(st.lists(_segments, min_size=1, max_size=3), st.booleans())
    def attack(segments: list[bytes], slash: bool) -> None:
        parts = [segments[0] if part.startswith("{") else part.encode() for part in route.template.split("/")[1:]]
        path = b"/" + b"/".join([*parts, *segments[1:2]]) + (b"/" if slash else b"")
        _send(gateway, route.method, path, _key(gateway, route), _encoded(bases[0]))

    attack()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.template}, {route.dialect.name}")
def test_a_real_body_is_taken_and_a_stranger_is_refused_in_the_routes_own_form(
    gateway: MemoryGateway, route: Route
) -> None:
    path = _path(route)
    body = _encoded([*_bodies(route), *_MORE.get(route.template, []), _LOG][0])
    status = _send(gateway, route.method, path, _key(gateway, route), body)[0]
    assert status in ((403,) if route.method == "DELETE" else (200, 201, 204))  # only an admin's key may erase
    if route.dialect.token is None and route.dialect.reads_body:
        assert _send(gateway, route.method, path, _key(gateway, route, gateway.reader), body)[0] == 403
    assert _send(gateway, route.method, path, [], body)[0] == 401
    assert _send(gateway, "PATCH", path, _key(gateway, route), body)[0] == 405


def test_the_golden_files_are_read(tmp_path: Path) -> None:
    """The fuzz of a vendor's route begins with what its clients send."""
    assert all(Player(sample, "k").request(sample.exchanges[0]["request"]).content for sample in samples())
    assert all(_bodies(route) for route in ROUTES if route.template == "/v1/request/{request_id}/feedback")
