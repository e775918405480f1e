"""Packets over a byte stream, in clear or inside TLS."""

from __future__ import annotations

from collections.abc import Callable

from tdsproxy.frontend.streams import ByteStream
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import DEFAULT_PACKET_SIZE, Packet, PacketReader
from tdsproxy.tds.tls import TlsTunnel


class PacketChannel:
    """Reads packets from a byte stream and writes bytes to it, through TLS while that is on."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._packets = PacketReader(DEFAULT_PACKET_SIZE)
        self._tunnel: TlsTunnel | None = None
        self._inline: TlsTunnel | None = None
        self._failure: ProtocolError | None = None

    @property
    def peer(self) -> str:
        return self._stream.peer

    @property
    def max_packet(self) -> int:
        """The longest packet that is accepted."""
        return self._packets.max_packet

    @max_packet.setter
    def max_packet(self, size: int) -> None:
        self._packets.max_packet = size

    def start_tls(self, tunnel: TlsTunnel) -> None:
        """From here on bytes pass through the tunnel, its handshake first; what was read ahead, too."""
        self._tunnel = tunnel
        self._through_tunnel(self._packets.take_leftover())

    async def handshake(self, tunnel: TlsTunnel) -> None:
        """As a client: run the tunnel's handshake to its end. Raises TlsError, and ConnectionError when the
        stream ends before."""
        self._tunnel = tunnel
        tunnel.start()
        self._stream.write(tunnel.take_output())
        while not tunnel.established:
            if not await self._fill():
                raise ConnectionResetError("the connection ended in the TLS handshake")

    def _through_tunnel(self, data: bytes) -> None:
        tunnel = self._tunnel
        if tunnel is None:
            self._packets.feed(data)
            return
        try:
            self._packets.feed(tunnel.feed(data))
        finally:
            self._stream.write(tunnel.take_output())
        if tunnel.finished:
            self._tunnel = None
        elif tunnel.covers_all and self._stream.transform(self._decrypted):
            # From here on the stream itself hands out plain bytes, and the short way is open under TLS, too.
            self._inline, self._tunnel = tunnel, None

    def _decrypted(self, data: bytes) -> tuple[bytes, bool]:
        """Plain bytes, and whether they are the last."""
        tunnel = self._inline
        if tunnel is None or self._failure is not None:
            return b"", True
        try:
            plain = tunnel.decrypt(data)
        except ProtocolError as error:
            self._failure = error
            plain = b""
        rest = tunnel.take_output()
        if rest:
            self._stream.write(rest)
        return plain, tunnel.closed or self._failure is not None

    async def _fill(self) -> bool:
        """Read once; False at the end of the stream."""
        data = await self._stream.read()
        if not data:
            if self._failure is not None:
                raise self._failure
            return False
        self._through_tunnel(data)
        return self._tunnel is None or not self._tunnel.closed or self._packets.pending > 0

    async def next_packet(self) -> Packet | None:
        """The next packet; None at the end of the stream, also one inside a packet. Raises ProtocolError and
        ConnectionError."""
        while (packet := self._packets.next_packet()) is None:
            if not await self._fill():
                return None
        return packet

    def poll(self) -> Packet | None:
        """The next packet when it is there already. Raises ProtocolError."""
        packet = self._packets.next_packet()
        while packet is None and (data := self._stream.take()):
            self._through_tunnel(data)
            packet = self._packets.next_packet()
        return packet

    @property
    def ended(self) -> bool:
        """The peer will send no more."""
        return self._stream.ended or (self._tunnel is not None and self._tunnel.closed)

    def watch(self, on_change: Callable[[], None] | None) -> None:
        """Have ``on_change`` called whenever ``poll`` may find more, or the peer ends; None stops it."""
        self._stream.watch(on_change)

    def divert(
        self, on_data: Callable[[bytes], bool] | None, on_room: Callable[[], None] | None = None
    ) -> bool:
        """As the stream's ``divert``; ``on_data`` is asked only while no part of a packet waits. False where
        the stream's bytes are still inside TLS and say nothing."""
        if on_data is None:
            self._stream.divert(None)
            return True
        if self._tunnel is not None:
            return False
        packets = self._packets

        def offered(data: bytes) -> bool:
            return not packets.pending and on_data(data)

        return self._stream.divert(offered, on_room)

    @property
    def full(self) -> bool:
        """So much is queued to be sent that the writer should wait."""
        return self._stream.full

    def hold(self) -> None:
        """Let the peer wait until ``release``."""
        self._stream.hold()

    def release(self) -> None:
        self._stream.release()

    async def first_byte(self) -> int | None:
        """The first byte that is not read yet; None at the end of the stream."""
        while (byte := self._packets.first_byte()) is None:
            if not await self._fill():
                return None
        return byte

    async def read(self) -> bytes:
        """Whatever plain bytes have arrived, at least one; ``b""`` at the end. For passing them on as they
        are: packets are not looked at."""
        if self._packets.pending:
            return self._packets.take_leftover()
        if self._tunnel is None:
            data = await self._stream.read()
            if not data and self._failure is not None:
                raise self._failure
            return data
        while not self._packets.pending:
            if not await self._fill():
                return b""
        return self._packets.take_leftover()

    def write(self, data: bytes) -> None:
        if self._inline is not None:
            self._stream.write(self._inline.encrypt(data))
            return
        tunnel = self._tunnel
        if tunnel is None:
            self._stream.write(data)
            return
        tunnel.send(data)
        self._stream.write(tunnel.take_output())

    def direct(self) -> Callable[[bytes], int] | None:
        """As the stream's ``direct``; None inside TLS, whose state belongs to the loop."""
        return self._stream.direct() if self._tunnel is None and self._inline is None else None

    async def drain(self) -> None:
        await self._stream.drain()

    def close(self) -> None:
        """Send what is queued, and TLS's farewell, then close."""
        tunnel = self._tunnel or self._inline
        if tunnel is not None:
            tunnel.close()
            self._stream.write(tunnel.take_output())
        self._stream.close()

    def abort(self) -> None:
        self._stream.abort()
