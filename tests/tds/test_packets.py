from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tds.errors import EncodeError, ProtocolError, TooLarge
from tdsproxy.tds.packets import (
    ATTENTION,
    HEADER_SIZE,
    Message,
    MessageAssembler,
    Packet,
    PacketReader,
    PacketType,
    PacketWriter,
    Status,
    packetize,
)


def read_all(data: bytes, cuts: list[int] | None = None) -> list[Packet]:
    reader = PacketReader()
    packets: list[Packet] = []
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts or []}), len(data)]
    for start, end in pairwise(edges):
        reader.feed(data[start:end])
        packets += reader
    assert reader.pending == 0
    return packets


def assemble(packets: list[Packet], max_size: int = 1 << 20) -> list[Message]:
    assembler = MessageAssembler(max_size)
    return [message for packet in packets if (message := assembler.add(packet)) is not None]


@given(
    st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    st.integers(512, 4096),
    st.lists(st.integers(0, 20_000), max_size=12),
)
def test_messages_survive_any_fragmentation(payloads: list[bytes], size: int, cuts: list[int]) -> None:
    stream = b"".join(packetize(PacketType.RPC, each, size, spid=51) for each in payloads)
    packets = read_all(stream, cuts)
    assert b"".join(packet.raw for packet in packets) == stream
    assert all(len(packet.raw) <= size for packet in packets)
    assert [message.payload for message in assemble(packets)] == payloads


def test_byte_by_byte() -> None:
    stream = packetize(PacketType.SQL_BATCH, bytes(range(256)) * 5, 512)
    assert read_all(stream, list(range(len(stream)))) == read_all(stream)


def test_header_fields() -> None:
    first, second, third = read_all(packetize(PacketType.SQL_BATCH, b"x" * 1100, 512, 0x1234, 8))
    assert [each.packet_id for each in (first, second, third)] == [1, 2, 3]
    assert [each.status for each in (first, second, third)] == [Status.RESET_CONNECTION, 0, Status.EOM]
    assert first.raw[:8] == bytes.fromhex("0108020012340100")
    message = assemble([first, second, third])[0]
    assert message.status_of_first == Status.RESET_CONNECTION
    assert message.type == PacketType.SQL_BATCH
    assert not message.ignored


def test_packet_ids_wrap() -> None:
    packets = read_all(packetize(PacketType.SQL_BATCH, b"x" * 504 * 300, 512))
    assert [each.packet_id for each in packets] == [number % 256 for number in range(1, 301)]


@pytest.mark.parametrize("length", [0, 1, 7, 4097, 0xFFFF])
def test_impossible_length_is_refused_from_the_header(length: int) -> None:
    reader = PacketReader(max_packet=4096)
    reader.feed(bytes((1, 1)) + length.to_bytes(2, "big") + bytes(4))
    with pytest.raises(ProtocolError):
        reader.next_packet()


def test_soft_flush_bit_is_no_end() -> None:
    data = bytearray(packetize(PacketType.SQL_BATCH, b"ab", 512))
    data[1] = 0x04
    (packet,) = read_all(bytes(data))
    assert not packet.is_last


def test_ignored_message() -> None:
    data = bytearray(packetize(PacketType.SQL_BATCH, b"ab", 512))
    data[1] = Status.EOM | Status.IGNORE
    (message,) = assemble(read_all(bytes(data)))
    assert message.ignored


def test_message_is_bounded() -> None:
    packets = read_all(packetize(PacketType.SQL_BATCH, b"x" * 2000, 512))
    assembler = MessageAssembler(1000)
    assert assembler.add(packets[0]) is None
    with pytest.raises(TooLarge):
        assembler.add(packets[1])


def test_type_must_not_change_inside_a_message() -> None:
    first = read_all(packetize(PacketType.SQL_BATCH, b"x" * 2000, 512))[0]
    assembler = MessageAssembler(10_000)
    assembler.add(first)
    assert assembler.in_message
    assert assembler.current_type == PacketType.SQL_BATCH
    with pytest.raises(ProtocolError):
        assembler.add(read_all(ATTENTION)[0])
    assembler.drop()
    assert assembler.add(read_all(ATTENTION)[0]) == Message(PacketType.ATTENTION, 1, b"")


@given(st.lists(st.binary(max_size=1500), min_size=1, max_size=8).filter(any), st.integers(512, 1200))
def test_writer_streams_what_packetize_builds(pieces: list[bytes], size: int) -> None:
    writer = PacketWriter(size, spid=7)
    stream = b"".join(writer.add(piece) for piece in pieces) + writer.finish()
    assert stream == packetize(PacketType.TABULAR_RESULT, b"".join(pieces), size, 7)
    packets = read_all(stream)
    assert all(packet.payload for packet in packets)
    assert [packet.status for packet in packets] == [0] * (len(packets) - 1) + [1]


def test_writer_keeps_a_packet_for_the_end() -> None:
    writer = PacketWriter(512)
    assert writer.add(b"x" * (512 - HEADER_SIZE)) == b""
    assert len(writer.add(b"y")) == 512
    assert writer.pending == 1
    assert writer.flush()[1] == 0
    with pytest.raises(EncodeError):
        writer.finish()
    assert writer.finish(b"done")[1] == 1
    assert writer.finish(b"next")[6] == 1


def test_leftover() -> None:
    reader = PacketReader()
    reader.feed(ATTENTION + b"\x17\x03")
    assert reader.first_byte() == PacketType.ATTENTION
    assert reader.next_packet() is not None
    assert reader.first_byte() == 0x17
    assert reader.take_leftover() == b"\x17\x03"
    assert reader.first_byte() is None
