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

    @property
    def inside(self) -> bool:
        """Whether a packet has begun that has not ended."""
        return self._left > 0 or bool(self._header)

    def feed(self, data: bytes) -> int:
        """How many messages end within these bytes. Raises ProtocolError for an impossible length."""
        ended = 0
        pos = 0
        size = len(data)
        while pos < size:
            if self._left:
                step = min(self._left, size - pos)
                self._left -= step
                pos += step
            else:
                step = min(HEADER_SIZE - len(self._header), size - pos)
                self._header += data[pos : pos + step]
                pos += step
                if len(self._header) < HEADER_SIZE:
                    break
                length = int.from_bytes(self._header[_LENGTH], "big")
                if length < HEADER_SIZE:
                    raise ProtocolError(f"packet length {length} from the upstream")
                self._last = bool(self._header[1] & Status.EOM)
                self._left = length - HEADER_SIZE
                self._header.clear()
            if not self._left and not self._header and self._last:
                ended += 1
                self._last = False
        return ended
