"""ClickHouse beside the topics: every view must say what the newest records say, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from schemas.codec import Codec, DecodeError
from schemas.events import Alert, DeadLetter, FeedbackEvent, MinuteCount, ResolvedFeedback, bare
from schemas.topics import group_key
from tests.chaos.log import Entry
from tests.chaos.oracle import Verdict
from tests.chaos.traffic import EXPECTED

Ask = Callable[[str], Iterable[tuple[Any, ...]]]  # a query about the views, or about the tables where none is
_MS = "toUnixTimestamp64Milli"


class Newest:
    """What the topics say now: one record per key, the one with the highest version."""

    def __init__(self, read: Callable[[str], Iterable[Entry]], prefix: str) -> None:
        self._codec = Codec()
        self.events = list(self._good(read(f"{prefix}events")))
        votes = (event for event in self.events if event.kind == "vote")
        self._ids = {(vote.tenant_id, vote.feedback_id): vote.request_id for vote in votes}
        self.rows: dict[bytes, ResolvedFeedback] = {}
        for entry in read(f"{prefix}latest"):
            self._keep(self.rows, entry.key, self._codec.decode_as(ResolvedFeedback, entry.value or b""))
        self.cells: dict[tuple[Any, ...], MinuteCount] = {}
        for entry in read(f"{prefix}minutes"):
            if isinstance(cell := self._codec.decode(entry.value or b""), MinuteCount):
                name = (cell.tenant_id, cell.rollup, group_key(cell.group), cell.minute // 1_000, cell.source_partition)
                self._keep(self.cells, name, cell)
        letters = (self._codec.decode_as(DeadLetter, entry.value or b"") for entry in read(f"{prefix}dead-letters"))
        self.letters = {letter.letter_id: letter for letter in letters}
        self.alerts: dict[tuple[str, int], Alert] = {}
        for entry in read(f"{prefix}high-negative-rate"):
            alert = self._codec.decode_as(Alert, entry.value or b"")
            self._keep(self.alerts, (alert.fingerprint, alert.started_at), alert)

    def _good(self, entries: Iterable[Entry]) -> Iterable[FeedbackEvent]:
        for entry in entries:
            if EXPECTED not in entry.headers:
                try:
                    yield self._codec.decode_as(FeedbackEvent, entry.value or b"")
                except DecodeError as error:
                    raise AssertionError(f"a good event cannot be read: {entry}") from error

    @staticmethod
    def _keep(known: dict[Any, Any], key: Any, record: Any) -> None:
        if key not in known or record.version >= known[key].version:
            known[key] = record

    def request_of(self, event: FeedbackEvent) -> str:
        """The request that an event is about; of a change its feedback id tells."""
        return self._ids[event.tenant_id, event.feedback_id] if event.kind == "amend" else event.request_id

    @property
    def erased(self) -> set[tuple[str, str]]:
        """(tenant, request) that nobody may see any more."""
        return {(row.tenant_id, row.request_id) for row in self.rows.values() if row.erased}


def compare(verdict: Verdict, newest: Newest, ask: Ask, ask_tables: Ask) -> None:
    """All views against the topics; dead letters have none, so their table."""
    rows = {_shown(row) for row in newest.rows.values() if not row.erased}
    _same(verdict, "requests", rows, ask(f"SELECT {_COLUMNS} FROM requests"))
    votes = {row for row in rows if row[2] is not None}
    _same(verdict, "current_votes", votes, ask(f"SELECT {_COLUMNS} FROM current_votes"))
    _same(verdict, "negative_rate_by_minute", _minutes(newest), ask(_MINUTES))
    letters = {(letter.letter_id, letter.reason) for letter in newest.letters.values()}
    _same(verdict, "dead letters in ClickHouse", letters, ask_tables(_LETTERS))
    _same(verdict, "alert_history", {_transition(alert) for alert in newest.alerts.values()}, ask(_ALERTS))
    said = {(event.tenant_id, newest.request_of(event), event.event_id, event.event_time) for event in newest.events}
    seen = {event for event in said if event[:2] not in newest.erased}
    _same(verdict, "vote_history", seen, ask(_HISTORY))


def _same(verdict: Verdict, view: str, wanted: set[Any], stored: Iterable[tuple[Any, ...]]) -> None:
    """Each row once, none missing, none besides."""
    found = [tuple(_plain(value) for value in row) for row in stored]
    verdict.counted[f"{view} rows"] = len(found)
    if len(found) != len(set(found)):
        verdict.refute(f"{view}: doubled", len(found) - len(set(found)))
    for row in sorted(wanted - set(found), key=repr):
        verdict.refute(f"{view}: missing", row)
    for row in sorted(set(found) - wanted, key=repr):
        verdict.refute(f"{view}: extra", row)


def _plain(value: Any) -> Any:
    return tuple(sorted(value.items())) if isinstance(value, dict) else value


_COLUMNS = f"""tenant_id, request_id, polarity, comment, correction, model, environment, prompt_id, user_id, signal,
               {_MS}(voted_at), {_MS}(first_seen), {_MS}(updated_at), CAST(metadata, 'Map(String, String)')"""
_MINUTES = """SELECT tenant_id, rollup, group_key, toUnixTimestamp(minute), negative, positive, neutral
              FROM negative_rate_by_minute"""
_LETTERS = "SELECT letter_id, reason FROM feedback_dead_letters FINAL"
_ALERTS = f"""SELECT alert_id, tenant_id, monitor, status, {_MS}(evaluated_at), {_MS}(ended_at), window_minutes,
              negative, total, sequence FROM alert_history"""
_HISTORY = f"SELECT tenant_id, request_id, event_id, {_MS}(event_time) FROM vote_history"


def _shown(row: ResolvedFeedback) -> tuple[Any, ...]:
    vote = row.vote or row.implicit
    implicit = next((stamp.time for stamp in row.stamps if "implicit" in stamp.registers), None)
    signal = "explicit" if row.vote else "implicit" if row.implicit else ""
    voted = row.vote_time if row.vote else implicit if row.implicit else None
    return (
        row.tenant_id, row.request_id, vote.polarity if vote else None, row.comment or "", row.correction or "",
        row.model or "(none)", row.environment or "(none)", row.prompt_id or "(none)", row.user_id or "", signal,
        voted, row.first_seen, row.updated_at, tuple(sorted((key, bare(text)) for key, text in row.metadata.items())),
    )  # fmt: skip


def _minutes(newest: Newest) -> set[tuple[Any, ...]]:
    sums: dict[tuple[Any, ...], list[int]] = {}
    for name, cell in newest.cells.items():
        counts = sums.setdefault(name[:-1], [0, 0, 0])
        for place, number in enumerate((cell.negative, cell.positive, cell.neutral)):
            counts[place] += number
    return {(*name, *counts) for name, counts in sums.items()}


def _transition(alert: Alert) -> tuple[Any, ...]:
    return (
        alert.alert_id, alert.tenant_id, alert.monitor, alert.status, alert.evaluated_at, alert.ended_at,
        alert.window_minutes, alert.negative, alert.total, alert.sequence,
    )  # fmt: skip
