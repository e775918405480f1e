from __future__ import annotations

import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.media.codecs import CodecError, Compressor, Decompressor
from tdsproxy.media.format import STORED, ZSTD


@given(st.binary(max_size=5000), st.sampled_from([None, 1, 3, 9]))
def test_what_is_compressed_comes_back(data: bytes, level: int | None) -> None:
    codec, payload = Compressor(level).compress(memoryview(data))
    assert bytes(Decompressor().decompress(codec, payload, len(data))) == data
    assert len(payload) <= len(data)


def test_what_would_grow_is_stored() -> None:
    assert Compressor(3).compress(memoryview(os.urandom(4096)))[0] == STORED
    assert Compressor(3).compress(memoryview(bytes(4096)))[0] == ZSTD


def test_bad_payloads() -> None:
    good = zstandard.ZstdCompressor().compress(bytes(1000))
    decompressor = Decompressor()
    for codec, payload, length in [
        (ZSTD, good, 999),
        (ZSTD, good[:-1], 1000),
        (ZSTD, b"nonsense", 1000),
        (ZSTD, b"", 0),
        (STORED, b"abc", 4),
        (7, b"abc", 3),
    ]:
        with pytest.raises(CodecError):
            decompressor.decompress(codec, payload, length)


def test_a_frame_cannot_take_more_memory_than_its_record_says() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 28))
    with pytest.raises(CodecError):
        Decompressor().decompress(ZSTD, bomb, 1 << 20)
