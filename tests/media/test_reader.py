"""Media as they are written, and whatever else may lie there: it is read whole, or told to be damaged."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tdsproxy.media import format as layout
from tdsproxy.media import reader as reader_module
from tdsproxy.media.codecs import Compression, Compressor, Decompressor
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.device_set import DeviceSet, device_set
from tdsproxy.media.documents import FamilyContent, Image
from tdsproxy.media.encryption import AesGcm, new_set_key
from tdsproxy.media.errors import (
    FamiliesMissing,
    FamilyCountWrong,
    FamilyTwice,
    ForeignFamily,
    MediaDamaged,
    MediaEmpty,
    MediaError,
    NotMedia,
    SetMismatch,
    SetMissing,
    UnsupportedVersion,
)
from tdsproxy.media.log_blocks import StoredTransaction, pack_blocks, pack_page_list
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.reader import MediaReader
from tdsproxy.media.sealing import KeyMissing
from tdsproxy.media.set_reader import MediaSetReader, open_media
from tdsproxy.media.writer import Encoder, SetWriter
from tests.media import making
from tests.media.making import SIZE, Plan, content, keys, make, page, plan, run, transactions, with_header

CIPHER = AesGcm(bytes(range(32)))


def paths(folder: Path, count: int) -> list[Path]:
    return [folder / f"{number}.bak" for number in range(count)]


def listed(first: int, count: int, step: int = 2) -> tuple[int, int, bytes]:
    numbers = list(range(first, first + count * step, step))
    return first, count, bytes(pack_page_list(numbers, b"".join(map(page, numbers))))


@pytest.mark.parametrize("families", [1, 3])
@pytest.mark.parametrize("cipher", [None, CIPHER])
@pytest.mark.parametrize("compression", [None, Compression.of("ZSTD"), Compression.of("XZ")])
def test_what_is_written_is_read(
    tmp_path: Path, families: int, cipher: AesGcm | None, compression: Compression | None
) -> None:
    large = StoredTransaction(2000, 2100, 9, SIZE, 4000, [(n, page(n)) for n in range(1, 2100)])
    log = list(
        pack_blocks([*transactions(6), large, *[replace(transactions(1)[0], lsn=2100, next_lsn=2110)]])
    )
    devices = make(
        paths(tmp_path, families),
        plan(cipher=cipher, compression=compression, log=log),
        plan(cipher=cipher, kind=layout.PAGE_LIST, runs=[listed(1, 4), listed(10, 3)], log=[]),
        plan(runs=[], cipher=cipher),
    )
    first = content(devices)
    assert [item[1:3] for item in first.runs] == [(1, 8), (9, 8), (17, 4)]
    assert b"".join(data for *_, data in first.runs) == b"".join(map(page, range(1, 21)))
    assert [lsn for lsn, _ in first.log] == [1000, 1010, 1020, 1030, 1040, 1050, 2000, 2100]
    assert first.log[-2][1] == [(n, page(n)) for n in range(1, 2100)]
    second = content(devices, 2)
    assert [item[:3] for item in second.runs] == [(layout.PAGE_LIST, 1, 4), (layout.PAGE_LIST, 10, 3)]
    assert content(devices, 3).runs == []
    with pytest.raises(SetMissing) as caught:
        content(devices, 4)
    assert (caught.value.position, caught.value.count) == (4, 3)


def test_without_its_key_only_the_headers_of_a_set_are_read(tmp_path: Path) -> None:
    devices = make(paths(tmp_path, 1), plan(cipher=CIPHER))
    with open_media(DeviceSet(devices.devices)) as reader:
        place = reader.find(1)
        info = reader.info(place)
        assert info.header.encryption == making.ENVELOPE
        with pytest.raises(KeyMissing, match="CERTIFICATE 0x0102"):
            next(reader.runs(place, info))
    other = DeviceSet(devices.devices, keys=lambda envelope: AesGcm(bytes(32)))
    with pytest.raises(MediaDamaged, match="seal"):
        content(other)
    assert "secret" not in repr(CIPHER)
    assert [len(new_set_key(name)) for name in ("AES_128", "AES_192", "AES_256")] == [16, 24, 32]


@pytest.mark.parametrize("families", [1, 2])
@pytest.mark.parametrize("cipher", [None, CIPHER])
def test_a_changed_byte_never_gives_other_content(
    tmp_path: Path, families: int, cipher: AesGcm | None
) -> None:
    one = plan(cipher=cipher, runs=[run(1, 2), run(3, 2)], log=list(pack_blocks(transactions(2, 1))))
    devices = make(paths(tmp_path, families), one, one)
    sound = [content(devices, position) for position in (1, 2)]
    path = devices.devices[0].path  # type: ignore[attr-defined]
    data = path.read_bytes()
    told = 0
    for at in range(0, len(data), 211 if families == 1 and cipher is None else 701):
        changed = bytearray(data)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        for position in (1, 2):
            try:
                assert content(devices, position) == sound[position - 1]
            except MediaError:
                told += 1
    assert told > 10
    for cut in range(0, len(data), 512):
        path.write_bytes(data[:cut])
        for position in (1, 2):
            with pytest.raises(MediaError) if position == 2 or cut < len(data) // 3 else _either():
                assert content(devices, position) == sound[position - 1]


class _either:
    """What is asserted inside holds, or the medium says that it is damaged."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, MediaError)


def image(**members: Any) -> Image:
    return Image(**({"page_size": SIZE, "page_count": 20, "wal": False} | members))


def first_of(place: int = 0, /, **members: Any) -> Callable[[int, Any], Any]:
    return lambda number, record: with_header(record, **members) if number == place else record


def counted(**members: int | bytes) -> Callable[[Any], Any]:
    def change(whole: Any) -> Any:
        fields = {name: getattr(whole.content, name) for name in FamilyContent.__struct_fields__}
        return replace(whole, content=FamilyContent(**(fields | members)))

    return change


BLOCKS = list(pack_blocks(transactions(6)))
LARGE = list(
    pack_blocks([StoredTransaction(2000, 2100, 9, SIZE, 4100, [(n, page(n)) for n in range(1, 4100)])])
)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (plan(image=image(page_size=1000)), "its image cannot be"),
        (plan(image=image(page_count=-1)), "its image cannot be"),
        (plan(image=image(page_count=19)), "does not fit the database"),
        (plan(image=image(page_size=1024)), "does not fit the database"),
        (plan(runs=[run(9, 8), run(1, 8)]), "a run is out of order"),
        (plan(runs=[run(1, 8), run(8, 8)]), "a run is out of order"),
        (plan(log=[*BLOCKS, *BLOCKS]), "a block of log is out of order"),
        (plan(log=LARGE[1:]), "a block of log is out of order"),
        (plan(log=[LARGE[0], LARGE[0]]), "a block of log is out of order"),
        (plan(record=first_of(1, kind=layout.PAGE_LIST)), "of kind 7 lies there"),
        (plan(record=first_of(kind=9)), "of kind 9 lies there"),
        (plan(record=first_of(stored_digest=bytes(16))), "the digest does not match"),
        (plan(record=first_of(content_digest=bytes(16))), "the content digest does not match"),
        (plan(record=first_of(flags=layout.SEALED)), "sealed otherwise than the set's header says"),
        (plan(record=first_of(codec=9)), "unknown codec 9"),
        (plan(record=first_of(raw_length=8 * SIZE, codec=layout.ZSTD)), "content size"),
        (plan(record=first_of(set_guid=uuid.UUID(int=3))), "belongs to another set"),
        (plan(whole=counted(run_count=7)), "the content is not what the trailer names"),
        (plan(whole=counted(digest=bytes(16))), "what the trailer names"),
        (
            plan(cipher=CIPHER, whole=lambda whole: replace(whole, sealed_digest=None)),
            "the seal does not open",
        ),
        (
            plan(
                cipher=CIPHER,
                record=lambda number, record: with_header(record, first=record.header.first + 1),
            ),
            r"seal does not open|out of order|does not fit",
        ),
        (plan(writer=lambda writer: setattr(writer, "_header_digest", bytes(16))), "it is not the trailer's"),
        (plan(writer=lambda writer: writer._entries.clear()), "it does not list what is there"),
        (plan(writer=lambda writer: writer._entries.extend(b"x")), "broken entry|does not list"),
        (plan(writer=lambda writer: writer._log_entries.extend(b"x")), "broken entry"),
        (plan(writer=lambda writer: writer._record(layout.INDEX, b"")), "of kind 3 lies there"),
    ],
)
@pytest.mark.parametrize("families", [1, 2])
def test_a_set_that_nobody_would_write_is_told(
    tmp_path: Path, families: int, wrong: Plan, words: str
) -> None:
    """Everything is sealed as it should be, so that nothing but what it says is wrong."""
    devices = make(paths(tmp_path, families), wrong, plan())
    with pytest.raises(MediaDamaged) as caught:
        content(devices)
    if families == 1:
        assert caught.match(words)
    # The others on the medium are not worse for it.
    assert content(devices, 2).name == "x"


def test_a_sealed_digest_of_another_content_is_told(tmp_path: Path) -> None:
    def forge(whole: Any) -> Any:
        # By one who has the key.
        guid = uuid.UUID(int=5)
        sealed = CIPHER.seal(
            layout.TRAILER_SEAL, bytes(16), layout.associated_data(guid, layout.TRAILER_SEAL, layout.TRAILER)
        )
        return replace(whole, sealed_digest=sealed)

    devices = make(paths(tmp_path, 1), plan(cipher=CIPHER, guids=[uuid.UUID(int=5)], whole=forge))
    with pytest.raises(MediaDamaged, match="the sealed set digest is another one"):
        content(devices)


def test_families_that_do_not_agree_are_told(tmp_path: Path) -> None:
    def other_name(family: int, header: Any) -> Any:
        return msgspec.structs.replace(header, image=image(page_count=20 + family))

    devices = make(paths(tmp_path, 2), plan(header=other_name))
    with pytest.raises(MediaDamaged, match=r"set header.*not that of the others"):
        content(devices)
    times = iter([making.NOW, making.NOW.replace(year=2025)])
    devices = make(paths(tmp_path, 2), plan(whole=lambda whole: replace(whole, finished=next(times))))
    with pytest.raises(MediaDamaged, match=r"trailer.*not that of the others"):
        content(devices)
    devices = make(paths(tmp_path, 2), plan(guids=[uuid.uuid4(), uuid.uuid4()]))
    with pytest.raises(SetMismatch, match="family 2 holds another backup set at position 1"):
        content(devices)


def test_a_family_that_holds_more_than_its_share_is_told(tmp_path: Path) -> None:
    def extra(writer: SetWriter) -> None:
        if writer._runs == 1 and writer._anchor.position == 1:
            guid = writer._anchor.set_guid
            for sequence in (2, 3):
                encoder = Encoder(guid, Compressor(None))
                slot = making.Slot(2, sequence)
                writer.write(encoder.pages(slot, 17 + sequence, 1, memoryview(page(17 + sequence))))

    devices = make(paths(tmp_path, 2), plan(runs=[run(1, 8), run(9, 8), run(17, 1)], log=[], writer=extra))
    with pytest.raises(MediaDamaged, match=r"holds more than its share|what the trailer names"):
        content(devices)


def test_behind_damaged_pages_the_index_leads_on(tmp_path: Path) -> None:
    devices = make(paths(tmp_path, 2), plan())
    path = devices.devices[0].path  # type: ignore[attr-defined]
    data = bytearray(path.read_bytes())
    at = data.index(page(1))
    data[at - 1] ^= 1  # the seal of its record's header
    path.write_bytes(data)
    told: list[MediaDamaged] = []
    with open_media(devices) as reader:
        place = reader.find(1)
        info = reader.info(place)
        runs = [item.header.first for item in reader.runs(place, info, told.append) if not item.is_log]
        with pytest.raises(MediaDamaged) as caught:
            list(reader.runs_from(place, info, 0))
        assert caught.value.page == 1
    assert runs == [9, 17]
    assert [error.page for error in told] == [1]


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        (LARGE[:1], "its transaction does not go on"),
        ([replace(BLOCKS[0], data=b"", count=0)], ""),
        ([replace(LARGE[0], data=b"")], "does not go on|empty"),
        ([replace(LARGE[0], data=b""), *LARGE[1:]], "the block is empty"),
        ([LARGE[0], *[replace(block, data=LARGE[0].data) for block in LARGE[1:]]], "pages instead of"),
        ([replace(LARGE[0], flags=0)], "a transaction is not whole"),
        ([replace(BLOCKS[0], data=BLOCKS[0].data + BLOCKS[0].data)], "its transactions are out of order"),
        ([replace(BLOCKS[0], data=BLOCKS[0].data[:-1])], "cut off|does not fit|ends"),
    ],
)
def test_log_that_cannot_be_is_told(tmp_path: Path, blocks: list[Any], words: str) -> None:
    devices = make(paths(tmp_path, 1), plan(log=blocks))
    with open_media(devices) as reader:
        place = reader.find(1)
        log = LogReader(reader, place, reader.info(place))
        if not words:
            assert list(log.transactions()) == []
            return
        with pytest.raises(MediaDamaged) as caught:
            [list(item.pages) for item in log.transactions()]
        assert caught.value.part == "log"
        assert caught.match(words) or words.startswith("cut")


def test_the_log_of_a_set_begins_where_it_is_asked_to(tmp_path: Path) -> None:
    devices = make(
        paths(tmp_path, 2),
        plan(log=[*BLOCKS, *[replace(block, first=6) for block in LARGE]]),
        plan(log=[]),
    )
    with open_media(devices) as reader:
        place = reader.find(1)
        log = LogReader(reader, place, reader.info(place))
        assert log.first_ns == 5000
        assert [item.lsn for item in log.transactions(1030)] == [1030, 1040, 1050, 2000]
        (last,) = log.transactions(2000)
        assert len(last.pages) == 4099
        assert (5, page(5)) in last.pages
        assert (5, page(6)) not in last.pages
        empty = reader.find(2)
        assert LogReader(reader, empty, reader.info(empty)).first_ns is None
        block, *_ = reader.log_index(place, reader.info(place))
        assert (block.family, block.lsn, block.count, block.last_ns) == (1, 1000, 6, 5005)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_set_whose_writer_died_before_it_closed_it_counts_if_it_is_whole(
    tmp_path: Path, damaged: bool
) -> None:
    devices = make(paths(tmp_path, 1), plan(), plan(closes=False))
    path = devices.devices[0].path  # type: ignore[attr-defined]
    if damaged:
        data = path.read_bytes()
        at = data.rindex(page(9))
        path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
        with open_media(devices) as reader:
            # Its end is there, so it is not what an interrupted append left: nothing may be put over it.
            (found,) = reader.maps()
            assert (len(found.sets), found.damage is not None) == (1, True)
            with pytest.raises(MediaDamaged, match="cannot be followed"):
                reader.find(2)
            assert reader.find(1).position == 1
    else:
        assert content(devices, 2).log == content(devices, 1).log


def test_what_an_interrupted_append_left_is_nothing(tmp_path: Path) -> None:
    devices = make(paths(tmp_path, 1), plan(), plan(closes=False))
    path = devices.devices[0].path  # type: ignore[attr-defined]
    data = path.read_bytes()
    with open_media(devices) as reader:
        (found,) = reader.maps()
        end = found.sets[1].offset
    for cut in (1, 100, 1000, len(data) - end - 600):
        path.write_bytes(data[:-cut])
        with open_media(devices) as reader:
            (found,) = reader.maps()
            assert (len(found.sets), found.end, found.damage) == (1, end, None)
            with pytest.raises(SetMissing):
                reader.find(2)


def test_a_set_whose_anchor_is_lost_is_found_but_not_used(tmp_path: Path) -> None:
    devices = make(paths(tmp_path, 1), plan(), plan())
    path = devices.devices[0].path  # type: ignore[attr-defined]
    data = bytearray(path.read_bytes())
    data[layout.MEDIA_HEADER_SIZE] ^= 1
    path.write_bytes(data)
    with open_media(devices) as reader:
        (found,) = reader.maps()
        assert [one.damage is None for one in found.sets] == [False, True]
        with pytest.raises(MediaDamaged, match="anchor"):
            reader.find(1)
        with pytest.raises(MediaDamaged, match="anchor"):
            reader.families[0].info(found.sets[0])
    assert content(devices, 2).name == "x"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"length": 600}, "its lengths cannot be"),
        ({"trailer": 10}, "its lengths cannot be"),
        ({"position": 2}, "it is that of set 2"),
        ({"trailer_digest": bytes(16)}, "it is not the anchor's"),
        ({"length": 1 << 40}, "cut off inside a set"),
    ],
)
def test_an_anchor_that_says_what_cannot_be_is_told(
    tmp_path: Path, members: dict[str, Any], words: str
) -> None:
    devices = make(paths(tmp_path, 1), plan())
    path = devices.devices[0].path  # type: ignore[attr-defined]
    data = bytearray(path.read_bytes())
    at = layout.MEDIA_HEADER_SIZE
    anchor = layout.unpack_anchor(bytes(data[at : at + layout.ANCHOR_SIZE]), at)
    data[at : at + layout.ANCHOR_SIZE] = replace(anchor, **members).pack()
    path.write_bytes(data)
    with pytest.raises(MediaDamaged, match=words):
        content(devices)


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (lambda data: b"", MediaEmpty),
        (lambda data: b"something else" * 1000, NotMedia),
        (lambda data: b"\x88" + data[1:], MediaDamaged),
        (lambda data: data[:100], MediaDamaged),
        (lambda data: data[:200] + b"\xff" + data[201:], MediaDamaged),
        (lambda data: data[: layout.MEDIA_HEADER_SIZE], MediaEmpty),
        (lambda data: _version_2(data), UnsupportedVersion),
        (lambda data: layout.pack_media_header(b"{}") + data[4096:], MediaDamaged),
        (lambda data: layout.pack_media_header(b"\xff") + data[4096:], MediaDamaged),
    ],
)
def test_what_begins_otherwise_is_told_apart(
    tmp_path: Path, harm: Callable[[bytes], bytes], error: type[MediaError]
) -> None:
    devices = make(paths(tmp_path, 1), plan())
    path = devices.devices[0].path  # type: ignore[attr-defined]
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(error):
        content(devices)


def _version_2(data: bytes) -> bytes:
    body = bytearray(data[: layout.MEDIA_HEADER_SIZE - layout.DIGEST_SIZE])
    body[16] = 2
    return bytes(body) + layout.digest(bytes(body)) + data[layout.MEDIA_HEADER_SIZE :]


def test_a_media_header_has_its_room() -> None:
    with pytest.raises(layout.FormatError, match="too long"):
        layout.pack_media_header(b"x" * 4096)


def test_the_families_of_one_media_set_belong_together(tmp_path: Path) -> None:
    media_set = uuid.uuid4()
    devices = make(paths(tmp_path, 3), plan(), media_set_id=media_set)
    one, two, three = devices.devices

    def opened(*given: Any) -> MediaSetReader:
        return open_media(DeviceSet(given, keys=keys))

    # In any order.
    assert content(DeviceSet((three, one, two), keys=keys)) == content(devices)
    with opened(two, three) as reader, pytest.raises(FamiliesMissing) as missing:
        reader.find(1)
    assert (missing.value.count, missing.value.given) == (3, 2)
    copy = DiskDevice(tmp_path / "copy.bak")
    copy.path.write_bytes(one.path.read_bytes())  # type: ignore[attr-defined]
    with pytest.raises(FamilyTwice, match="family 1, as on"):
        opened(one, copy)
    (tmp_path / "other").mkdir()
    stranger = make(paths(tmp_path / "other", 3), plan()).devices[1]
    with pytest.raises(ForeignFamily):
        opened(one, stranger)
    with pytest.raises(FamilyCountWrong) as wrong:
        opened(one, two, three, copy)
    assert (wrong.value.count, wrong.value.given) == (3, 4)
    (tmp_path / "alone").mkdir()
    alone = make(paths(tmp_path / "alone", 1), plan(), media_set_id=media_set).devices[0]
    with pytest.raises(FamilyCountWrong):
        opened(alone, two)
    with open_media(one) as reader:
        assert reader.given[0].name == device_set(one).name == one.name
        assert device_set(devices) is devices
    assert DeviceSet((one,), ((two,), (three,))).all == (one, two, three)


class Published:
    """A medium that became visible as a whole, as an object does: its anchor cannot be closed."""

    is_whole = True
    name = "https://x/y.bak"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads: list[int] = []

    def size(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        self.reads.append(length)
        return self.data[offset : offset + length]

    def close(self) -> None:
        self.data = b""


def test_the_last_set_of_an_object_is_found_by_its_end(tmp_path: Path) -> None:
    devices = make(paths(tmp_path, 1), plan(), plan(closes=False))
    data = devices.devices[0].path.read_bytes()  # type: ignore[attr-defined]
    handle = Published(data)
    with MediaReader(handle) as reader:
        _, second = reader.map().sets
        assert second.trailer_digest is not None
        assert len(handle.reads) < 8, "it is not read through"
        assert reader.info(second).header.description.database_name == "x"
    end = second.offset + second.trailer
    for at in (end + 20, len(data) - 20, end, second.offset + 520):
        changed = bytearray(data)
        changed[at] ^= 1
        found = MediaReader(Published(bytes(changed))).map()
        if at == second.offset + 520:
            assert len(found.sets) == 2
        else:
            assert len(found.sets) == 1, at
    # What follows the last set is not its end.
    assert len(MediaReader(Published(data + bytes(512))).map().sets) == 2


def test_two_bytes_make_no_medium() -> None:
    assert not reader_module._nearly(b"ab", b"abc")
    assert reader_module._nearly(b"abx", b"abc")


def test_a_writer_keeps_the_order_of_the_format(tmp_path: Path) -> None:
    device = DiskDevice(tmp_path / "m.bak")
    with device.lock(lambda: False) as medium:
        writer = SetWriter(medium.replace(), 1, uuid.uuid4())
        encoder = Encoder(uuid.uuid4(), Compressor(None))
        with pytest.raises(ValueError, match="content 5 written as record 0"):
            writer.write(encoder.pages(making.Slot(1, 5), 1, 1, memoryview(page(1))))
        with pytest.raises(ValueError, match="has no trailer"):
            writer.close()


def test_content_is_encoded_anew_as_it_is(tmp_path: Path) -> None:
    guid = uuid.uuid4()
    plain = Encoder(guid, Compressor(None))
    sealed = Encoder(guid, Compressor(Compression.of("GZIP")), CIPHER)
    slot = making.Slot(2, 3)
    first = plain.pages(slot, 9, 8, memoryview(run(9, 8)[2]))
    again = sealed.again(slot, first.header, memoryview(run(9, 8)[2]), None)
    assert again == sealed.pages(slot, 9, 8, memoryview(run(9, 8)[2]))
    back = plain.again(slot, again.header, memoryview(run(9, 8)[2]), None)
    assert back.header == first.header


def test_a_reader_whose_medium_is_cut_under_it_is_told(tmp_path: Path) -> None:
    devices = make(paths(tmp_path, 1), plan())
    path = devices.devices[0].path  # type: ignore[attr-defined]
    with open_media(devices) as reader:
        place = reader.find(1)
        info = reader.info(place)
        (_, entry), *_ = reader.page_index(place, info)
        found = reader.run(place, info, 0, entry)
        with path.open("r+b") as file:
            file.truncate(place.offset + entry.offset + 200)
        with pytest.raises(MediaDamaged, match="cut off inside a record") as caught:
            found.decode(Decompressor())
        assert caught.value.cut_off


def rewritten(path: Path, at: int, change: Callable[[layout.RecordHeader], layout.RecordHeader]) -> None:
    """The header of the record at ``at`` says something else, and is sealed as it is then."""
    data = bytearray(path.read_bytes())
    size = layout.RECORD_HEADER_SIZE
    data[at : at + size] = change(layout.unpack_record_header(bytes(data[at : at + size]))).pack()
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("part", "members", "words"),
    [
        ("trailer", {"kind": 9}, "of kind 9 lies there"),
        ("header", {"kind": 2}, "of kind 2 lies there"),
        ("pages", {"sequence": 5}, "out of order|seal"),
        ("pages", {"count": 7}, "not the one that the index names|what the trailer names|does not fit"),
        ("log", {"flags": 2}, "not the one that the index names|out of order"),
    ],
)
def test_a_record_that_is_another_one_is_told(
    tmp_path: Path, part: str, members: dict[str, Any], words: str
) -> None:
    devices = make(paths(tmp_path, 1), plan())
    path = devices.devices[0].path  # type: ignore[attr-defined]
    with open_media(devices) as reader:
        place = reader.find(1)
        info = reader.info(place)
        (location,) = place.locations
        (_, entry), *_ = reader.page_index(place, info)
        block, *_ = reader.log_index(place, info)
    at = {
        "trailer": location.trailer,
        "header": layout.ANCHOR_SIZE,
        "pages": entry.offset,
        "log": block.offset,
    }[part]
    rewritten(path, location.offset + at, lambda head: replace(head, **members))
    with pytest.raises(MediaDamaged, match=words):
        content(devices)
    if part in ("trailer", "header"):
        return
    first = 3 if part == "log" else 0
    with open_media(devices) as reader, pytest.raises(MediaDamaged, match=r"index names|out of order|fit"):
        list(reader.runs(place, info) if "sequence" in members else reader.runs_from(place, info, first))


def test_an_index_that_is_elsewhere_is_told(tmp_path: Path) -> None:
    def elsewhere(offset: int, records: int) -> Callable[[SetWriter], None]:
        def change(writer: SetWriter) -> None:
            write = writer.write_index

            def late() -> None:
                write()
                place, count = writer._index
                writer._index = place + offset, count + records

            writer.write_index = late  # type: ignore[method-assign]

        return change

    for offset, records, words in [
        (-(1 << 30), 0, "no index there"),
        (0, -3, "no index there"),
        (0, -1, "does not end at the trailer"),
        (0, 1, "lies there"),
    ]:
        devices = make(paths(tmp_path, 1), plan(writer=elsewhere(offset, records)))
        with pytest.raises(MediaDamaged, match=words):
            content(devices)


def test_a_trailer_that_does_not_end_the_set_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pad = layout.pad_trailer
    monkeypatch.setattr(
        layout, "pad_trailer", lambda document, record, anchor: pad(document, record, anchor + 1)
    )
    devices = make(paths(tmp_path, 1), plan())
    with pytest.raises(MediaDamaged, match="it does not end the set"):
        content(devices)


def test_what_goes_on_in_the_middle_of_a_set_is_checked_first(tmp_path: Path) -> None:
    """A restore that goes on does not read what it has, so the indexes must be those of the set."""
    devices = make(
        paths(tmp_path, 2),
        plan(whole=counted(digest=bytes(16))),
        plan(runs=[run(9, 8), run(1, 8), run(17, 4)], log=[]),
    )
    with open_media(devices) as reader:
        place = reader.find(1)
        info = reader.info(place)
        for attempt in (
            lambda: list(reader.runs_from(place, info, 1)),
            lambda: reader.log_index(place, info),
        ):
            with pytest.raises(MediaDamaged, match="it does not list what the trailer names"):
                attempt()
        place = reader.find(2)
        with pytest.raises(MediaDamaged, match="a run is out of order"):
            list(reader.runs_from(place, reader.info(place), 0))


def test_an_entry_of_an_index_that_is_broken_is_told(tmp_path: Path) -> None:
    for name in ("unpack_index", "unpack_log_index"):
        with pytest.raises(layout.FormatError, match="broken entry"):
            getattr(layout, name)(bytes(layout.INDEX_ENTRY_SIZE - 1))
    # Its length is right, what it names is not.
    devices = make(paths(tmp_path, 1), plan(writer=lambda writer: writer._entries.reverse()))
    with open_media(devices) as reader:
        place = reader.find(1)
        info = reader.info(place)
        for attempt in (lambda: list(reader.runs(place, info)), lambda: reader.page_index(place, info)):
            with pytest.raises(MediaDamaged, match="it does not list"):
                attempt()
