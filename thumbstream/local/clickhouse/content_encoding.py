"""HTTP content encodings both ways: gzip, deflate, lz4 and zstd.

Every compressor flushes with each chunk, so that a client sees a block when the engine has made it.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import lz4.frame

from thumbstream.local.clickhouse.errors import ClickHouseError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Compressor(Protocol):
    """Compresses one response."""

    def compress(self, chunk: bytes) -> bytes:
        """Give all bytes the client needs to read `chunk`."""

    def finish(self) -> bytes:
        """Give what ends the stream."""


class Identity:
    """No compression."""

    def compress(self, chunk: bytes) -> bytes:
        """Give the chunk as it is."""
        return chunk

    def finish(self) -> bytes:
        """Nothing ends a plain stream."""
        return b""


class _Zlib:
    def __init__(self, window: int) -> None:
        self._codec = zlib.compressobj(3, zlib.DEFLATED, window)

    def compress(self, chunk: bytes) -> bytes:
        return self._codec.compress(chunk) + self._codec.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._codec.flush()


class _Lz4:
    def __init__(self) -> None:
        self._codec = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self._head = bytes(self._codec.begin())

    def compress(self, chunk: bytes) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._codec.compress(chunk))

    def finish(self) -> bytes:
        return self.compress(b"") + bytes(self._codec.flush())


class _Zstd:
    def __init__(self) -> None:
        self._codec = zstd.ZstdCompressor()

    def compress(self, chunk: bytes) -> bytes:
        return bytes(self._codec.compress(chunk, mode=zstd.ZstdCompressor.FLUSH_BLOCK))

    def finish(self) -> bytes:
        return bytes(self._codec.flush())


class _Decompressor(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


_COMPRESSORS: dict[str, Callable[[], Compressor]] = {
    "gzip": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(15),
    "lz4": _Lz4,
    "zstd": _Zstd,
}
_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "gzip": lambda: zlib.decompressobj(47),  # 32 + 15: either header
    "deflate": lambda: zlib.decompressobj(47),
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": zstd.ZstdDecompressor,
}


def choose(accepted: str) -> str:
    """Give the first encoding in an Accept-Encoding header that we speak, in the client's order; '' is none."""
    names = (part.split(";")[0].strip().lower() for part in accepted.split(","))
    return next((name for name in names if name in _COMPRESSORS), "")


def compressor(encoding: str) -> Compressor:
    """Make the compressor for a name that `choose` gave."""
    return _COMPRESSORS[encoding]() if encoding else Identity()


def decompress(encoding: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the plain body. Raises `ClickHouseError` 48 (unknown encoding), 354 (corrupt) or 33 (cut short)."""
    if encoding in {"", "identity"}:
        yield from chunks
        return
    if encoding not in _DECOMPRESSORS:
        raise ClickHouseError(48, "NOT_IMPLEMENTED", f"Content-Encoding {encoding} is not supported by this server")
    codec = _DECOMPRESSORS[encoding]()
    try:
        for chunk in chunks:
            yield codec.decompress(chunk)
    except (zlib.error, RuntimeError, EOFError, zstd.ZstdError) as error:
        raise ClickHouseError(354, "ZLIB_INFLATE_FAILED", f"Cannot decompress {encoding} body: {error}") from error
    if not getattr(codec, "eof", True):
        raise ClickHouseError(33, "CANNOT_READ_ALL_DATA", f"The {encoding} body ends in the middle")
