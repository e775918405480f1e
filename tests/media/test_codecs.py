from __future__ import annotations

import bz2
import gzip
import lzma
import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.media.codecs import ALGORITHMS, CodecError, Compression, Compressor, Decompressor
from tdsproxy.media.format import BZIP2, GZIP, STORED, XZ, ZSTD

ALL = [Compression.of(name, level) for name in ALGORITHMS for level in ("LOW", "MEDIUM", "HIGH")]


@given(st.binary(max_size=5000), st.sampled_from([None, *ALL]))
def test_what_is_compressed_comes_back(data: bytes, compression: Compression | None) -> None:
    codec, payload = Compressor(compression).compress(memoryview(data))
    assert bytes(Decompressor().decompress(codec, payload, len(data))) == data
    assert len(payload) <= len(data)


@pytest.mark.parametrize("compression", ALL, ids=str)
def test_what_would_grow_is_stored(compression: Compression) -> None:
    compressor = Compressor(compression)
    assert compressor.compress(memoryview(os.urandom(4096)))[0] == STORED
    codes = {"ZSTD": ZSTD, "GZIP": GZIP, "BZIP2": BZIP2, "XZ": XZ}
    assert compressor.compress(memoryview(bytes(4096)))[0] == codes[compression.algorithm]
    # A context is used again.
    assert compressor.compress(memoryview(bytes(4096)))[1] == compressor.compress(memoryview(bytes(4096)))[1]


@pytest.mark.parametrize("compression", ALL[::3], ids=str)
def test_payloads_that_are_cut_off_or_go_on(compression: Compression) -> None:
    codec, payload = Compressor(compression).compress(memoryview(b"words " * 1000))
    decompressor = Decompressor()
    for wrong, length in [
        (bytes(payload)[:-1], 6000),
        (bytes(payload) + b"x", 6000),
        (bytes(payload) * 2, 6000),
        (payload, 5999),
        (payload, 6001),
        (b"", 6000),
    ]:
        with pytest.raises(CodecError):
            decompressor.decompress(codec, wrong, length)


def test_what_other_tools_read() -> None:
    """Each payload is a file of its codec."""
    data = b"words " * 1000
    packed = {
        name: bytes(Compressor(Compression.of(name)).compress(memoryview(data))[1]) for name in ALGORITHMS
    }
    assert gzip.decompress(packed["GZIP"]) == data
    assert bz2.decompress(packed["BZIP2"]) == data
    assert lzma.decompress(packed["XZ"]) == data
    assert zstandard.ZstdDecompressor().decompress(packed["ZSTD"]) == data


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
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 24))
    bombs = [
        (ZSTD, bomb),
        (GZIP, gzip.compress(bytes(1 << 24))),
        (BZIP2, bz2.compress(bytes(1 << 24))),
        (XZ, lzma.compress(bytes(1 << 24))),
    ]
    for codec, payload in bombs:
        with pytest.raises(CodecError):
            Decompressor().decompress(codec, payload, 1 << 20)
