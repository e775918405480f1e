"""Compression of payloads: one independent Zstandard frame per payload, so that runs can be read alone."""

from __future__ import annotations

import threading

import zstandard

from tdsproxy.media.format import STORED, ZSTD

LEVELS = {"LOW": 1, "MEDIUM": 3, "HIGH": 9}
DEFAULT_LEVEL = 3


class CodecError(ValueError):
    """A payload cannot be decoded."""


class Compressor:
    """Compresses from any number of threads; each gets a context of its own. ``level`` None stores."""

    def __init__(self, level: int | None) -> None:
        self.level = level
        self._local = threading.local()

    def compress(self, data: memoryview) -> tuple[int, bytes | memoryview]:
        """(codec, payload). What would not shrink is stored as it is."""
        if self.level is None:
            return STORED, data
        context: zstandard.ZstdCompressor | None = getattr(self._local, "context", None)
        if context is None:
            context = zstandard.ZstdCompressor(level=self.level, write_content_size=True)
            self._local.context = context
        packed: bytes = context.compress(data)
        return (ZSTD, packed) if len(packed) < len(data) else (STORED, data)


class Decompressor:
    """Decodes from any number of threads."""

    def __init__(self) -> None:
        self._local = threading.local()

    def decompress(self, codec: int, payload: bytes | memoryview, raw_length: int) -> bytes | memoryview:
        """The decoded payload, which must be ``raw_length`` bytes. Raises CodecError."""
        if codec == STORED:
            data: bytes | memoryview = payload
        elif codec == ZSTD:
            context: zstandard.ZstdDecompressor | None = getattr(self._local, "context", None)
            if context is None:
                context = zstandard.ZstdDecompressor()
                self._local.context = context
            try:
                # The frame's own claim must not decide how much memory is taken.
                if zstandard.frame_content_size(payload) != raw_length:
                    raise CodecError("the compressed frame has another size than its record says")
                data = context.decompress(payload)
            except zstandard.ZstdError as error:
                raise CodecError(str(error)) from error
        else:
            raise CodecError(f"unknown codec {codec}")
        if len(data) != raw_length:
            raise CodecError(f"{len(data)} bytes instead of {raw_length}")
        return data
