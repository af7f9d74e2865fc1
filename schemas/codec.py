"""Records to bytes and back: Confluent framing (a zero byte, four bytes of schema id) around Avro binary.

The only file that imports the Avro library of the hot path.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar

import fastavro

from schemas.events import (
    Alert,
    Candidate,
    DeadLetter,
    FeedbackEvent,
    MinuteCount,
    MonitorSet,
    Progress,
    Record,
    ResolvedFeedback,
    Stamp,
    Vote,
)
from schemas.registry import FileRegistry, Schema, current

_HEADER = 5
_R = TypeVar("_R")
_Fields = dict[str, Any]


class DecodeError(ValueError):
    """Bytes that are no record of ours; the message says why."""


def _tuples(fields: _Fields, *names: str) -> _Fields:
    for name in names:
        if fields[name] is not None:
            fields[name] = tuple(fields[name])
    return fields


def _event(fields: _Fields) -> FeedbackEvent:
    if fields["preference"] is not None:
        fields["preference"] = tuple(Candidate(**candidate) for candidate in fields["preference"])
    return FeedbackEvent(**_tuples(fields, "reasons", "tags"))


def _row(fields: _Fields) -> ResolvedFeedback:
    for name in ("vote", "implicit"):
        if fields[name] is not None:
            fields[name] = Vote(**fields[name])
    fields["stamps"] = tuple(
        Stamp(stamp["time"], stamp["event_id"], tuple(stamp["registers"])) for stamp in fields["stamps"]
    )
    return ResolvedFeedback(**_tuples(fields, "reasons", "tags"))


def _minute(fields: _Fields) -> MinuteCount:
    return MinuteCount(**_tuples(fields, "group"))


_READERS: dict[type[Any], Callable[[_Fields], Any]] = {
    FeedbackEvent: _event,
    ResolvedFeedback: _row,
    MinuteCount: _minute,
    Progress: lambda fields: Progress(**fields),
    MonitorSet: lambda fields: MonitorSet(**fields),
    Alert: lambda fields: Alert(**fields),
    DeadLetter: lambda fields: DeadLetter(**fields),
}
_NESTED = {cls: attrgetter(*cls.__slots__) for cls in (Candidate, Stamp, Vote)}
_WITH_NESTED = {FeedbackEvent: ("preference",), ResolvedFeedback: ("vote", "implicit", "stamps")}


def _nested(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, tuple):
        return [_nested(item) for item in value]
    return dict(zip(value.__slots__, _NESTED[type(value)](value), strict=True))


class Codec:
    """Encodes and decodes all records. Parsed schemas and their resolutions are kept, so a codec is made once."""

    def __init__(self, registry: FileRegistry | None = None) -> None:
        registry = registry or FileRegistry()
        classes = {cls.__name__: cls for cls in _READERS}
        self._writers = {cls: self._writer(registry, cls) for cls in _READERS}
        self._readers = {
            entry.id: (classes[entry.record], *self._reader(entry.schema, current(entry.record)))
            for entry in registry.entries
        }

    @staticmethod
    def _writer(registry: FileRegistry, cls: type[Any]) -> tuple[bytes, Any, Any, tuple[str, ...]]:
        entry = registry.latest(cls.__name__)
        header = b"\x00" + entry.id.to_bytes(4, "big")
        return header, fastavro.parse_schema(dict(entry.schema)), attrgetter(*cls.__slots__), _WITH_NESTED.get(cls, ())

    @staticmethod
    def _reader(written: Schema, wanted: Schema) -> tuple[Any, Any]:
        """(writer's schema, reader's schema or None when they are the same, which reads faster)."""
        return fastavro.parse_schema(dict(written)), None if written == wanted else fastavro.parse_schema(dict(wanted))

    def encode(self, record: Record) -> bytes:
        """The framed bytes of `record`. Raises ValueError or TypeError when a field does not fit the schema."""
        header, schema, values, nested = self._writers[type(record)]
        fields = dict(zip(record.__slots__, values(record), strict=True))
        for name in nested:
            fields[name] = _nested(fields[name])
        buffer = io.BytesIO()
        buffer.write(header)
        fastavro.schemaless_writer(buffer, schema, fields, disable_tuple_notation=True)
        return buffer.getvalue()

    def decode(self, payload: bytes) -> Record:
        """The record in `payload`. Raises DecodeError for anything else than one whole record of a known schema."""
        if len(payload) < _HEADER or payload[0] != 0:
            raise DecodeError("not in Confluent framing: the first byte must be 0, then four bytes of schema id")
        schema_id = int.from_bytes(payload[1:_HEADER], "big")
        if schema_id not in self._readers:
            raise DecodeError(f"unknown schema id {schema_id}")
        cls, written, wanted = self._readers[schema_id]
        buffer = io.BytesIO(payload)
        buffer.seek(_HEADER)
        try:
            fields: Any = fastavro.schemaless_reader(buffer, written, wanted)
            record: Record = _READERS[cls](fields)
        except Exception as exception:  # the library raises a dozen kinds for malformed input
            raise DecodeError(f"malformed {cls.__name__}: {type(exception).__name__}: {exception}") from exception
        if buffer.tell() != len(payload):
            raise DecodeError(f"{len(payload) - buffer.tell()} bytes too many after a {cls.__name__}")
        return record

    def decode_as(self, cls: type[_R], payload: bytes) -> _R:
        """The record in `payload`, which must be a `cls`."""
        record = self.decode(payload)
        if not isinstance(record, cls):
            raise DecodeError(f"a {type(record).__name__} where a {cls.__name__} is expected")
        return record


def version_in(payload: bytes) -> int:
    """The version of a framed row or alert, without decoding the rest: it is the first field."""
    return _zigzag(payload, _HEADER)[0]


def row_head(payload: bytes) -> tuple[int, bool, int | None]:
    """(version, erased, vote_time) of a framed row: its first three fields."""
    version, at = _zigzag(payload, _HEADER)
    if payload[at + 1] == 0:  # the union's branch: 0 is null
        return version, bool(payload[at]), None
    return version, bool(payload[at]), _zigzag(payload, at + 2)[0]


def _zigzag(payload: bytes, at: int) -> tuple[int, int]:
    """An Avro long at `at`, and where the next field begins."""
    number = shift = 0
    while True:
        byte = payload[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
