"""A client that writes what it is told, byte by byte if need be, and reads whole messages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tdsproxy.frontend.streams import MemoryStream
from tdsproxy.tds.headers import build_batch
from tdsproxy.tds.login7 import Login7, build_login7
from tdsproxy.tds.packets import ATTENTION, Packet, PacketReader, PacketType, packetize
from tdsproxy.tds.prelogin import Encryption, Prelogin, build_prelogin
from tdsproxy.tds.tokens import Done, Token, TokenParser
from tdsproxy.tds.versions import TdsVersion

PATIENCE = 60.0


@dataclass
class Wire:
    """The client's end of a connection. ``piece`` cuts what is sent into writes of so many bytes."""

    stream: MemoryStream
    version: int = TdsVersion.V7_4
    piece: int = 0
    reader: PacketReader = field(default_factory=PacketReader)
    packets: list[Packet] = field(default_factory=list)

    async def send(self, data: bytes) -> None:
        step = self.piece or len(data) or 1
        for start in range(0, len(data), step):
            self.stream.write(data[start : start + step])
            await self.stream.drain()
            if self.piece:
                await asyncio.sleep(0)

    async def packet(self) -> Packet | None:
        async with asyncio.timeout(PATIENCE):
            while (packet := self.reader.next_packet()) is None:
                data = await self.stream.read()
                if not data:
                    return None
                self.reader.feed(data)
        self.packets.append(packet)
        return packet

    async def message(self) -> bytes | None:
        """The body of the next message; None at the end."""
        body = b""
        while (packet := await self.packet()) is not None:
            assert packet.type == PacketType.TABULAR_RESULT
            assert packet.status in (0, 1)
            body += packet.payload
            if packet.is_last:
                return body
        return None

    async def tokens(self) -> list[Token]:
        body = await self.message()
        assert body is not None, "the connection was closed"
        return TokenParser(self.version).feed(body)

    async def dones(self) -> list[Done]:
        return [token for token in await self.tokens() if isinstance(token, Done)]

    async def prelogin(self, encryption: Encryption = Encryption.NOT_SUPPORTED) -> bytes | None:
        body = build_prelogin(Prelogin(version=(9, 0, 0, 0), encryption=encryption, instance="", mars=False))
        await self.send(packetize(PacketType.PRELOGIN, body, 4096))
        return await self.message()

    async def login(self, **changes: object) -> list[Token]:
        fields: dict[str, object] = {"user": "sa", "password": "secret", "tds_version": self.version}
        login = Login7(**{**fields, **changes})  # type: ignore[arg-type]
        await self.send(packetize(PacketType.LOGIN7, build_login7(login), 4096))
        return await self.tokens()

    async def batch(self, text: str, status: int = 0, size: int = 4096) -> None:
        body = build_batch(text, tds_version=self.version)
        await self.send(packetize(PacketType.SQL_BATCH, body, size, status_first=status))

    async def attention(self) -> None:
        await self.send(ATTENTION)
