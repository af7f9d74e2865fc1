"""Compression both ways, chunked bodies, and errors, over arbitrary bytes and arbitrary cuts."""

import gzip
import io
import zlib
from collections.abc import Iterator
from email.message import Message
from itertools import pairwise

import lz4.frame
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from thumbstream.local.clickhouse import content_encoding, native_blocks
from thumbstream.local.clickhouse.errors import ClickHouseError, from_engine
from thumbstream.local.clickhouse.form import read_form
from thumbstream.local.clickhouse.request import Body

ENCODINGS = st.sampled_from(["", "gzip", "deflate", "lz4", "zstd"])
CUTS = st.lists(st.integers(0, 400), max_size=6)


def cut(content: bytes, cuts: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(content), *(place for place in cuts if place < len(content))})
    return (content[begin:end] for begin, end in pairwise(places))


@given(encoding=ENCODINGS, chunks=st.lists(st.binary(max_size=300)), cuts=CUTS)
def test_every_encoding_gives_back_what_it_took(encoding: str, chunks: list[bytes], cuts: list[int]) -> None:
    compressor = content_encoding.compressor(encoding)
    packed = b"".join([*map(compressor.compress, chunks), compressor.finish()])
    assert b"".join(content_encoding.decompress(encoding, cut(packed, cuts))) == b"".join(chunks)


@given(encoding=ENCODINGS.filter(bool), chunk=st.binary(min_size=1, max_size=300))
def test_a_client_can_read_a_chunk_as_soon_as_it_is_sent(encoding: str, chunk: bytes) -> None:
    begun = content_encoding.compressor(encoding).compress(chunk)
    plain = content_encoding.decompress(encoding, [begun])
    assert next(plain) == chunk


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"x" * 999, mtime=0)),
        ("deflate", zlib.compress(b"x" * 999)),
        ("lz4", lz4.frame.compress(b"x" * 999)),
    ],
)
def test_a_body_that_ends_early_is_an_error(encoding: str, packed: bytes) -> None:
    with pytest.raises(ClickHouseError) as refused:
        list(content_encoding.decompress(encoding, [packed[:-3]]))
    assert refused.value.code in {33, 354}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "lz4", "zstd"])
def test_junk_is_an_error(encoding: str) -> None:
    with pytest.raises(ClickHouseError) as refused:
        list(content_encoding.decompress(encoding, [b"this is not compressed at all"]))
    assert refused.value.code == 354


def test_the_clients_order_decides_between_encodings() -> None:
    assert content_encoding.choose("br, zstd;q=0.5, gzip") == "zstd"
    assert content_encoding.choose("br, identity") == ""
    with pytest.raises(ClickHouseError, match="br is not supported"):
        list(content_encoding.decompress("br", []))


@given(content=st.binary(max_size=2_000), cuts=CUTS)
def test_native_blocks_give_back_what_they_took(content: bytes, cuts: list[int]) -> None:
    assert b"".join(native_blocks.unpack(cut(native_blocks.pack(content), cuts))) == content


@given(content=st.binary(min_size=1, max_size=200), place=st.integers(0), bit=st.integers(0, 7))
def test_no_flipped_bit_passes_the_checksum(content: bytes, place: int, bit: int) -> None:
    packed = bytearray(native_blocks.pack(content))
    packed[place % len(packed)] ^= 1 << bit
    with pytest.raises(ClickHouseError) as refused:
        list(native_blocks.unpack([bytes(packed)]))
    assert refused.value.code in {33, 40, 271}


def test_a_block_of_another_implementation_is_read() -> None:
    """Made by clickhouse-driver 0.2.11."""
    block = bytes.fromhex("66bf8f90e2efeeac420d88ba39d22b9e821b000000300000008f6f6e652c74776f0a080010502c74776f0a")
    assert b"".join(native_blocks.unpack([block])) == b"one,two\n" * 6


def _headers(**values: str) -> Message:
    headers = Message()
    for name, value in values.items():
        headers[name.replace("_", "-")] = value
    return headers


@given(chunks=st.lists(st.binary(min_size=1, max_size=300)))
def test_a_chunked_body_and_a_counted_body_are_the_same(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    stream = io.BufferedReader(io.BytesIO(framed + b"next"))
    assert b"".join(Body(stream, _headers(Transfer_Encoding="chunked"))) == whole
    assert stream.read() == b"next"
    counted = io.BufferedReader(io.BytesIO(whole + b"next"))
    assert b"".join(Body(counted, _headers(Content_Length=str(len(whole))))) == whole
    assert counted.read() == b"next"


@pytest.mark.parametrize("sent", [b"3\r\nab", b"zz\r\n", b"-1\r\n", b""])
def test_a_broken_chunked_body_is_a_lost_connection(sent: bytes) -> None:
    stream = io.BufferedReader(io.BytesIO(sent))
    with pytest.raises(ConnectionError):
        list(Body(stream, _headers(Transfer_Encoding="chunked")))


def _form(*parts: bytes) -> bytes:
    return b"".join(b"--x\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--x--\r\n"


@given(st.dictionaries(st.from_regex(r"param_[a-z]{1,5}", fullmatch=True), st.text(max_size=50), max_size=4))
def test_the_fields_of_a_form_are_read(fields: dict[str, str]) -> None:
    body = _form(*(f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()))
    assume(body.count(b"--x") == len(fields) + 1)  # clients choose a boundary that the content does not hold
    assert read_form('multipart/form-data; boundary="x"', body) == fields


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("multipart/form-data; boundary=x", _form(b'name="t"; filename="t"\r\n\r\n1'), 48),
        ("multipart/form-data; boundary=x", _form(b"nothing"), 48),
        ("multipart/form-data; boundary=y", _form(b'name="query"\r\n\r\n1'), 27),
        ("multipart/form-data", b"", 27),
    ],
)
def test_files_and_malformed_forms_are_refused(content_type: str, body: bytes, code: int) -> None:
    with pytest.raises(ClickHouseError) as refused:
        read_form(content_type, body)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("text", "code", "name", "message", "status"),
    [
        ("Code: 60. DB::Exception: No table. (UNKNOWN_TABLE)", 60, "UNKNOWN_TABLE", "No table.", 404),
        (
            "Query failed: Code: 62. DB::Exception: Bad\nsyntax. (SYNTAX_ERROR)\n",
            62,
            "SYNTAX_ERROR",
            "Bad\nsyntax.",
            400,
        ),
        ("Code: 452. Code: 452. DB::Exception: x. (Y_Z)", 452, "Y_Z", "x.", 500),
        ("server is shutting down", 1002, "UNKNOWN_EXCEPTION", "server is shutting down", 500),
    ],
)
def test_the_engines_texts_become_errors(text: str, code: int, name: str, message: str, status: int) -> None:
    error = from_engine(RuntimeError(text))
    assert (error.code, error.name, error.message, error.status) == (code, name, message, status)
    assert error.text("26.9").startswith(f"Code: {code}. DB::Exception: {message} ({name})")
