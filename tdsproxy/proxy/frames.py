"""Counting the messages in bytes that only pass through."""

from __future__ import annotations

from typing import Final

from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import HEADER_SIZE, Status

_LENGTH: Final = slice(2, 4)


class MessageCounter:
    """Follows packet headers over chunks cut anywhere; no byte of a payload is looked at or copied."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._left = 0
        self._last = False

    def feed(self, data: bytes) -> int:
        """How many messages end within these bytes. Raises ProtocolError for an impossible length."""
        ended = 0
        pos = 0
        size = len(data)
        left = self._left
        last = self._last
        while True:
            if left > size - pos:
                left -= size - pos
                break
            pos += left
            left = 0
            if last:
                ended += 1
                last = False
            if self._header or size - pos < HEADER_SIZE:
                taken = data[pos : pos + HEADER_SIZE - len(self._header)]
                self._header += taken
                pos += len(taken)
                if len(self._header) < HEADER_SIZE:
                    break
                status, length = self._header[1], int.from_bytes(self._header[_LENGTH], "big")
                self._header.clear()
            else:
                status, length = data[pos + 1], data[pos + 2] << 8 | data[pos + 3]
                pos += HEADER_SIZE
            if length < HEADER_SIZE:
                raise ProtocolError(f"packet length {length} from the upstream")
            last = bool(status & Status.EOM)
            left = length - HEADER_SIZE
        self._left = left
        self._last = last
        return ended
