"""ClickHouse's own compressed blocks (`compress=1`, `decompress=1`), which JDBC, DBeaver and Grafana use.

A block is a 16-byte CityHash128 of the rest, a method byte, two 32-bit sizes (packed with this 9-byte header, plain)
and the packed bytes. https://clickhouse.com/docs/en/native-protocol/compression
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Iterator

import lz4.block
from clickhouse_cityhash import cityhash

from thumbstream.local.clickhouse.errors import ClickHouseError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PLAIN_BYTES = 1 << 20  # of one block we write
_MAX_BYTES = 1 << 30  # of one block we read
_CHECKSUM, _HEADER = 16, struct.Struct("<BII")
_LZ4, _ZSTD, _NONE = 0x82, 0x90, 0x02


def pack(data: bytes) -> bytes:
    """Give `data` as LZ4 blocks."""
    return b"".join(_pack_one(data[at : at + _PLAIN_BYTES]) for at in range(0, len(data), _PLAIN_BYTES))


def _pack_one(data: bytes) -> bytes:
    body: bytes = lz4.block.compress(data, store_size=False)
    block = _HEADER.pack(_LZ4, len(body) + _HEADER.size, len(data)) + body
    return _checksum(block) + block


def _checksum(block: bytes) -> bytes:
    number = cityhash.CityHash128(block)
    return struct.pack("<QQ", number >> 64, number & 0xFFFFFFFFFFFFFFFF)


def unpack(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the plain bytes of a stream of blocks.

    Raises `ClickHouseError` 271 (malformed), 40 (checksum), 432 (unknown method) or 33 (cut short).
    """
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while (size := _block_size(buffer)) and len(buffer) >= size:
            block = bytes(buffer[:size])
            del buffer[:size]
            yield _unpack_one(block)
    if buffer:
        raise ClickHouseError(33, "CANNOT_READ_ALL_DATA", "The body ends inside a compressed block")


def _block_size(buffer: bytearray) -> int:
    """The size of the block at the buffer's start with its checksum; 0 while its header is incomplete."""
    if len(buffer) < _CHECKSUM + _HEADER.size:
        return 0
    _, packed, plain = _HEADER.unpack_from(buffer, _CHECKSUM)
    if not _HEADER.size <= packed <= _MAX_BYTES or plain > _MAX_BYTES:
        raise ClickHouseError(271, "CANNOT_DECOMPRESS", "Malformed compressed block header")
    return int(packed) + _CHECKSUM


def _unpack_one(block: bytes) -> bytes:
    if _checksum(block[_CHECKSUM:]) != block[:_CHECKSUM]:
        raise ClickHouseError(40, "CHECKSUM_DOESNT_MATCH", "Checksum doesn't match: corrupted data")
    method, _, plain = _HEADER.unpack_from(block, _CHECKSUM)
    body = block[_CHECKSUM + _HEADER.size :]
    try:
        if method == _LZ4:
            return bytes(lz4.block.decompress(body, uncompressed_size=plain))
        if method == _ZSTD:
            return bytes(zstd.decompress(body))
    except (lz4.block.LZ4BlockError, zstd.ZstdError) as error:
        raise ClickHouseError(271, "CANNOT_DECOMPRESS", f"Cannot decompress: {error}") from error
    if method == _NONE:
        return body
    raise ClickHouseError(432, "UNKNOWN_CODEC", f"Unknown compression method {method:#x}")
