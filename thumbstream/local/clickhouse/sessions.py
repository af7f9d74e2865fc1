"""Handles that live longer than a request, by login and `session_id`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from thumbstream.local.clickhouse.engine import Engine
from thumbstream.local.clickhouse.errors import ClickHouseError
from thumbstream.local.clickhouse.handle import Handle, quote

MAX_SESSIONS = 1_000
_MAX_TIMEOUT = 3_600.0  # seconds, ClickHouse's own limit


class Session:
    """A handle, what the session itself set on it, and whether a request holds it."""

    def __init__(self, handle: Handle) -> None:
        self.handle, self.busy = handle, threading.Lock()
        self.timeout, self.used = 60.0, time.monotonic()  # seconds
        self._own: dict[str, str] = {}
        self._database = self._own_database()

    @contextmanager
    def for_one_request(self, first: str, settings: Mapping[str, str], database: str, comment: str) -> Iterator[Handle]:
        """Give the handle with a request's settings and database ('' for none); the session's own are back afterwards.

        `first` is the statement's first word: what SET and USE do is to stay.
        """
        settings = {} if first == "SET" else settings
        other = database if database != self._database and first != "USE" else ""
        self._remember(settings)
        self.handle.set({"log_comment": comment, **settings})
        try:
            if other:
                self.handle.use(other)
            yield self.handle
        finally:
            if settings:
                self.handle.run("SET " + ", ".join(f"{name} = {self._own.get(name, 'DEFAULT')}" for name in settings))
            if other:
                self.handle.use(self._database)
        if first == "SET":
            self._own.clear()
        elif first == "USE":
            self._database = self._own_database()

    def _remember(self, settings: Mapping[str, str]) -> None:
        """Learn what to put back; asked once a setting, for it costs 2 ms."""
        names = ", ".join(quote(name) for name in settings if name not in self._own)
        if names:
            query = f"SELECT name, if(changed, value, '\\0') FROM system.settings WHERE name IN ({names})"  # noqa: S608 - quoted
            for line in self.handle.run(query, "TabSeparatedRaw").decode().splitlines():
                name, _, value = line.partition("\t")
                self._own[name] = "DEFAULT" if value == "\0" else quote(value)

    def _own_database(self) -> str:
        return self.handle.run("SELECT currentDatabase()", "TabSeparatedRaw").decode().rstrip("\n")


class Sessions:
    """All sessions of one engine; safe from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._mutex = engine, threading.Lock()
        self._sessions: dict[tuple[str, str], Session] = {}

    @contextmanager
    def lease(self, login: str, name: str, *, timeout: float, must_exist: bool) -> Iterator[Session]:
        """Hold a session for one request; `timeout` in seconds.

        Raises `ClickHouseError` 372 (unknown and `must_exist`), 373 (busy) or 202 (too many).
        """
        session = self._acquire((login, name), must_exist)
        try:
            yield session
        finally:
            session.used, session.timeout = time.monotonic(), min(timeout, _MAX_TIMEOUT)
            session.busy.release()

    def drop(self, login: str, name: str) -> None:
        """End a session, unless another request holds it."""
        with self._mutex:
            session = self._sessions.get((login, name))
            if session is not None and session.busy.acquire(blocking=False):
                del self._sessions[login, name]
                session.handle.close()

    def close(self) -> None:
        """End all sessions that are not in use."""
        for login, name in list(self._sessions):
            self.drop(login, name)

    def _acquire(self, key: tuple[str, str], must_exist: bool) -> Session:
        with self._mutex:
            self._expire()
            session = self._sessions.get(key)
            if session is None:
                if must_exist:
                    raise ClickHouseError(372, "SESSION_NOT_FOUND", f"Session {key[1]} not found")
                if len(self._sessions) >= MAX_SESSIONS:
                    raise ClickHouseError(202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"More than {MAX_SESSIONS} sessions")
                session = self._sessions[key] = Session(self._engine.open())
            if not session.busy.acquire(blocking=False):
                raise ClickHouseError(373, "SESSION_IS_LOCKED", f"Session {key[1]} is locked by a concurrent client")
            return session

    def _expire(self) -> None:
        now = time.monotonic()
        for key, session in list(self._sessions.items()):
            if now - session.used > session.timeout and not session.busy.locked():
                self._sessions.pop(key).handle.close()
