"""Messages as they come off a stream."""

from __future__ import annotations

import asyncio
from typing import Any

from tdsproxy.keeper import protocol
from tdsproxy.keeper.protocol import Kind, ProtocolError


async def read_message(reader: asyncio.StreamReader) -> tuple[Kind, list[Any]]:
    """The next message. Raises asyncio.IncompleteReadError at the end, and ProtocolError."""
    (length,) = protocol.LENGTH.unpack(await reader.readexactly(protocol.LENGTH.size))
    if length > protocol.MAX_FRAME:
        raise ProtocolError("message too long")
    return protocol.parse(await reader.readexactly(length))
