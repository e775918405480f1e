"""TLS as TDS carries it (MS-TDS 2.2.6.5 and 3.2.5.2), in memory.

In TDS 7.x the handshake travels inside packets of type PRELOGIN; TLS records follow on the bare stream,
with the packets inside. In TDS 8.0 (strict) TLS is outermost from the first byte. A ``TlsTunnel`` stands
between the socket and the packet layer in both cases: bytes of the network in, plain bytes out, and back.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from tdsproxy.tds.client_hello import offered_protocols
from tdsproxy.tds.errors import ProtocolError, Truncated
from tdsproxy.tds.packets import DEFAULT_PACKET_SIZE, HEADER_SIZE, PacketReader, PacketType, packetize

ALPN: Final = "tds/8.0"
_READ_SIZE: Final = 65_536
_RECORD_HEADER: Final = 5
_ALERT: Final = 0x15
_MAX_RECORD: Final = 16_384 + 2_048
_MAX_HANDSHAKE: Final = 65_536
_HANDSHAKE_TYPES: Final = (PacketType.PRELOGIN, PacketType.TABULAR_RESULT)


class TlsError(ProtocolError):
    """The handshake failed, or a record is broken. ``certificate``: the peer's was refused."""

    def __init__(self, message: str, *, certificate: bool = False) -> None:
        super().__init__(message)
        self.certificate = certificate


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """For a handshake inside TDS packets. TLS 1.3 is off: the messages that it sends after the handshake
    have no place in that wrapping, and clients hang."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    _harden(context)
    _load(context, certificate, key)
    return context


def strict_server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """For TDS 8.0: TLS 1.2 or 1.3, ALPN ``tds/8.0``. A client that offers no ALPN is served, as boxes in
    the middle strip it; one that offers other protocols only is refused."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _harden(context)
    context.set_alpn_protocols([ALPN])
    _load(context, certificate, key)
    return context


def _load(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """A key under a passphrase is refused: OpenSSL would ask for it on the terminal and wait."""
    context.load_cert_chain(certificate, key, password=lambda: "")


def _harden(context: ssl.SSLContext) -> None:
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0


def client_context(*, verify: bool = True, authorities: Path | None = None) -> ssl.SSLContext:
    """For a handshake inside TDS packets, as a client. ``authorities``: a file of trusted certificates
    instead of the system's; ``verify`` False trusts any certificate."""
    context = _client(verify, authorities)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    return context


def strict_client_context(*, verify: bool = True, authorities: Path | None = None) -> ssl.SSLContext:
    """For TDS 8.0, as a client."""
    context = _client(verify, authorities)
    context.set_alpn_protocols([ALPN])
    return context


def _client(verify: bool, authorities: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=None if authorities is None else str(authorities))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class TlsTunnel:
    """One connection's TLS, of either role.

    ``wrapped``: the handshake is inside PRELOGIN packets (TDS 7.x), one message for each of the peer's.
    ``login_only``: TLS covers one packet, the first of LOGIN7; from there on the tunnel passes bytes as
    they are, both ways.

    After each call send what ``take_output`` gives. Bytes that arrive behind the handshake's end, or
    behind the login packet, in the same read are not lost: ``feed`` goes on with them.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        wrapped: bool = True,
        login_only: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._wrapped = wrapped
        self._login_only = login_only
        self._server_side = server_side
        self._packets = PacketReader()
        self._message = bytearray()
        self._raw = bytearray()
        self._output = bytearray()
        self._established = False
        self._hello = bytearray() if server_side and not wrapped else None
        self._login_seen = False
        self._login_sent = False
        self._plain_head = bytearray()
        self._clear = False
        self._closed = False

    @property
    def established(self) -> bool:
        """The handshake is over."""
        return self._established

    @property
    def encrypted(self) -> bool:
        """What is sent next goes through TLS."""
        return self._established and not self._passed_login

    @property
    def covers_all(self) -> bool:
        """The handshake is over, and everything behind it is inside TLS: ``encrypt`` and ``decrypt`` may be
        used, which are ``send`` and ``feed`` without their detours."""
        return self._established and not self._login_only

    @property
    def finished(self) -> bool:
        """The login that TLS covered is through in clear bytes: the tunnel changes nothing any more."""
        return self._clear

    @property
    def closed(self) -> bool:
        """The peer has sent close_notify."""
        return self._closed

    @property
    def version(self) -> str | None:
        """``TLSv1.2`` or ``TLSv1.3``, once established."""
        return self._tls.version()

    @property
    def selected_alpn(self) -> str | None:
        return self._tls.selected_alpn_protocol()

    @property
    def _passed_login(self) -> bool:
        return self._login_only and (self._login_seen or self._login_sent)

    def start(self) -> None:
        """Client: begin the handshake."""
        self._handshake()

    def take_output(self) -> bytes:
        """Bytes for the network, once."""
        out = bytes(self._output)
        self._output.clear()
        return out

    def feed(self, data: bytes) -> bytes:
        """Bytes of the network in; returns the plain bytes that they complete, while the handshake lasts
        none. Raises ``TlsError`` or ``ProtocolError``; what ``take_output`` then holds is an alert."""
        if not self._established:
            data = self._feed_handshake(data)
            if not self._established:
                return b""
        if self._login_only:
            return self._feed_login_only(data)
        self._incoming.write(data)
        return self._read()

    def _feed_handshake(self, data: bytes) -> bytes:
        if not self._wrapped:
            if self._hello is not None:
                data = self._check_hello(self._hello, data)
            if data:
                self._incoming.write(data)
                self._handshake()
            return b""
        self._packets.feed(data)
        while not self._established and (packet := self._packets.next_packet()) is not None:
            if packet.type not in _HANDSHAKE_TYPES:
                raise ProtocolError(f"a packet of type {packet.type} inside the TLS handshake")
            self._message += packet.payload
            if len(self._message) > _MAX_HANDSHAKE:
                raise ProtocolError("a TLS handshake message is too long")
            if packet.is_last:
                self._incoming.write(self._message)
                self._message.clear()
                self._handshake()
        return self._packets.take_leftover() if self._established else b""

    def _check_hello(self, hello: bytearray, data: bytes) -> bytes:
        """Hold the ClientHello back until it is whole; refuse one for another protocol only."""
        hello += data
        try:
            offered = offered_protocols(bytes(hello))
        except Truncated:
            if len(hello) > _MAX_HANDSHAKE:
                raise
            return b""
        if offered and ALPN not in offered:
            raise TlsError(f"the client's ALPN does not offer {ALPN}")
        self._hello = None
        return bytes(hello)

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
            self._established = True
        except ssl.SSLWantReadError:
            self._established = False
        except ssl.SSLError as error:
            self._collect(wrap=self._wrapped)
            raise _tls_error("the TLS handshake failed", error) from error
        self._collect(wrap=self._wrapped)

    def _collect(self, *, wrap: bool) -> None:
        records = self._outgoing.read()
        if records:
            self._output += packetize(PacketType.PRELOGIN, records, DEFAULT_PACKET_SIZE) if wrap else records

    def _read(self) -> bytes:
        parts = []
        try:
            while data := self._tls.read(_READ_SIZE):
                parts.append(data)
            self._closed = True
        except ssl.SSLWantReadError:
            self._collect(wrap=False)
        except ssl.SSLZeroReturnError:
            self._closed = True
        except ssl.SSLError as error:
            self._collect(wrap=False)
            raise _tls_error("a TLS record is broken", error) from error
        return b"".join(parts)

    def decrypt(self, data: bytes) -> bytes:
        """``feed`` while ``covers_all``."""
        incoming, tls = self._incoming, self._tls
        incoming.write(data)
        try:
            first = tls.read(_READ_SIZE)
        except ssl.SSLWantReadError:
            self._collect(wrap=False)
            return b""
        except ssl.SSLZeroReturnError:
            self._closed = True
            return b""
        except ssl.SSLError as error:
            self._collect(wrap=False)
            raise _tls_error("a TLS record is broken", error) from error
        if not first:
            self._closed = True
            return b""
        if incoming.pending or tls.pending():  # asked first: to be told that there is no more is dear
            return first + self._read()
        return first

    def encrypt(self, data: bytes) -> bytes:
        """``send`` while ``covers_all``: the bytes for the network."""
        try:
            sent = self._tls.write(data)
            if sent < len(data):
                self._write(data[sent:])
        except ssl.SSLError as error:
            raise _tls_error("the TLS connection cannot be written", error) from error
        records = self._outgoing.read()
        return self.take_output() + records if self._output else records

    def _feed_login_only(self, data: bytes) -> bytes:
        """Records are fed one by one, as the stream turns clear behind the one that ends the login packet."""
        if self._clear:
            return data
        self._raw += data
        plain = bytearray()
        while not self._login_seen and (record := self._next_record()):
            self._incoming.write(record)
            plain += self._read()
            self._note_login(plain if not self._plain_head else self._plain_head + plain)
        if not self._login_seen:
            self._plain_head += plain
            return bytes(plain)
        while self._raw and self._raw[0] == _ALERT:
            # A client that shuts its TLS down says so, between the login packet and the clear bytes.
            if not self._next_record():
                return bytes(plain)
        if self._raw:
            self._clear = True
            plain += self._raw
            self._raw.clear()
        return bytes(plain)

    def _note_login(self, head: bytearray) -> None:
        if not self._server_side:
            return
        if len(head) >= HEADER_SIZE and len(head) >= int.from_bytes(head[2:4], "big"):
            self._login_seen = True

    def _next_record(self) -> bytes:
        if len(self._raw) < _RECORD_HEADER:
            return b""
        size = int.from_bytes(self._raw[3:5], "big")
        if size > _MAX_RECORD:
            raise TlsError("a TLS record is too long")
        end = _RECORD_HEADER + size
        if len(self._raw) < end:
            return b""
        record = bytes(self._raw[:end])
        del self._raw[:end]
        return record

    def send(self, data: bytes) -> None:
        """Plain bytes out, by ``take_output``: as TLS records, or clear behind the login of a login-only
        connection. Its client must give the packets of LOGIN7 in one piece."""
        if not self._established:
            raise TlsError("nothing can be sent before the handshake is over")
        if not self._login_only:
            self._write(data)
            return
        if not self._server_side and not self._login_sent:
            size = int.from_bytes(data[2:4], "big")
            self._write(data[:size])
            self._login_sent = self._login_seen = True
            data = data[size:]
        self._output += data

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise _tls_error("the TLS connection cannot be written", error) from error
        self._collect(wrap=False)

    def close(self) -> None:
        """Say close_notify, where TLS still covers the stream."""
        if not self.encrypted:
            return
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            # The peer has not answered: it need not.
            self._collect(wrap=False)
        else:
            self._collect(wrap=False)


def _tls_error(what: str, error: ssl.SSLError) -> TlsError:
    reason = error.reason or str(error)
    return TlsError(f"{what}: {reason}", certificate=isinstance(error, ssl.SSLCertVerificationError))
