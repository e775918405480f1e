"""docs/media-format.md and docs/log-archive-format.md: a reader that knows no more than their tables.

Nothing of the product's readers is used here: what is read back are plain files, which SQLite opens.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import lzma
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest
import zstandard

from tests.cli.pages import ROOT
from tests.running import Running, running

pytestmark = pytest.mark.slow

ROW = re.compile(r"^\| (\d+) \| (\d+) \| ([^|]+?) \|", re.MULTILINE)
BIG = 700


def tables(page: str) -> dict[str, dict[str, tuple[int, int]]]:
    """By heading: name to (offset, size), of the fields that have a fixed place."""
    text = (ROOT / "docs" / page).read_text()
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)[1:]
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for heading, body in zip(parts[::2], parts[1::2], strict=True):
        rows = [(int(row[1]), int(row[2]), row[3]) for row in ROW.finditer(body)]
        for (offset, size, _), (following, _, _) in itertools.pairwise(rows):
            assert offset + size <= following, heading
        found[heading] = {name: (offset, size) for offset, size, name in rows}
    return found


@dataclass(frozen=True)
class Structure:
    """The fields of a structure that begins at ``at``."""

    fields: dict[str, tuple[int, int]]
    data: bytes
    at: int = 0

    def raw(self, name: str) -> bytes:
        offset, size = self.fields[name]
        return self.data[self.at + offset : self.at + offset + size]

    def number(self, name: str, *, signed: bool = False) -> int:
        return int.from_bytes(self.raw(name), "little", signed=signed)

    def before(self, name: str) -> bytes:
        return self.data[self.at : self.at + self.fields[name][0]]

    @property
    def size(self) -> int:
        return max(offset + size for offset, size in self.fields.values())


def digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:16]


def write(path: Path, size: int, pages: list[tuple[int, bytes]], total: int) -> None:
    with path.open("r+b" if path.exists() else "w+b") as file:
        for number, image in pages:
            file.seek((number - 1) * size)
            file.write(image)
        file.truncate(total * size)


# ---------------------------------------------------------------------- media

MEDIA = tables("media-format.md")
CODECS = {
    0: bytes,
    1: lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    4: lzma.decompress,
}


@dataclass
class Record:
    head: Structure
    payload: bytes

    @property
    def kind(self) -> int:
        return self.head.number("kind")


@dataclass
class Set:
    anchor: Structure
    records: list[Record]
    header: dict[str, Any]
    trailer: dict[str, Any]

    def of(self, kind: int) -> list[Record]:
        return [record for record in self.records if record.kind == kind]


def read_medium(data: bytes) -> tuple[dict[str, Any], list[Set]]:
    head = Structure(MEDIA["Media header"], data)
    assert head.raw("magic") == b"\x89tdsproxy.bak\r\n\x1a"
    assert (head.number("major"), head.number("minor")) == (1, 2)
    assert head.raw("seal") == digest(head.before("seal"))
    start = 28
    document = json.loads(data[start : start + head.number("document length")])
    sets = []
    at = head.number("header size")
    while at < len(data):
        sets.append(read_set(data, at))
        at += sets[-1].anchor.number("length")
    assert at == len(data)
    return document, sets


def read_set(data: bytes, at: int) -> Set:
    anchor = Structure(MEDIA["Anchor"], data, at)
    assert anchor.raw("magic") == b"TDSSET\r\n"
    assert anchor.raw("seal") == digest(anchor.before("seal"))
    assert (anchor.number("state"), anchor.number("place")) == (1, at)
    end = at + anchor.number("length")
    records: list[Record] = []
    where = at + anchor.size
    while where < end:
        head = Structure(MEDIA["Record"], data, where)
        assert head.raw("magic") == b"TBR1"
        assert head.raw("seal") == digest(head.before("seal"))
        assert head.number("sequence") == len(records)
        assert head.raw("set GUID") == anchor.raw("set GUID")
        stored = data[where + head.size : where + head.size + head.number("stored length")]
        assert head.raw("stored digest") == digest(stored)
        payload = CODECS[head.number("codec")](stored)
        assert head.raw("content digest") == digest(payload)
        assert len(payload) == head.number("decoded length")
        records.append(Record(head, payload))
        where += head.size + len(stored)
    assert where == end
    assert [records[0].kind, records[-1].kind] == [1, 4]
    last = records[-1]
    assert last.head.at == at + anchor.number("trailer")
    assert anchor.raw("trailer digest") == digest(last.payload)
    mark = Structure(MEDIA["End mark"], data, end - 32)
    assert mark.raw("magic") == b"TDSEND\r\n"
    assert (mark.number("trailer"), mark.number("place")) == (anchor.number("trailer"), at)
    found = Set(anchor, records, json.loads(records[0].payload), json.loads(last.payload[:-32].rstrip(b"\0")))
    check_indexes(found)
    return found


def check_indexes(found: Set) -> None:
    pages = [record for record in found.records if record.kind in (2, 7)]
    blocks = found.of(5)
    for heading, kind, wanted in (("Index entry", 3, pages), ("Log index entry", 6, blocks)):
        listed = b"".join(record.payload for record in found.of(kind))
        size = Structure(MEDIA[heading], b"").size
        entries = [Structure(MEDIA[heading], listed, at) for at in range(0, len(listed), size)]
        assert [entry.number("place") for entry in entries] == [
            record.head.at - found.anchor.at for record in wanted
        ]
        for name in ("count", "stored length", "codec", "content digest"):
            assert [int.from_bytes(entry.raw(name), "little") for entry in entries] == [
                int.from_bytes(record.head.raw(name), "little") for record in wanted
            ]
    trailer = found.trailer
    assert trailer["run_count"] == len(pages)
    assert trailer["page_count"] == sum(record.head.number("count") for record in pages)
    assert trailer["log_block_count"] == len(blocks)
    indexes = found.of(3) + found.of(6)
    assert trailer["index_records"] == len(indexes)
    assert trailer["index_offset"] == indexes[0].head.at - found.anchor.at


def transactions_of(block: bytes) -> Iterator[tuple[Structure, list[tuple[int, bytes]]]]:
    at = 0
    while at < len(block):
        head = Structure(MEDIA["Transaction"], block, at)
        at += head.size
        at += sum(head.number(f"{name} length") % 65535 for name in ("mark", "description"))
        count, size = head.number("pages"), head.number("page size")
        images = at + 4 * count
        numbers = [int.from_bytes(block[at + 4 * n : at + 4 * n + 4], "little") for n in range(count)]
        yield head, [(number, block[images + n * size :][:size]) for n, number in enumerate(numbers)]
        at = images + count * size


def restore(found: Set, path: Path, from_lsn: int = 0) -> int:
    """Puts a set of any kind over the file; the LSN at which that is then."""
    image = found.header["image"]
    size = image["page_size"]
    for record in found.of(2):
        first = record.head.number("first")
        images = [record.payload[n : n + size] for n in range(0, len(record.payload), size)]
        write(path, size, [(first + n, data) for n, data in enumerate(images)], image["page_count"])
    for record in found.of(7):
        count = record.head.number("count")
        numbers = [int.from_bytes(record.payload[4 * n : 4 * n + 4], "little") for n in range(count)]
        pages = [(number, record.payload[4 * count + n * size :][:size]) for n, number in enumerate(numbers)]
        write(path, size, pages, image["page_count"])
    for record in found.of(5):
        for head, pages in transactions_of(record.payload):
            if head.number("LSN") >= from_lsn:
                write(path, size, pages, head.number("database pages"))
    return int(found.trailer["last_lsn"])


# ---------------------------------------------------------------------- the archive

ARCHIVE = tables("log-archive-format.md")


def lsn(raw: bytes) -> int:
    file, block, slot = (int.from_bytes(part, "little") for part in (raw[:8], raw[8:16], raw[16:]))
    return file * 10**15 + block * 10**5 + slot


def archived(segment: bytes) -> Iterator[tuple[Structure, bytes, bytes]]:
    """Record header, directory and images of each record."""
    head = Structure(ARCHIVE["Segment header"], segment)
    assert head.raw("magic") == b"TDSPLOG\0"
    assert head.number("version") == 1
    assert head.number("CRC") == zlib.crc32(head.before("CRC"))
    salt = head.raw("database GUID") + head.raw("fork GUID")
    at = head.size
    while at < len(segment):
        record = Structure(ARCHIVE["Record"], segment, at)
        assert record.raw("magic") == b"TLR1"
        assert record.number("CRC") == zlib.crc32(record.before("CRC"))
        middle = at + record.size + record.number("directory length")
        end = middle + record.number("stored length")
        assert segment[end : end + 16] == digest(salt + segment[at:end])
        stored = segment[middle:end]
        images = zstandard.ZstdDecompressor().decompressobj().decompress(stored) if stored else b""
        assert len(images) == record.number("raw length")
        yield record, segment[at + record.size : middle], images
        at = end + 16


def roll(folder: Path, path: Path, from_lsn: int) -> int:
    """Rolls the file forward; the number of transactions."""
    rolled = 0
    for place in sorted(folder.glob("*.seg")):
        data = place.read_bytes()
        assert int(place.stem) == lsn(Structure(ARCHIVE["Segment header"], data).raw("LSN"))
        for record, directory, images in archived(data):
            assert record.number("kind") != 3
            if record.number("kind") == 4:
                continue
            at = used = 0
            while at < len(directory):
                entry = Structure(ARCHIVE["Entry"], directory, at)
                count, size = entry.number("pages"), entry.number("page size")
                numbers = directory[at + entry.size :][: 4 * count]
                pages = [
                    (int.from_bytes(numbers[4 * n : 4 * n + 4], "little"), images[used + n * size :][:size])
                    for n in range(count)
                ]
                used += count * size
                at += (
                    entry.size + 4 * count + entry.number("mark length") + entry.number("description length")
                )
                flags = entry.number("flags")
                at += 8 if flags & 2 else 0
                if lsn(entry.raw("NextLSN")) > from_lsn:
                    assert rolled or lsn(entry.raw("LSN")) <= from_lsn
                    write(path, size, pages, entry.number("database pages"))
                    rolled += 0 if flags & 1 else 1
            assert used == len(images)
    return rolled


# ---------------------------------------------------------------------- both


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("formats") / "data") as made:
        yield made


def rows(path: Path) -> list[tuple[Any, ...]]:
    connection = apsw.Connection(str(path))
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return list(connection.execute("SELECT count(*), sum(n), sum(length(text)) FROM item"))
    finally:
        connection.close()


def test_a_reader_made_from_the_pages_alone(server: Running, tmp_path: Path) -> None:
    big = f"INSERT INTO Shop.dbo.item SELECT TOP {BIG} 7, REPLICATE(N'x', 3000) FROM sys.all_columns"
    with server.connect() as connection:
        cursor = connection.cursor()
        for text in (
            "CREATE DATABASE Shop",
            "CREATE TABLE Shop.dbo.item (n int, text nvarchar(4000))",
            "INSERT INTO Shop.dbo.item VALUES (1, N'bread'), (2, N'milk')",
            "BACKUP DATABASE Shop TO DISK = N'Shop.bak' WITH COMPRESSION",
            "INSERT INTO Shop.dbo.item VALUES (3, N'salt')",
            "BACKUP DATABASE Shop TO DISK = N'Shop.bak' WITH DIFFERENTIAL, COMPRESSION (ALGORITHM = XZ)",
            "BEGIN TRANSACTION stocktaking WITH MARK N'by hand'",
            "INSERT INTO Shop.dbo.item VALUES (4, N'tea')",
            "COMMIT",
            big,
            "BACKUP LOG Shop TO DISK = N'Shop.trn'",
            "INSERT INTO Shop.dbo.item VALUES (5, N'sugar')",
            "BACKUP LOG Shop TO DISK = N'Shop.trn'",
        ):
            cursor.execute(text)
            while cursor.nextset():
                pass
    label, (full, differential) = read_medium((server.backup_directory / "Shop.bak").read_bytes())
    assert (label["family_count"], label["family_sequence"]) == (1, 1)
    kinds = [one.header["description"]["backup_type"] for one in (full, differential)]
    assert kinds == [1, 5]
    path = tmp_path / "shop.db"
    at = restore(full, path)
    assert rows(path) == [(2, 3, 9)]
    start = tmp_path / "start.db"
    start.write_bytes(path.read_bytes())
    started = at
    at = restore(differential, path)
    assert rows(path) == [(3, 6, 13)]
    _, logs = read_medium((server.backup_directory / "Shop.trn").read_bytes())
    assert [one.header["description"]["backup_type"] for one in logs] == [2, 2]
    marks = [
        head for one in logs for record in one.of(5) for head, _ in transactions_of(record.payload)
        if head.number("mark length") != 65535
    ]  # fmt: skip
    assert [head.number("mark length") for head in marks] == [len("stocktaking")]
    flags = [record.head.number("flags") for one in logs for record in one.of(5)]
    assert 4 in flags, "no transaction was cut"
    for one in logs:
        at = restore(one, path, at)
    whole = [(4 + BIG + 1, 1 + 2 + 3 + 4 + 5 + 7 * BIG, 21 + 3000 * BIG)]
    assert rows(path) == whole
    # The same without any differential or log backup, from the archive.
    (folder,) = (one.parent for one in [*server.store.glob("log/*/*/*.seg")][:1])
    assert roll(folder, start, started) == 4
    assert rows(start) == whole
