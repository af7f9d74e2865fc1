"""Framing, schema ids, and what decoding refuses; laws over generated records are in tests/property/test_codec.py."""

from io import BytesIO

import fastavro
import pytest
from fastavro.utils import generate_one

from schemas.codec import Codec, DecodeError, row_head, version_in
from schemas.events import FeedbackEvent, Progress, ResolvedFeedback
from schemas.registry import FileRegistry, Registered

CODEC = Codec()
EVENT = FeedbackEvent("acme", "r1", "e1", "vote", rating=False, metadata={"a": None, "b": "null"})
PAYLOAD = CODEC.encode(EVENT)


def test_the_frame_is_a_zero_byte_and_the_registered_id() -> None:
    assert PAYLOAD[:5] == b"\x00" + FileRegistry().latest("FeedbackEvent").id.to_bytes(4, "big")


def test_null_false_zero_and_absent_stay_apart() -> None:
    back = CODEC.decode_as(FeedbackEvent, PAYLOAD)
    assert (back.rating, back.value, back.comment, back.metadata) == (False, None, None, {"a": None, "b": "null"})


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\x00\x00\x00\x00", b'{"a": 1}', b"\x01" + PAYLOAD[1:]])
def test_bytes_without_the_frame_are_refused(payload: bytes) -> None:
    with pytest.raises(DecodeError, match="Confluent framing"):
        CODEC.decode(payload)


def test_an_unknown_schema_id_is_refused_by_name() -> None:
    with pytest.raises(DecodeError, match="unknown schema id 999"):
        CODEC.decode(b"\x00\x00\x00\x03\xe7" + PAYLOAD[5:])


def test_every_truncation_is_refused() -> None:
    for end in range(len(PAYLOAD)):
        with pytest.raises(DecodeError):
            CODEC.decode(PAYLOAD[:end])


def test_bytes_too_many_are_refused() -> None:
    with pytest.raises(DecodeError, match="2 bytes too many after a FeedbackEvent"):
        CODEC.decode(PAYLOAD + b"xx")


def test_another_record_than_the_wanted_one_is_refused() -> None:
    with pytest.raises(DecodeError, match="a FeedbackEvent where a Progress is expected"):
        CODEC.decode_as(Progress, PAYLOAD)


def test_texts_that_are_no_text_are_refused() -> None:
    with pytest.raises(DecodeError, match="malformed"):
        CODEC.decode(PAYLOAD.replace(b"acme", b"\xff\xfe\xff\xfe"))


@pytest.mark.parametrize("fields", [{"rating": "yes"}, {"event_time": 2**63}, {"comment": "\ud800"}, {"value": "1"}])
def test_a_field_that_does_not_fit_cannot_be_encoded(fields: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, OverflowError)):
        CODEC.encode(FeedbackEvent("acme", "r1", "e1", "vote", **fields))  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("version", [-1, 0, 63, 64, 2**48, 2**63 - 1])
@pytest.mark.parametrize("vote_time", [None, 0, -1, 1_700_000_000_000])
def test_the_head_of_a_row_is_read_without_decoding_it(version: int, vote_time: int | None) -> None:
    for erased in (True, False):
        payload = CODEC.encode(ResolvedFeedback(version, erased, vote_time, "acme", "r1"))
        assert row_head(payload) == (version, erased, vote_time)
        assert version_in(payload) == version


@pytest.mark.parametrize("entry", FileRegistry().entries, ids=lambda entry: f"{entry.record}-{entry.version}")
def test_every_committed_version_of_every_schema_is_readable(entry: Registered) -> None:
    buffer = BytesIO(b"\x00" + entry.id.to_bytes(4, "big"))
    buffer.seek(5)
    schema = fastavro.parse_schema(dict(entry.schema))
    fastavro.schemaless_writer(buffer, schema, generate_one(schema))
    assert type(CODEC.decode(buffer.getvalue())).__name__ == entry.record
