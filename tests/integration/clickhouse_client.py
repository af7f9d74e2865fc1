"""A bare HTTP client for the embedded ClickHouse, so that tests see status, headers and bytes as they are."""

import http.client
import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

_NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> int | None:
        """ClickHouse's error number, None when there was no error."""
        code = self.headers.get("x-clickhouse-exception-code")
        return int(code) if code else None

    @property
    def written_rows(self) -> int:
        """What the summary says about an INSERT."""
        return int(json.loads(self.headers["x-clickhouse-summary"])["written_rows"])


@dataclass(frozen=True, slots=True)
class Client:
    """Asks one server as one login; None asks without a login."""

    url: str
    login: tuple[str, str] | None

    def ask(
        self,
        sql: str | None = None,
        body: bytes | Iterable[bytes] = b"",
        *,
        method: str = "POST",
        path: str = "/",
        headers: Mapping[str, str] = _NONE,
        options: Mapping[str, str] = _NONE,
    ) -> Answer:
        """Send one request on a connection of its own; `sql` and `options` go into the URL."""
        place = urlsplit(self.url)
        login = {"X-ClickHouse-User": self.login[0], "X-ClickHouse-Key": self.login[1]} if self.login else {}
        query = urlencode({**options, **({"query": sql} if sql is not None else {})})
        with closing(http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)) as connection:
            connection.request(method, f"{path}?{query}", body, {**login, **headers})
            reply = connection.getresponse()
            received = {name.lower(): value for name, value in reply.getheaders()}
            return Answer(reply.status, received, reply.read())

    def value(self, sql: str, options: Mapping[str, str] = _NONE) -> str:
        """Give a result as text, or fail with the server's words."""
        answer = self.ask(sql, options=options)
        assert answer.status == 200, answer.body.decode()
        return answer.body.decode().rstrip("\n")
