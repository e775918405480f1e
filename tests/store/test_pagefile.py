"""Raw pages through SQLite's descriptor, and what the first bytes of a file say."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.store import header, walindex
from tdsproxy.store.header import CIPHER_RESERVED, MAGIC, FileHeader
from tdsproxy.store.pagefile import PageFile
from tdsproxy.store.snapshot import open_database
from tdsproxy.store.upload_notes import UploadNote, notes

IOERR = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "x.db"
    connection = apsw.Connection(str(made))
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    return made


def test_bytes_are_read_and_written_where_they_lie(path: Path) -> None:
    connection = open_database(path, 0)
    file = PageFile(connection)
    assert file.size() == path.stat().st_size == 8192
    buffer = bytearray(b"x" * 40)
    file.read_into(memoryview(buffer), 8192 - 20)
    assert buffer[20:] == bytes(20), "bytes past the end are zeros"
    file.read_into(memoryview(bytearray()), 0)
    file.write(b"new bytes", 5000)
    file.sync()
    connection.close()
    assert path.read_bytes()[5000:5009] == b"new bytes"


@pytest.mark.parametrize(
    "attempt",
    [
        lambda file: file.size(),
        lambda file: file.read_into(memoryview(bytearray(9)), 0),
        lambda file: file.write(b"x", 0),
        lambda file: file.sync(),
    ],
)
def test_what_the_disk_refuses_is_an_error(path: Path, attempt: Callable[[PageFile], object]) -> None:
    connection = open_database(path, 0)
    file = PageFile(connection)

    def fail(*arguments: object) -> int:
        return IOERR

    file._methods = SimpleNamespace(xRead=fail, xWrite=fail, xSync=fail, xFileSize=fail)  # type: ignore[assignment]
    with pytest.raises(OSError, match="SQLite cannot"):
        attempt(file)
    connection.close()


def test_a_wal_index_that_cannot_be_mapped_is_none(path: Path) -> None:
    connection = open_database(path, 0)
    connection.execute("BEGIN; SELECT * FROM t").fetchall()
    file = PageFile(connection)
    block = file.index_block(0)
    assert block is not None
    assert block.readonly
    assert walindex.read_header(block) is not None
    assert file.index_block(1) is None
    file._methods = SimpleNamespace(iVersion=1)  # type: ignore[assignment]
    assert file.index_block(0) is None
    connection.close()


def test_only_files_of_the_usual_kind_are_read_raw(path: Path) -> None:
    dotfile = apsw.Connection(str(path), vfs="unix-dotfile")
    with pytest.raises(ValueError, match="opened with the VFS 'unix-dotfile'"):
        PageFile(dotfile)
    dotfile.close()
    memory = apsw.Connection(":memory:", vfs="unix")
    with pytest.raises(ValueError, match="has no file"):
        PageFile(memory)
    memory.close()


def head(
    magic: bytes = MAGIC,
    raw_size: int = 4096,
    versions: int = 2,
    reserved: int = 0,
    fractions: bytes = b"\x40\x20\x20",
    *,
    count: int = 9,
    valid_for: int = 5,
) -> bytes:
    made = bytearray(header.SIZE)
    made[:16] = magic
    struct.pack_into(">HBBB", made, 16, raw_size, versions, versions, reserved)
    made[21:24] = fractions
    struct.pack_into(">II", made, 24, 5, count)
    struct.pack_into(">II", made, 92, valid_for, 3_054_000)
    return bytes(made)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (head(), FileHeader(4096, True, 0, 9, 3_054_000)),
        (head(raw_size=1, versions=1), FileHeader(65536, False, 0, 9, 3_054_000)),
        # Written by a library that does not keep the count.
        (head(valid_for=4), FileHeader(4096, True, 0, None, 3_054_000)),
        (head(count=0), FileHeader(4096, True, 0, None, 3_054_000)),
        (head(bytes(range(16)), reserved=CIPHER_RESERVED), FileHeader(4096, True, 80, None, 0, True)),
        (head()[:99], None),
        (head(bytes(range(16))), None),
        (head(bytes(16), reserved=CIPHER_RESERVED), None),
        (head(raw_size=4095), None),
        (head(raw_size=256), None),
        (head(fractions=b"\x40\x20\x21"), None),
        (b"", None),
    ],
)
def test_what_a_header_says(data: bytes, expected: FileHeader | None) -> None:
    assert header.parse(data) == expected


def index_header(change: int = 1, max_frame: int = 3, raw_size: int = 4096, version: int = 3007000) -> bytes:
    first = struct.pack("=III BBH II 2I 2I", version, 0, change, 1, 0, raw_size, max_frame, 7, 1, 2, 3, 4)
    return first + struct.pack("=2I", *walindex._checksum(first))


def test_a_header_that_is_being_written_is_not_taken() -> None:
    whole = index_header() + bytes(40)
    found = walindex.read_header(index_header() * 2)
    assert found is not None
    assert (found.change, found.max_frame, found.page_count, found.page_size) == (1, 3, 7, 4096)
    large = walindex.read_header(index_header(raw_size=1) * 2)
    assert large is not None
    assert large.page_size == 65536
    assert walindex.read_header(index_header() + index_header(change=2)) is None
    assert walindex.read_header(index_header(version=3007001) * 2) is None
    torn = bytearray(index_header())
    torn[16] ^= 1
    assert walindex.read_header(bytes(torn) * 2) is None
    assert walindex.read_header(whole) is None


@given(st.integers(1, 10_000))
def test_the_pages_of_frames_lie_over_blocks(count: int) -> None:
    numbers = array("I", range(10, 10 + count))
    blocks = [bytes(136) + numbers[:4062].tobytes()]
    blocks += [numbers[at : at + 4096].tobytes() for at in range(4062, count, 4096)]

    def source(number: int) -> memoryview | None:
        return memoryview(blocks[number]) if number < len(blocks) else None

    assert walindex.frame_pages(source, count) == numbers
    missing = blocks.pop()
    assert missing
    assert walindex.frame_pages(source, count) is None


def test_uploads_under_way_are_noted_without_others_reading_it(tmp_path: Path) -> None:
    note = UploadNote(tmp_path, "https://x/y", "https://x", None)
    assert notes(tmp_path) == []
    note.end()
    note.begin()
    (path,) = notes(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert b'"url": "https://x/y"' in path.read_bytes()
    note.end()
    assert notes(tmp_path) == []
