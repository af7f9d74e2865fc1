"""Dead letters as a person meets them: which ones are open, what they say, and what a replay would publish. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.codec import Codec, DecodeError
from schemas.constraints import violation
from schemas.events import DeadLetter, FeedbackEvent

REPLAYED, DROPPED = "replayed", "dropped"
_AGE = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UnreplayableError(ValueError):
    """A letter that cannot be replayed as it stands; the message says why."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters are meant; None chooses all. `since` is epoch ms, `ids` are letter ids."""

    stage: str | None = None
    reason: str | None = None
    tenant: str | None = None
    since: int | None = None
    ids: frozenset[str] | None = None

    def __contains__(self, letter: DeadLetter) -> bool:
        return (
            self.stage in (None, letter.stage)
            and self.reason in (None, letter.reason)
            and self.tenant in (None, letter.tenant_id)
            and (self.since is None or letter.failed_at >= self.since)
            and (self.ids is None or letter.letter_id in self.ids)
        )


def newest(records: Iterable[DeadLetter], choice: Choice) -> list[DeadLetter]:
    """The chosen letters as they stand after all `records` of the topic, in the order in which they first came.

    A letter that was handled stays so when its stage, starting again, writes it once more.
    """
    letters: dict[str, DeadLetter] = {}
    for record in records:
        if record in choice:
            letters[record.letter_id] = _joined(letters.get(record.letter_id), record)
    return list(letters.values())


def _joined(before: DeadLetter | None, after: DeadLetter) -> DeadLetter:
    if before is None or before.failed_at != after.failed_at:
        return after  # another time under the same id: the source topic was re-created, and this is a new letter
    return replace(
        after,
        handled=after.handled or before.handled,
        original=before.original if after.original is None else after.original,
        headers=after.headers or before.headers,
    )


def mark(letter: DeadLetter, handled: str) -> DeadLetter:
    """The record that says what became of a letter. Without content: a new record must not keep it for longer."""
    return replace(letter, handled=handled, original=None, headers={})


def event_to_replay(letter: DeadLetter, codec: Codec, events_topic: str) -> FeedbackEvent:
    """The event to publish for `letter`, as it was but for its time. UnreplayableError when there is none."""
    if letter.topic != events_topic:
        raise UnreplayableError(f"it comes from {letter.topic or 'no topic'}: only events can be replayed")
    if letter.original is None:
        raise UnreplayableError("its original was not kept")
    try:
        event = codec.decode_as(FeedbackEvent, letter.original)
    except DecodeError as error:
        raise UnreplayableError(f"undecodable: {error}") from error
    # Without a time, or with one that lies ahead, an event counts at the time of its append. Each replay is a new
    # append: it would count as newer than what people have said since, and a second replay as newer still. With the
    # time of its first append it counts as if it had never been refused, and a re-send changes nothing.
    if event.event_time is None or event.event_time > letter.failed_at:
        event = replace(event, event_time=letter.failed_at)
    if found := violation(event):
        raise UnreplayableError(f"still invalid: {found.field or 'event'}: {found.reason}: {found.message}")
    return event


def parse_since(text: str, now: datetime) -> int:
    """Epoch ms of an RFC 3339 time, or of an age before `now` as 30m, 2h or 3d. ValueError for anything else."""
    if age := _AGE.fullmatch(text):
        return _ms(now - timedelta(**{_UNITS[age[2]]: int(age[1])}))
    moment = datetime.fromisoformat(text.upper())
    if moment.tzinfo is None:
        raise ValueError("the time has no offset, as Z or +02:00")
    return _ms(moment)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def time_text(milliseconds: int) -> str:
    """RFC 3339 in UTC; the bare number where it is no date."""
    try:
        return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds")
    except OverflowError:
        return str(milliseconds)


def summary(letter: DeadLetter) -> dict[str, Any]:
    """One line about a letter: everything but key, headers and original."""
    return {
        "letter_id": letter.letter_id,
        "failed_at": time_text(letter.failed_at),
        "stage": letter.stage,
        "reason": letter.reason,
        "tenant_id": letter.tenant_id,
        "message": letter.message,
        "handled": letter.handled,
    }


def details(letter: DeadLetter, codec: Codec) -> dict[str, Any]:
    """Everything about a letter, its original decoded where it is a record of ours."""
    whole = {**summary(letter), "topic": letter.topic, "partition": letter.partition, "offset": letter.offset}
    return {**whole, "key": _plain(letter.key), "headers": _plain(letter.headers), "original": _original(letter, codec)}


def _original(letter: DeadLetter, codec: Codec) -> Any:
    if letter.original is None:
        return None
    try:
        record = codec.decode(letter.original)
    except DecodeError:
        return {"bytes": len(letter.original), "escaped": letter.original.decode("ascii", "backslashreplace")}
    return {type(record).__name__: _plain(record)}


def _plain(value: Any) -> Any:
    """`value` as JSON has it; bytes as text, escaped where they are none."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def visible(text: str) -> str:
    """`text` with whatever would act on a terminal escaped as in JSON: letters hold what strangers sent."""
    return "".join(sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text)
