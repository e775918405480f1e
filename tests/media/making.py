"""Media with small backup sets, sound ones and ones that nobody would write."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tdsproxy.media import format as layout
from tdsproxy.media.codecs import Compression, Compressor, Decompressor
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import (
    EncryptionEnvelope,
    FamilyContent,
    Image,
    MediaHeader,
    SetDescription,
    SetHeader,
)
from tdsproxy.media.encryption import AesGcm
from tdsproxy.media.log_blocks import LogBlock, StoredTransaction, pack_blocks
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.sealing import ChunkCipher
from tdsproxy.media.set_reader import MediaSetReader, open_media
from tdsproxy.media.writer import (
    EncodedRecord,
    Encoder,
    SetWriter,
    Slot,
    WholeSet,
    slot_of,
    stored_size,
    write_media_header,
)

SIZE = 512
NOW = dt.datetime(2024, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
ENVELOPE = EncryptionEnvelope(algorithm="AES_256", thumbprint=b"\x01\x02")

Run = tuple[int, int, bytes]
"""First page, number of pages, their bytes."""


def keys(envelope: EncryptionEnvelope) -> ChunkCipher:
    return AesGcm(bytes(range(32)))


def page(number: int) -> bytes:
    return number.to_bytes(4, "big") * (SIZE // 4)


def run(first: int, count: int) -> Run:
    return first, count, b"".join(page(number) for number in range(first, first + count))


def transactions(count: int, pages: int = 2) -> list[StoredTransaction]:
    return [
        StoredTransaction(
            1000 + 10 * number,
            1010 + 10 * number,
            5000 + number,
            SIZE,
            20,
            [(n + 1, page(n)) for n in range(pages)],
        )
        for number in range(count)
    ]


@dataclass(frozen=True)
class Plan:
    """One set. What ``log`` holds are blocks; the rest is what is said otherwise than it is."""

    runs: Sequence[Run] = field(default_factory=lambda: [run(1, 8), run(9, 8), run(17, 4)])
    log: Sequence[LogBlock] = ()
    kind: int = layout.PAGES
    image: Image = field(default_factory=lambda: Image(page_size=SIZE, page_count=20, wal=False))
    cipher: ChunkCipher | None = None
    compression: Compression | None = None
    closes: bool = True
    record: Callable[[int, EncodedRecord], EncodedRecord] = lambda number, record: record
    whole: Callable[[WholeSet], WholeSet] = lambda whole: whole
    header: Callable[[int, SetHeader], SetHeader] = lambda family, header: header
    writer: Callable[[SetWriter], object] = lambda writer: None
    guids: Sequence[uuid.UUID] = ()


def plan(**members: Any) -> Plan:
    """A set with pages and log."""
    return Plan(**({"log": list(pack_blocks(transactions(6)))} | members))


def description() -> SetDescription:
    guid = uuid.UUID(int=7)
    return SetDescription(
        database_name="x",
        set_guid=guid,
        family_guid=guid,
        database_guid=guid,
        recovery_fork_guid=guid,
        first_recovery_fork_guid=guid,
    )


def make(paths: Sequence[Path], *plans: Plan, **labels: Any) -> DeviceSet:
    """A media set with one family on each path."""
    devices = tuple(DiskDevice(path) for path in paths)
    media_set = labels.pop("media_set_id", uuid.uuid4())
    for number, device in enumerate(devices, 1):
        with device.lock(lambda: False) as medium:
            handle = medium.replace()
            label = {
                "media_set_id": media_set,
                "media_family_id": uuid.uuid4(),
                "created": NOW,
                "family_count": len(devices),
                "family_sequence": number,
            }
            write_media_header(handle, MediaHeader(**(label | labels)))
            handle.publish()
    for position, one in enumerate(plans, 1):
        add(devices, position, one)
    return DeviceSet(devices, keys=keys)


def add(devices: Sequence[DiskDevice], position: int, one: Plan) -> None:
    """The next set."""
    families = len(devices)
    guids = list(one.guids) or [uuid.uuid4()] * families
    held = [device.lock(lambda: False) for device in devices]
    media = [lock.__enter__() for lock in held]
    handles = [
        medium.append(device.path.stat().st_size) for device, medium in zip(devices, media, strict=True)
    ]
    writers = [SetWriter(handle, position, guid) for handle, guid in zip(handles, guids, strict=True)]
    for number, writer in enumerate(writers, 1):
        writer.write_header(
            one.header(
                number,
                SetHeader(
                    description=description(),
                    image=one.image,
                    started=NOW,
                    encryption=ENVELOPE if one.cipher else None,
                    family_count=families,
                    family_sequence=number,
                ),
            )
        )
    encoder = Encoder(guids[0], Compressor(one.compression), one.cipher)
    contents = hashlib.sha256()
    number = 0
    for first, count, data in one.runs:
        slot = slot_of(number, families)
        put(
            writers,
            slot,
            one.record(number, encoder.pages(slot, first, count, memoryview(data), one.kind)),
            contents,
        )
        number += 1
    for block in one.log:
        slot = slot_of(number, families)
        put(writers, slot, one.record(number, encoder.log(slot, block)), contents)
        number += 1
    digest = contents.digest()[: layout.DIGEST_SIZE]
    for writer in writers:
        one.writer(writer)
        writer.write_index()
    whole = WholeSet(
        finished=NOW,
        content=FamilyContent(
            run_count=len(one.runs),
            page_count=sum(count for _, count, _ in one.runs),
            log_block_count=len(one.log),
            transaction_count=sum(block.count for block in one.log),
            digest=digest,
        ),
        families=families,
        backup_size=20 * SIZE,
        stored_size=stored_size(writers),
        sealed_digest=encoder.sealed_digest(digest),
    )
    for writer in writers:
        writer.write_trailer(one.whole(whole))
        if one.closes:
            writer.close()
    for handle, lock in zip(handles, held, strict=True):
        handle.sync()
        handle.publish()
        lock.__exit__(None, None, None)


def put(writers: Sequence[SetWriter], slot: Slot, record: EncodedRecord, contents: Any) -> None:
    writers[slot.family - 1].write(record)
    contents.update(record.header.content_digest)


def with_header(record: EncodedRecord, **members: Any) -> EncodedRecord:
    """The record with something else in its header, which is sealed as it is then."""
    return replace(record, header=replace(record.header, **members))


@dataclass(frozen=True)
class Content:
    """What a set says of itself, and what it holds."""

    name: str
    runs: list[tuple[int, int, int, bytes]]
    log: list[tuple[int, list[tuple[int, bytes]]]]


def content(devices: DeviceSet, position: int = 1) -> Content:
    """Everything that can be read of a set, in every way in which it can be read."""
    with open_media(devices) as reader:
        return content_of(reader, position)


def content_of(reader: MediaSetReader, position: int) -> Content:
    place = reader.find(position)
    info = reader.info(place)
    decompressor = Decompressor()
    runs = [
        (item.header.kind, item.header.first, item.header.count, bytes(item.decode(decompressor)))
        for item in reader.runs(place, info)
    ]
    pages = [item for item in runs if item[0] != layout.LOG]
    again = [
        (item.header.kind, item.header.first, item.header.count, bytes(item.decode(decompressor)))
        for item in reader.runs_from(place, info, 1)
    ]
    assert again == runs[1:]
    by_index = [
        bytes(reader.run(place, info, family, entry).decode(decompressor))
        for family, entry in reader.page_index(place, info)
    ]
    assert by_index == [data for *_, data in pages]
    log = LogReader(reader, place, info)
    found = [(item.lsn, list(item.pages)) for item in log.transactions()]
    return Content(info.header.description.database_name, pages, found)
