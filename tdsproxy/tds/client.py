"""The client's side of a connection, without I/O: what to send, and what the answers mean.

Three calls are the whole contract: ``feed`` what the network brought, act on the events it returns, send
what ``data_to_send`` holds. The states of a connection:

    NEW --start--> PRELOGIN --reply--> [TLS] --> LOGIN --LOGINACK--> READY <--> BUSY
                                                        any fault --> FAILED
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from tdsproxy.tds.errors import EncodeError, ProtocolError
from tdsproxy.tds.headers import NO_TRANSACTION, AllHeaders, build_batch
from tdsproxy.tds.login7 import Login7, build_login7
from tdsproxy.tds.packets import (
    ATTENTION,
    DEFAULT_PACKET_SIZE,
    HEADER_SIZE,
    MAX_PACKET_SIZE,
    MIN_PACKET_SIZE,
    Packet,
    PacketReader,
    PacketType,
    packetize,
)
from tdsproxy.tds.prelogin import Encryption, EncryptionMode, Prelogin, build_prelogin, parse_prelogin
from tdsproxy.tds.rpc import RpcCall, build_rpc
from tdsproxy.tds.tls import TlsTunnel
from tdsproxy.tds.tokens import (
    Done,
    EnvChange,
    EnvChangeType,
    LoginAck,
    Routing,
    ServerMessage,
    Token,
    TokenParser,
)
from tdsproxy.tds.transaction import TransactionManagerRequest, build_transaction
from tdsproxy.tds.types import DEFAULT_COLLATION

CLIENT_VERSION: Final = (9, 0, 0, 0)
"""VERSION in PRELOGIN. Under 11, so that no server takes this client for an ODBC driver."""


class State(Enum):
    NEW = "new"
    PRELOGIN = "prelogin"
    TLS = "tls"
    LOGIN = "login"
    READY = "ready"
    BUSY = "busy"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PreloginReply:
    """The server has answered PRELOGIN; ``mode`` is what follows."""

    prelogin: Prelogin
    mode: EncryptionMode


@dataclass(frozen=True, slots=True)
class LoginEnd:
    """The login's response has ended. ``routing``: the server sent us elsewhere."""

    accepted: bool
    errors: tuple[ServerMessage, ...] = ()
    routing: Routing | None = None


@dataclass(frozen=True, slots=True)
class ResponseEnd:
    """A response message has ended. ``ready``: the next request may be sent; after an attention the
    interrupted response ends first, and the connection is ready with the acknowledgement."""

    ready: bool


Event = Token | PreloginReply | LoginEnd | ResponseEnd


def outcome(asked: Encryption, reply: Encryption | None) -> EncryptionMode:
    """What a client that sent ``asked`` does on the server's ``reply``."""
    wants = asked in (Encryption.ON, Encryption.REQUIRED)
    if reply in (Encryption.ON, Encryption.REQUIRED):
        return EncryptionMode.REFUSE if asked is Encryption.NOT_SUPPORTED else EncryptionMode.FULL
    if wants:
        return EncryptionMode.REFUSE
    if reply is Encryption.OFF and asked is Encryption.OFF:
        return EncryptionMode.LOGIN_ONLY
    return EncryptionMode.CLEAR


class ClientConnection:
    """One login and its requests, one at a time.

    ``encryption`` is what PRELOGIN asks for; anything but NOT_SUPPORTED needs ``tls``. ``strict`` opens
    with TLS (TDS 8.0). ``prelogin`` replaces the PRELOGIN that is sent, but for its encryption and MARS.
    """

    def __init__(
        self,
        login: Login7,
        *,
        encryption: Encryption = Encryption.NOT_SUPPORTED,
        tls: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        strict: bool = False,
        prelogin: Prelogin | None = None,
    ) -> None:
        if tls is None and (strict or encryption is not Encryption.NOT_SUPPORTED):
            raise EncodeError("encryption needs a TLS context")
        self._login = login
        self._encryption = encryption
        self._context = tls
        self._hostname = server_hostname
        self._strict = strict
        base = prelogin or Prelogin(version=CLIENT_VERSION, instance="", thread_id=0)
        self._prelogin = replace(base, encryption=encryption, mars=False)
        self._tunnel: TlsTunnel | None = None
        self._packets = PacketReader()
        self._parser = TokenParser(login.tds_version)
        self._reply = bytearray()
        self._output = bytearray()
        self._attention = False
        self._attention_acknowledged = False
        self._login_errors: list[ServerMessage] = []
        self._acked = False
        self._routing: Routing | None = None
        self.state = State.NEW
        self.spid = 0
        self.packet_size = DEFAULT_PACKET_SIZE
        self.descriptor = NO_TRANSACTION
        self.database = ""
        self.language = ""
        self.collation = DEFAULT_COLLATION
        self.server_version: tuple[int, int, int] | None = None

    @property
    def tds_version(self) -> int:
        return self._parser.tds_version

    @property
    def encrypted(self) -> bool:
        return self._tunnel is not None and self._tunnel.encrypted

    # Network side

    def start(self) -> None:
        """Begin: queue PRELOGIN, or TLS before it when strict."""
        if self.state is not State.NEW:
            raise EncodeError("the connection has been started")
        if self._strict:
            self._open_tunnel(wrapped=False, login_only=False)
            self.state = State.TLS
        else:
            self._send_prelogin()

    def data_to_send(self) -> bytes:
        """What has been queued, once."""
        out = bytes(self._output)
        self._output.clear()
        return out

    def feed(self, data: bytes) -> list[Event]:
        """Bytes from the server. Raises ``ProtocolError``; the state is then FAILED."""
        try:
            return self._feed(data)
        except ProtocolError:
            self.state = State.FAILED
            raise

    def _feed(self, data: bytes) -> list[Event]:
        if self._tunnel is not None:
            data = self._tunnel_feed(self._tunnel, data)
        self._packets.feed(data)
        events: list[Event] = []
        while (packet := self._packets.next_packet()) is not None:
            if packet.type != PacketType.TABULAR_RESULT:
                raise ProtocolError(f"a packet of type {packet.type} from the server")
            events += self._packet(packet)
            if self.state is State.TLS and self._packets.pending and self._tunnel is not None:
                self._packets.feed(self._tunnel_feed(self._tunnel, self._packets.take_leftover()))
        return events

    def _tunnel_feed(self, tunnel: TlsTunnel, data: bytes) -> bytes:
        try:
            plain = tunnel.feed(data)
        finally:
            self._output += tunnel.take_output()
        if self.state is State.TLS and tunnel.established:
            if self._strict:
                self._send_prelogin()
            else:
                self._send_login()
        return plain

    def _open_tunnel(self, *, wrapped: bool, login_only: bool) -> None:
        if self._context is None:
            raise ProtocolError("the server demands encryption")
        self._tunnel = TlsTunnel(
            self._context,
            server_side=False,
            wrapped=wrapped,
            login_only=login_only,
            server_hostname=self._hostname,
        )
        self._tunnel.start()
        self._output += self._tunnel.take_output()

    def _queue(self, data: bytes) -> None:
        if self._tunnel is None:
            self._output += data
        else:
            self._tunnel.send(data)
            self._output += self._tunnel.take_output()

    # Opening

    def _send_prelogin(self) -> None:
        body = build_prelogin(self._prelogin)
        self._queue(packetize(PacketType.PRELOGIN, body, DEFAULT_PACKET_SIZE))
        self.state = State.PRELOGIN

    def _prelogin_reply(self) -> PreloginReply:
        reply = parse_prelogin(bytes(self._reply))
        self._reply.clear()
        if self._strict:
            self._send_login()
            return PreloginReply(reply, EncryptionMode.FULL)
        mode = outcome(self._encryption, reply.encryption)
        if mode is EncryptionMode.REFUSE:
            self.state = State.FAILED
        elif mode is EncryptionMode.CLEAR:
            self._send_login()
        else:
            self.state = State.TLS
            self._open_tunnel(wrapped=True, login_only=mode is EncryptionMode.LOGIN_ONLY)
        return PreloginReply(reply, mode)

    def _send_login(self) -> None:
        data = packetize(PacketType.LOGIN7, build_login7(self._login), DEFAULT_PACKET_SIZE)
        if self._tunnel is not None and self._tunnel.encrypted:
            self._send_by_packet(data)
        else:
            self._queue(data)
        self.state = State.LOGIN

    def _send_by_packet(self, data: bytes) -> None:
        """One TLS record a packet: SQL Server expects that of a login. The tunnel itself leaves all but the
        first in the clear when only the login is encrypted."""
        pos = 0
        while pos < len(data):
            size = int.from_bytes(data[pos + 2 : pos + 4], "big")
            self._queue(data[pos : pos + size])
            pos += size

    def sspi(self, blob: bytes) -> None:
        """Answer the server's SSPI token."""
        if self.state is not State.LOGIN:
            raise EncodeError("no login is going on")
        self._queue(packetize(PacketType.SSPI, blob, self.packet_size))

    # Answers

    def _packet(self, packet: Packet) -> list[Event]:
        self.spid = packet.spid or self.spid
        if self.state is State.PRELOGIN:
            self._reply += packet.payload
            return [self._prelogin_reply()] if packet.is_last else []
        if self.state not in (State.LOGIN, State.BUSY):
            raise ProtocolError(f"a response in state {self.state.value}")
        events: list[Event] = []
        for token in self._parser.feed(packet.payload):
            self._note(token)
            events.append(token)
        if packet.is_last:
            self._parser.finish()
            events.append(self._end())
        return events

    def _note(self, token: Token) -> None:
        if isinstance(token, EnvChange):
            self._environment(token)
        elif isinstance(token, Done):
            self._attention_acknowledged |= token.attention
        elif isinstance(token, LoginAck):
            self._acked = True
            self.server_version = token.version
        elif isinstance(token, ServerMessage) and token.error and self.state is State.LOGIN:
            self._login_errors.append(token)

    def _environment(self, change: EnvChange) -> None:
        kind, new = change.kind, change.new
        if isinstance(new, Routing):
            self._routing = new
        elif isinstance(new, str):
            if kind == EnvChangeType.DATABASE:
                self.database = new
            elif kind == EnvChangeType.LANGUAGE:
                self.language = new
            elif kind == EnvChangeType.PACKET_SIZE:
                self.packet_size = _packet_size(new)
        elif kind == EnvChangeType.COLLATION:
            self.collation = new
        elif kind in (EnvChangeType.BEGIN_TRANSACTION, EnvChangeType.ENLIST_DTC):
            if len(new) != len(NO_TRANSACTION):
                raise ProtocolError(f"a transaction descriptor of {len(new)} bytes")
            self.descriptor = new
        elif kind in _TRANSACTION_ENDS:
            self.descriptor = NO_TRANSACTION

    def _end(self) -> Event:
        if self.state is State.LOGIN:
            if not self._acked and not self._login_errors and self._routing is None:
                return ResponseEnd(ready=False)  # a round of SSPI: the login goes on
            accepted = self._acked and self._routing is None
            self.state = State.READY if accepted else State.FAILED
            return LoginEnd(accepted, tuple(self._login_errors), self._routing)
        if not self._attention or self._attention_acknowledged:
            self._attention = self._attention_acknowledged = False
            self.state = State.READY
        return ResponseEnd(ready=self.state is State.READY)

    # Requests

    @property
    def headers(self) -> AllHeaders:
        """The headers of the next request."""
        return AllHeaders(self.descriptor)

    def batch(self, text: str, *, reset: int = 0) -> None:
        """Send a SQL batch. ``reset``: the reset bits of ``packets.Status``."""
        self._request(PacketType.SQL_BATCH, build_batch(text, self.headers, self.tds_version), reset)

    def rpc(self, calls: Sequence[RpcCall], *, reset: int = 0) -> None:
        """Send procedure calls."""
        self._request(PacketType.RPC, build_rpc(calls, self.headers, self.tds_version), reset)

    def transaction(self, request: TransactionManagerRequest, *, reset: int = 0) -> None:
        """Send a Transaction Manager request, under this connection's headers."""
        body = build_transaction(replace(request, headers=self.headers))
        self._request(PacketType.TRANSACTION_MANAGER, body, reset)

    def bulk_load(self, payload: bytes) -> None:
        """Send a bulk load's COLMETADATA, rows and DONE, after its INSERT BULK batch."""
        self._request(PacketType.BULK_LOAD, payload, 0)

    def request(self, type: int, payload: bytes, *, reset: int = 0) -> None:
        """Send a message whose payload, headers included, is made already."""
        self._request(type, payload, reset)

    def _request(self, type: int, payload: bytes, reset: int) -> None:
        if self.state is not State.READY:
            raise EncodeError(f"a request in state {self.state.value}")
        self._queue(packetize(type, payload, self.packet_size, status_first=reset))
        self.state = State.BUSY

    def attention(self) -> None:
        """Ask the server to stop the running request. No effect when none runs or it was asked before."""
        if self.state is State.BUSY and not self._attention:
            self._attention = True
            self._queue(ATTENTION)


_TRANSACTION_ENDS: Final = frozenset(
    {
        EnvChangeType.COMMIT_TRANSACTION,
        EnvChangeType.ROLLBACK_TRANSACTION,
        EnvChangeType.DEFECT_TRANSACTION,
        EnvChangeType.TRANSACTION_ENDED,
    }
)


def _packet_size(text: str) -> int:
    size = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not MIN_PACKET_SIZE <= size <= MAX_PACKET_SIZE + 1:
        raise ProtocolError(f"packet size {text!r}")
    return max(size, HEADER_SIZE + 1)
