"""Compression of payloads: each is one independent frame of its codec, so that runs can be read alone."""

from __future__ import annotations

import bz2
import lzma
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import zstandard

from tdsproxy.media.format import BZIP2, GZIP, RUN_BYTES, STORED, XZ, ZSTD

Buffer = bytes | bytearray | memoryview

_GZIP_WINDOW: Final = 31
"""The largest window, with the header and trailer of gzip."""
_XZ_MEMORY: Final = 128 << 20


class CodecError(ValueError):
    """A payload cannot be decoded."""


def _zstd(level: int) -> Callable[[Buffer], bytes]:
    context = zstandard.ZstdCompressor(level=level, write_content_size=True)
    return context.compress


def _gzip(level: int) -> Callable[[Buffer], bytes]:
    return lambda data: zlib.compress(data, level, _GZIP_WINDOW)


def _bzip2(level: int) -> Callable[[Buffer], bytes]:
    return lambda data: bz2.compress(data, level)


def _xz(level: int) -> Callable[[Buffer], bytes]:
    # No payload is longer than twice a run, so a larger dictionary would only take memory, in each thread.
    filters = [{"id": lzma.FILTER_LZMA2, "preset": level, "dict_size": 2 * RUN_BYTES}]
    return lambda data: lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_NONE, filters=filters)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A codec by the name that HEADERONLY shows. ``levels`` are those of LOW, MEDIUM and HIGH; ``maker``
    gives the compressing function of a level, for one thread at a time."""

    name: str
    code: int
    levels: Mapping[str, int]
    maker: Callable[[int], Callable[[Buffer], bytes]]


ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("ZSTD", ZSTD, {"LOW": 1, "MEDIUM": 3, "HIGH": 9}, _zstd),
        Algorithm("GZIP", GZIP, {"LOW": 1, "MEDIUM": 6, "HIGH": 9}, _gzip),
        Algorithm("BZIP2", BZIP2, {"LOW": 1, "MEDIUM": 5, "HIGH": 9}, _bzip2),
        Algorithm("XZ", XZ, {"LOW": 0, "MEDIUM": 3, "HIGH": 6}, _xz),
    )
}
DEFAULT_ALGORITHM: Final = "ZSTD"
DEFAULT_LEVEL: Final = "LOW"
"""Without LEVEL, as SQL Server documents it for ZSTD."""


@dataclass(frozen=True, slots=True)
class Compression:
    """A codec and its own number for the level."""

    algorithm: str = DEFAULT_ALGORITHM
    level: int = ALGORITHMS[DEFAULT_ALGORITHM].levels[DEFAULT_LEVEL]

    @classmethod
    def of(cls, algorithm: str | None = None, level: str | None = None) -> Compression:
        """By the words of COMPRESSION (ALGORITHM = ..., LEVEL = ...). Raises KeyError."""
        name = algorithm or DEFAULT_ALGORITHM
        return cls(name, ALGORITHMS[name].levels[level or DEFAULT_LEVEL])


DEFAULT_COMPRESSION: Final = Compression()
"""Where none is named."""


class Compressor:
    """Compresses from any number of threads; each gets a context of its own. None stores."""

    def __init__(self, compression: Compression | None) -> None:
        self.compression = compression
        self._local = threading.local()

    def compress(self, data: memoryview) -> tuple[int, bytes | memoryview]:
        """(codec, payload). What would not shrink is stored as it is."""
        if self.compression is None:
            return STORED, data
        algorithm = ALGORITHMS[self.compression.algorithm]
        pack: Callable[[Buffer], bytes] | None = getattr(self._local, "pack", None)
        if pack is None:
            pack = algorithm.maker(self.compression.level)
            self._local.pack = pack
        packed = pack(data)
        return (algorithm.code, packed) if len(packed) < len(data) else (STORED, data)


class Decompressor:
    """Decodes from any number of threads. No more memory is taken than a payload is said to need."""

    def __init__(self) -> None:
        self._local = threading.local()

    def decompress(self, codec: int, payload: bytes | memoryview, raw_length: int) -> bytes | memoryview:
        """The decoded payload, which must be ``raw_length`` bytes. Raises CodecError."""
        data: bytes | memoryview
        try:
            if codec == STORED:
                data = payload
            elif codec == ZSTD:
                data = self._zstd(payload, raw_length)
            elif codec == GZIP:
                inflate = zlib.decompressobj(_GZIP_WINDOW)
                data = inflate.decompress(payload, raw_length + 1)
                _check_end(inflate.eof, inflate.unused_data)
            elif codec == BZIP2:
                bunzip = bz2.BZ2Decompressor()
                data = bunzip.decompress(payload, raw_length + 1)
                _check_end(bunzip.eof, bunzip.unused_data)
            elif codec == XZ:
                unxz = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)
                data = unxz.decompress(payload, raw_length + 1)
                _check_end(unxz.eof, unxz.unused_data)
            else:
                raise CodecError(f"unknown codec {codec}")
        except (zstandard.ZstdError, zlib.error, lzma.LZMAError, OSError, EOFError) as error:
            raise CodecError(str(error)) from error
        if len(data) != raw_length:
            raise CodecError(f"{len(data)} bytes instead of {raw_length}")
        return data

    def _zstd(self, payload: bytes | memoryview, raw_length: int) -> bytes:
        context: zstandard.ZstdDecompressor | None = getattr(self._local, "context", None)
        if context is None:
            context = zstandard.ZstdDecompressor()
            self._local.context = context
        # The frame's own claim must not decide how much memory is taken.
        if zstandard.frame_content_size(payload) != raw_length:
            raise CodecError("the compressed frame has another size than its record says")
        return context.decompress(payload, allow_extra_data=False)


def _check_end(ended: bool, rest: bytes) -> None:
    if not ended or rest:
        raise CodecError("the compressed stream does not end where its record does")
