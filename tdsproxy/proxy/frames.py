"""Counting the messages in bytes that only pass through."""

from __future__ import annotations

from typing import Final

from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import HEADER_SIZE, Status

_LENGTH: Final = slice(2, 4)
_MANY: Final = 4
_EOM: Final = int(Status.EOM)  # as a plain int: this runs for every packet


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
        if not (left or last or self._header) and size >= HEADER_SIZE and data[2] << 8 | data[3] == size:
            return data[1] & _EOM  # one packet, whole: most answers are
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
                run = _full_packets(data, pos, length) if size - pos > length * _MANY else 0
                if run:
                    pos += run * length
                    continue
                pos += HEADER_SIZE
            if length < HEADER_SIZE:
                raise ProtocolError(f"packet length {length} from the upstream")
            last = bool(status & _EOM)
            left = length - HEADER_SIZE
        self._left = left
        self._last = last
        return ended


def _full_packets(data: bytes, pos: int, length: int) -> int:
    """How many packets from ``pos`` on are ``length`` bytes long and end no message, when that holds for all
    that fit; else 0. A long answer is nothing but such packets: they are looked at with three slices, not one
    by one. Each length that is right proves the place of the next header."""
    if length < HEADER_SIZE:
        return 0
    count = (len(data) - pos) // length
    end = pos + count * length
    if (
        data[pos + 2 : end : length].count(length >> 8) == count
        and data[pos + 3 : end : length].count(length & 0xFF) == count
        and data[pos + 1 : end : length].count(0) == count
    ):
        return count
    return 0
