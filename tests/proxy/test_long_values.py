"""Values far longer than what may be held: they pass in both directions in bounded memory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tdsproxy.tds.packets import PacketReader, PacketType, Status, packetize
from tdsproxy.tds.tokens import ColumnMeta, TokenBuilder
from tdsproxy.tds.types import varbinary
from tests.frontend.wire import Wire
from tests.proxy.scripted import Peer, behind, connect

pytestmark = pytest.mark.slow

LENGTH = 256 << 20
"""Bytes: the whole is 2 GB; what is held would show long before."""
CHUNK = 1 << 20
MEMORY = 48 << 20
"""Bytes by which this process, which is both ends and the proxy, may grow meanwhile."""
BUILDER = TokenBuilder()
PACKET = 32_000


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def greeted(port: int) -> Wire:
    wire = Wire(await connect(port))  # type: ignore[arg-type]
    await wire.prelogin()
    await wire.login()
    return wire


def packets(payload: bytes, *, last: bool) -> bytes:
    """The payload in packets of an answer that goes on unless ``last``."""
    data = bytearray(packetize(PacketType.TABULAR_RESULT, payload, PACKET))
    if not last:
        at = 0
        while at < len(data):
            data[at + 1] &= ~Status.EOM
            at += int.from_bytes(data[at + 2 : at + 4], "big")
    return bytes(data)


async def one_long_value(peer: Peer) -> None:
    """The upstream answers each batch with one row of one value."""
    await peer.log_in()
    piece = len(bytes(CHUNK)).to_bytes(4, "little") + bytes(CHUNK)
    while True:
        await peer.message()
        columns = BUILDER.col_metadata([ColumnMeta("v", varbinary(None))])
        peer.writer.write(packets(columns + b"\xd1" + LENGTH.to_bytes(8, "little"), last=False))
        for _ in range(LENGTH // CHUNK):
            peer.writer.write(packets(piece, last=False))
            await peer.writer.drain()
        peer.writer.write(packets(bytes(4) + BUILDER.done(0x10, 0xC1, 1), last=True))
        await peer.writer.drain()


async def test_a_long_value_in_an_answer() -> None:
    async with behind(one_long_value) as (port, _peers), asyncio.timeout(300):
        wire = await greeted(port)
        before = resident()
        await wire.batch("SELECT v FROM t")
        reader, size, first, most = PacketReader(), 0, b"", before
        ended = False
        while not ended:
            reader.feed(await wire.stream.read())
            while (packet := reader.next_packet()) is not None:
                first = first or packet.payload
                size += len(packet.payload)
                ended = packet.is_last
            most = max(most, resident())
            await asyncio.sleep(0)
        assert size > LENGTH
        assert first[0] == 0x81
        assert most - before < MEMORY
        wire.stream.close()


async def counted(peer: Peer) -> None:
    """The upstream counts the bytes of a bulk load."""
    await peer.log_in()
    size, status = 0, 0
    while not status & Status.EOM:
        header = await peer.reader.readexactly(8)
        status = header[1]
        size += len(await peer.reader.readexactly(int.from_bytes(header[2:4], "big") - 8))
    await peer.answer(BUILDER.done(0x10, 0xC3, size))


async def test_a_long_value_in_a_request() -> None:
    async with behind(counted) as (port, _peers), asyncio.timeout(300):
        wire = await greeted(port)
        before = most = resident()
        for number in range(LENGTH // CHUNK):
            last = number == LENGTH // CHUNK - 1
            data = bytearray(packetize(PacketType.BULK_LOAD, bytes(CHUNK), 4096))
            at = 0
            while at < len(data) and not last:
                data[at + 1] &= ~Status.EOM
                at += int.from_bytes(data[at + 2 : at + 4], "big")
            wire.stream.write(bytes(data))
            await wire.stream.drain()
            most = max(most, resident())
        (done,) = await wire.dones()
        assert done.count == LENGTH
        assert most - before < MEMORY
        wire.stream.close()
