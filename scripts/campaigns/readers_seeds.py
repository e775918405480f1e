"""Sound inputs of the readers, made by the product itself, and their damage under seals that match."""

from __future__ import annotations

import io
import random
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass

from scripts.campaigns.fuzz_bytes import mutate
from scripts.campaigns.product import Product, product, run
from tdsproxy.log import segment, wal
from tdsproxy.media import format as layout

_EDGES = (0, 1, 2, 511, 4096, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)
_BODY = "REPLICATE('body', 150)"


@dataclass(frozen=True, slots=True)
class Sound:
    """By kind, files that the product has written."""

    media: list[bytes]
    segments: list[bytes]
    wals: list[bytes]
    indexes: list[bytes]
    databases: list[bytes]


def sound_files() -> Sound:
    """From a server that backs up a small database in each way."""
    with product() as made:
        made.start()
        with made.cursor() as cursor:
            for statement in (
                "CREATE DATABASE small",
                "CREATE TABLE small.dbo.t (n int PRIMARY KEY, body varchar(1000))",
                f"INSERT INTO small.dbo.t VALUES (1, {_BODY}), (2, {_BODY})",
                "BACKUP DATABASE small TO DISK = 'plain.bak' WITH NAME = 'one'",
                f"INSERT INTO small.dbo.t VALUES (3, {_BODY}), (4, {_BODY})",
                "BEGIN TRANSACTION m WITH MARK 'why'; UPDATE small.dbo.t SET body = 'x' WHERE n = 1; COMMIT",
                "BACKUP LOG small TO DISK = 'log.bak' WITH COMPRESSION",
                "BACKUP DATABASE small TO DISK = 'packed.bak' WITH COMPRESSION, DIFFERENTIAL",
                "BACKUP DATABASE small TO DISK = 'packed.bak' WITH COMPRESSION",
                f"INSERT INTO small.dbo.t VALUES (5, {_BODY}), (6, {_BODY})",
                "BACKUP LOG small TO DISK = 'log.bak' WITH COMPRESSION",
                f"UPDATE small.dbo.t SET body = {_BODY} WHERE n > 2",
            ):
                run(cursor, statement)
            return _collect(made)


def _collect(made: Product) -> Sound:
    def found(*patterns: str) -> list[bytes]:
        paths = sorted(path for pattern in patterns for path in made.store.glob(pattern))
        return [data for path in paths if len(data := path.read_bytes()) > 100]

    return Sound(
        media=found("backup/*.bak"),
        segments=found("log/**/*.seg"),
        # Those of master and msdb are large, and no others.
        wals=found("small.db-wal"),
        indexes=found("small.db-shm"),
        databases=found("small.db"),
    )


# ---------------------------------------------------------------------- damage under seals that match


def media_structures(content: bytes) -> list[tuple[int, int]]:
    """(offset, sealed length) of the media header, the anchors and the record headers."""
    found = [(0, layout.MEDIA_HEADER_SIZE)]
    at = layout.MEDIA_HEADER_SIZE
    while at < len(content):
        found.append((at, layout.ANCHOR_SIZE))
        end = at + layout.unpack_anchor(content[at : at + layout.ANCHOR_SIZE], at).length
        at += layout.ANCHOR_SIZE
        while at < end:
            found.append((at, layout.RECORD_HEADER_SIZE))
            head = layout.unpack_record_header(content[at : at + layout.RECORD_HEADER_SIZE])
            at += layout.RECORD_HEADER_SIZE + head.stored_length
    return found


def damaged_medium(rng: random.Random, sound: bytes, structures: list[tuple[int, int]]) -> bytes:
    """Another number in a structure, or another payload of a record, each sealed again."""
    content = bytearray(sound)
    for _ in range(rng.choice((1, 1, 2))):
        offset, length = rng.choice(structures)
        if length == layout.RECORD_HEADER_SIZE and rng.random() < 0.6:
            _damage_payload(rng, content, offset)
        else:
            at = offset + rng.randrange(min(length, 112) - 24)
            content[at : at + 8] = struct.pack("<Q", rng.choice((*_EDGES, rng.getrandbits(64))))
        body = bytes(content[offset : offset + length - layout.DIGEST_SIZE])
        content[offset + length - layout.DIGEST_SIZE : offset + length] = layout.digest(body)
    return bytes(content)


def _damage_payload(rng: random.Random, content: bytearray, offset: int) -> None:
    try:
        head = layout.unpack_record_header(bytes(content[offset : offset + layout.RECORD_HEADER_SIZE]))
    except layout.FormatError:
        # An earlier damage of the same record.
        return
    start = offset + layout.RECORD_HEADER_SIZE
    payload = bytes(content[start : start + head.stored_length])
    changed = in_place(rng, payload)
    content[start : start + len(payload)] = changed
    seal = layout.digest(changed)
    content[offset + 56 : offset + 72] = seal
    if rng.random() < 0.8:
        content[offset + 72 : offset + 88] = seal


def in_place(rng: random.Random, data: bytes) -> bytes:
    """``mutate``, but as long as before."""
    return mutate(rng, data)[: len(data)].ljust(len(data), rng.choice((b" ", b"\0", b"0")))


def segment_records(content: bytes) -> list[tuple[int, int, int]]:
    """(offset, length of the directory, length of the images) of each record of a segment of the log."""
    found = []
    at = segment.HEADER_SIZE
    while (head := segment.parse_record_header(content, at)) is not None:
        found.append((at, head.directory_length, head.stored_length))
        at += head.size
    return found


def damaged_segment(rng: random.Random, sound: bytes, records: list[tuple[int, int, int]]) -> bytes:
    """Damage in a record's header, directory or images, sealed again."""
    content = bytearray(sound)
    salt = bytes(content[12:44])
    for _ in range(rng.choice((1, 1, 2))):
        at, directory, stored = rng.choice(records)
        middle = at + segment.RECORD_SIZE
        start, end = rng.choice(
            (
                (at, middle - 4),
                (middle, middle + directory),
                (middle + directory, middle + directory + stored),
            )
        )
        if start == end:
            continue
        if start == at and rng.random() < 0.7:
            place = at + rng.randrange(4, segment.RECORD_SIZE - 12)
            content[place : place + 4] = struct.pack("<I", rng.choice(_EDGES) & 0xFFFFFFFF)
        else:
            content[start:end] = in_place(rng, bytes(content[start:end]))
        content[middle - 4 : middle] = struct.pack("<I", zlib.crc32(content[at : middle - 4]))
        body = middle + directory + stored
        content[body : body + segment.SEAL_SIZE] = segment.seal(salt, bytes(content[at:body]))
    if rng.random() < 0.1:
        place = rng.randrange(8, segment.HEADER_SIZE - 12)
        content[place : place + 8] = struct.pack("<Q", rng.choice(_EDGES))
        end = segment.HEADER_SIZE - 4
        content[end : end + 4] = struct.pack("<I", zlib.crc32(content[:end]))
    return bytes(content)


def small_wal(rng: random.Random) -> bytes:
    """A WAL of pages of 512 bytes, some transactions long."""
    frames = []
    for _ in range(rng.randrange(1, 5)):
        count = rng.randrange(1, 9)
        pages = [rng.randrange(1, count + 2) for _ in range(rng.randrange(1, 5))]
        frames += [(page, 0 if n + 1 < len(pages) else count) for n, page in enumerate(pages)]
    header = struct.pack(">6I", 0x377F0682 | rng.randrange(2), 3007000, 512, 3, 7, 9) + bytes(8)
    body = b"".join(
        struct.pack(">6I", page, count, 7, 9, 0, 0) + rng.randbytes(16) * 32 for page, count in frames
    )
    return sealed_wal(header + body)


def sealed_wal(data: bytes) -> bytes:
    """The same with the checksums that its header and frames should have, as far as there are any."""
    if len(data) < wal.HEADER_SIZE:
        return data
    content = bytearray(data)
    magic, _version, page_size = struct.unpack_from(">3I", content)
    big = bool(magic & 1)
    state = wal.checksum(bytes(content[:24]), (0, 0), big_endian=big)
    content[24:32] = struct.pack(">2I", *state)
    if page_size not in (512, 1024):
        return bytes(content)
    step = wal.FRAME_HEADER_SIZE + page_size
    for at in range(wal.HEADER_SIZE, len(content) - step + 1, step):
        state = wal.checksum(bytes(content[at : at + 8]), state, big_endian=big)
        state = wal.checksum(bytes(content[at + wal.FRAME_HEADER_SIZE : at + step]), state, big_endian=big)
        content[at + 16 : at + 24] = struct.pack(">2I", *state)
    return bytes(content)


# ---------------------------------------------------------------------- what is no medium of ours


def foreign_files(sound: Sound) -> list[bytes]:
    """Files of other programs, and of ours that are something else."""
    tar, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"), None)
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("a", "b" * 1000)
    return [
        # The begin of a medium in Microsoft Tape Format, as SQL Server writes them.
        b"TAPE" + struct.pack("<IHHQ", 0x20000, 0x8C, 14, 0) + bytes(1000),
        tar.getvalue(),
        packed.getvalue(),
        b"\x1f\x8b\x08\0" + bytes(600),
        b"\x7fELF" + bytes(600),
        b"text\n" * 200,
        "\ufefftext".encode("utf-16"),
        bytes(4096),
        b"",
        b"T",
        *sound.databases,
        *sound.segments[:1],
        *sound.wals[:1],
    ]
