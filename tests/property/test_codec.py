"""Laws of the codec: what goes in comes out, and no bytes whatever do anything but decode or raise DecodeError."""

from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from processors.deduplicate import Arrival
from processors.minutes import REAL_TIME, published
from processors.pipeline import Partition, letter
from schemas.codec import Codec, DecodeError, row_head, version_in
from schemas.events import Alert, FeedbackEvent, Record, ResolvedFeedback
from schemas.topics import request_key
from tests.simulators.histories import VOTES
from tests.simulators.memory import Memory
from tests.simulators.records import ANY_RECORD, RECORDS

CODEC = Codec()
WHERE = Partition(0, 1, ((), ("model",), ("prompt_id", "app")))
EVENTS = RECORDS["FeedbackEvent"]


@pytest.mark.parametrize("name", RECORDS)
def test_every_record_survives_its_bytes(name: str) -> None:
    @settings(max_examples=40)
    @given(RECORDS[name])
    def survives(record: Record) -> None:
        assert CODEC.decode(CODEC.encode(record)) == record

    survives()


@settings(max_examples=40)
@given(RECORDS["ResolvedFeedback"])
def test_a_rows_head_agrees_with_the_row(row: Record) -> None:
    assert isinstance(row, ResolvedFeedback)
    payload = CODEC.encode(row)
    assert version_in(payload) == row.version
    assert row_head(payload) == (row.version, row.erased, row.vote_time)


@settings(max_examples=40)
@given(RECORDS["Alert"])
def test_an_alerts_version_is_its_first_field(alert: Record) -> None:
    assert isinstance(alert, Alert)
    assert version_in(CODEC.encode(alert)) == alert.version


@settings(max_examples=40)
@given(ANY_RECORD)
def test_no_truncation_and_no_extra_byte_decodes(record: Record) -> None:
    payload = CODEC.encode(record)
    for broken in (*(payload[:end] for end in range(len(payload))), payload + b"\x00"):
        with pytest.raises(DecodeError):
            CODEC.decode(broken)


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 9))
def test_random_bytes_decode_or_raise_a_decode_error(noise: bytes, schema_id: int) -> None:
    for payload in (noise, b"\x00" + schema_id.to_bytes(4, "big") + noise):
        assert decoded(payload) is None or CODEC.decode(payload) is not None


def decoded(payload: bytes) -> Record | None:
    try:
        return CODEC.decode(payload)
    except DecodeError:
        return None


@settings(max_examples=200)
@given(VOTES | EVENTS, st.data())
def test_whatever_bytes_decode_to_an_event_are_folded_or_refused_and_never_stop_the_stream(
    event: Record, data: st.DataObject
) -> None:
    payload = bytearray(CODEC.encode(event))
    for _ in range(data.draw(st.integers(0, 3))):
        payload[data.draw(st.integers(5, len(payload) - 1))] = data.draw(st.integers(0, 255))
    found = decoded(bytes(payload))
    if isinstance(found, FeedbackEvent):
        for record in outcome(found, bytes(payload)):
            assert CODEC.decode(CODEC.encode(record)) == record


def outcome(event: FeedbackEvent, payload: bytes) -> Iterator[Record]:
    """Everything that `resolve` would publish for the event."""
    key = request_key(event.tenant_id, event.request_id)
    folded = Memory(WHERE).run([Arrival(3, 1_700_000_000_000, key, event)])
    yield from folded.rows.values()
    for place, cell in folded.cells.items():
        assert place[1] % REAL_TIME.minute == 0
        yield published(place, cell, 1000, 3)
    for arrival, refusal in folded.refused:
        yield letter(arrival, refusal, "feedback.events", 0, payload, {})
