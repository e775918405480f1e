"""The one thing that OpenSSL's binding does not tell: which application protocols a TLS client offered.

A server that shares none with its client goes on without ALPN, just as for a client that offered none;
TDS 8.0 serves the latter and must refuse the former (RFC 7301, RFC 8446 4.1.2).
"""

from __future__ import annotations

from typing import Final

from tdsproxy.tds.errors import ProtocolError, Truncated

MAX_HELLO: Final = 65_536
_HANDSHAKE: Final = 0x16
_CLIENT_HELLO: Final = 0x01
_ALPN_EXTENSION: Final = 16
_RECORD_HEADER: Final = 5


class _Fields:
    """Big-endian fields of TLS."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    @property
    def remaining(self) -> int:
        return len(self._data) - self._pos

    def take(self, size: int) -> bytes:
        end = self._pos + size
        if end > len(self._data):
            raise ProtocolError("a TLS ClientHello is malformed")
        piece = self._data[self._pos : end]
        self._pos = end
        return piece

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Bytes behind a length of ``size`` bytes."""
        return self.take(self.number(size))


def offered_protocols(stream: bytes) -> tuple[str, ...]:
    """The ALPN names in the ClientHello that begins ``stream``; none when it has no such extension. Raises
    ``Truncated`` while the ClientHello is not complete, ``ProtocolError`` when these bytes are none."""
    hello = _Fields(_hello(stream))
    hello.take(2 + 32)
    hello.vector(1)
    hello.vector(2)
    hello.vector(1)
    if not hello.remaining:
        return ()
    extensions = _Fields(hello.vector(2))
    while extensions.remaining:
        kind = extensions.number(2)
        body = _Fields(extensions.vector(2))
        if kind == _ALPN_EXTENSION:
            names = _Fields(body.vector(2))
            found = []
            while names.remaining:
                found.append(names.vector(1).decode("ascii", "replace"))
            return tuple(found)
    return ()


def _hello(stream: bytes) -> bytes:
    """The handshake message, out of as many records as it takes."""
    message = bytearray()
    pos = 0
    while True:
        if len(message) >= 4:
            if message[0] != _CLIENT_HELLO:
                raise ProtocolError("TLS does not begin with a ClientHello")
            size = int.from_bytes(message[1:4], "big")
            if size > MAX_HELLO:
                raise ProtocolError("a TLS ClientHello is too long")
            if len(message) >= 4 + size:
                return bytes(message[4 : 4 + size])
        if pos + _RECORD_HEADER > len(stream):
            raise Truncated
        if stream[pos] != _HANDSHAKE:
            raise ProtocolError("not a TLS handshake")
        end = pos + _RECORD_HEADER + int.from_bytes(stream[pos + 3 : pos + 5], "big")
        if end > len(stream):
            raise Truncated(end - len(stream))
        if end == pos + _RECORD_HEADER:
            raise ProtocolError("an empty TLS record")
        message += stream[pos + _RECORD_HEADER : end]
        pos = end
