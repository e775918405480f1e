"""The client against a server made of the same codec, joined in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tdsproxy.tds import types as t
from tdsproxy.tds.client import ClientConnection, LoginEnd, PreloginReply, ResponseEnd, State, outcome
from tdsproxy.tds.errors import EncodeError, ProtocolError
from tdsproxy.tds.headers import parse_batch
from tdsproxy.tds.login7 import Login7, parse_login7
from tdsproxy.tds.packets import (
    Message,
    MessageAssembler,
    PacketReader,
    PacketType,
    PacketWriter,
    Status,
    packetize,
)
from tdsproxy.tds.prelogin import (
    Encryption,
    EncryptionMode,
    EncryptionPolicy,
    build_prelogin,
    negotiate,
    parse_prelogin,
    reply_to,
)
from tdsproxy.tds.rpc import ProcId, RpcCall, RpcParam, parse_rpc
from tdsproxy.tds.tls import (
    TlsTunnel,
    client_context,
    server_context,
    strict_client_context,
    strict_server_context,
)
from tdsproxy.tds.tokens import (
    ColumnMeta,
    Done,
    DoneStatus,
    EnvChangeType,
    Routing,
    Row,
    ServerMessage,
    TokenBuilder,
)
from tdsproxy.tds.transaction import TransactionManagerRequest, TransactionManagerType, parse_transaction

from .test_tls import pair as pair

VERSION = (16, 0, 4236)
LOGIN = Login7(user="sa", password="secret", database="master", application="test", packet_size=0)


def accept(build: TokenBuilder) -> bytes:
    return (
        build.database("master", "master")
        + build.message(5701, 0, 2, "Changed database context to 'master'.")
        + build.collation()
        + build.language("us_english", "")
        + build.login_ack(VERSION)
        + build.packet_size(8000, 4096)
        + build.done()
    )


@dataclass
class Peer:
    """A server that answers as told."""

    policy: EncryptionPolicy = EncryptionPolicy.OFF
    files: tuple[Path, Path] | None = None
    strict: bool = False
    respond: Callable[[Peer, Message], bytes] = lambda _peer, _message: b""
    login_response: Callable[[TokenBuilder], bytes] = accept
    logins: list[Login7] = field(default_factory=list)
    build: TokenBuilder = field(default_factory=TokenBuilder)

    def __post_init__(self) -> None:
        self.packets = PacketReader()
        self.messages = MessageAssembler(1 << 20)
        self.tunnel: TlsTunnel | None = None
        self.encrypted_login = False
        if self.strict and self.files:
            self.tunnel = TlsTunnel(strict_server_context(*self.files), server_side=True, wrapped=False)

    def feed(self, data: bytes) -> bytes:
        out = b""
        if self.tunnel is not None:
            data = self.tunnel.feed(data)
            out += self.tunnel.take_output()
        self.packets.feed(data)
        for packet in self.packets:
            message = self.messages.add(packet)
            if message is not None:
                out += self.send(self.answer(message))
        return out

    def send(self, data: bytes) -> bytes:
        if self.tunnel is None or not self.tunnel.established:
            return data
        self.tunnel.send(data)
        return self.tunnel.take_output()

    def reply(self, tokens: bytes) -> bytes:
        return PacketWriter(4096, spid=55).finish(tokens)

    def answer(self, message: Message) -> bytes:
        if message.type == PacketType.PRELOGIN:
            client = parse_prelogin(message.payload)
            encryption, mode = negotiate(client, self.policy)
            body = build_prelogin(reply_to(client, version=(*VERSION, 0), encryption=encryption))
            if not self.strict and mode in (EncryptionMode.FULL, EncryptionMode.LOGIN_ONLY):
                assert self.files is not None
                self.pending = TlsTunnel(
                    server_context(*self.files),
                    server_side=True,
                    login_only=mode is EncryptionMode.LOGIN_ONLY,
                )
                self.tunnel = self.pending
                return packetize(PacketType.TABULAR_RESULT, body, 4096)
            return packetize(PacketType.TABULAR_RESULT, body, 4096)
        if message.type == PacketType.LOGIN7:
            self.logins.append(parse_login7(message.payload))
            return self.reply(self.login_response(self.build))
        return self.respond(self, message)


def run(client: ClientConnection, peer: Peer, step: int | None = None) -> list[object]:
    """Carry bytes both ways until both are silent; the server's in pieces of ``step``."""
    events: list[object] = []
    while data := client.data_to_send():
        answer = peer.feed(data)
        for pos in range(0, len(answer), step or len(answer) or 1):
            events += client.feed(answer[pos : pos + (step or len(answer))])
    return events


def connected(peer: Peer, **options: object) -> ClientConnection:
    client = ClientConnection(LOGIN, **options)  # type: ignore[arg-type]
    client.start()
    events = run(client, peer)
    assert isinstance(events[-1], LoginEnd)
    assert events[-1].accepted
    assert client.state is State.READY
    return client


@pytest.mark.parametrize("step", [None, 1])
@pytest.mark.parametrize(
    ("asked", "policy", "strict", "mode"),
    [
        (Encryption.NOT_SUPPORTED, EncryptionPolicy.OFF, False, EncryptionMode.CLEAR),
        (Encryption.OFF, EncryptionPolicy.OFF, False, EncryptionMode.LOGIN_ONLY),
        (Encryption.OFF, EncryptionPolicy.WANTED, False, EncryptionMode.FULL),
        (Encryption.ON, EncryptionPolicy.OFF, False, EncryptionMode.FULL),
        (Encryption.ON, EncryptionPolicy.REQUIRED, False, EncryptionMode.FULL),
        (Encryption.STRICT, EncryptionPolicy.REQUIRED, True, EncryptionMode.FULL),
    ],
)
def test_login(
    pair: tuple[Path, Path],
    asked: Encryption,
    policy: EncryptionPolicy,
    strict: bool,
    mode: EncryptionMode,
    step: int | None,
) -> None:
    def respond(peer: Peer, message: Message) -> bytes:
        assert parse_batch(message.payload).text == "SELECT 1"
        return peer.reply(peer.build.done())

    peer = Peer(policy, pair, strict, respond)
    context = strict_client_context(authorities=pair[0]) if strict else client_context(authorities=pair[0])
    client = ClientConnection(
        LOGIN, encryption=asked, tls=context, server_hostname="localhost", strict=strict
    )
    client.start()
    events = run(client, peer, step)
    reply = next(event for event in events if isinstance(event, PreloginReply))
    assert reply.mode is mode
    assert peer.logins == [LOGIN]
    assert client.encrypted == (mode is EncryptionMode.FULL)
    assert (client.database, client.language, client.packet_size) == ("master", "us_english", 8000)
    assert (client.spid, client.server_version) == (55, VERSION)
    client.batch("SELECT 1")
    assert isinstance(run(client, peer, step)[-1], ResponseEnd)


def test_long_login_is_split_and_encrypted_by_packet(pair: tuple[Path, Path]) -> None:
    login = replace(LOGIN, features=((16, b"x" * 9000),))
    for asked in (Encryption.OFF, Encryption.ON):
        peer = Peer(files=pair)
        client = ClientConnection(
            login, encryption=asked, tls=client_context(verify=False), server_hostname="h"
        )
        client.start()
        run(client, peer)
        assert peer.logins[0].features == login.features


@pytest.mark.parametrize(
    ("asked", "reply", "mode"),
    [
        (Encryption.ON, Encryption.OFF, EncryptionMode.REFUSE),
        (Encryption.ON, Encryption.NOT_SUPPORTED, EncryptionMode.REFUSE),
        (Encryption.REQUIRED, None, EncryptionMode.REFUSE),
        (Encryption.NOT_SUPPORTED, Encryption.REQUIRED, EncryptionMode.REFUSE),
        (Encryption.NOT_SUPPORTED, Encryption.OFF, EncryptionMode.CLEAR),
        (Encryption.OFF, Encryption.NOT_SUPPORTED, EncryptionMode.CLEAR),
    ],
)
def test_outcome(asked: Encryption, reply: Encryption | None, mode: EncryptionMode) -> None:
    assert outcome(asked, reply) is mode


def test_refused_encryption_sends_no_login() -> None:
    peer = Peer(EncryptionPolicy.REQUIRED)
    client = ClientConnection(LOGIN)
    client.start()
    (event,) = run(client, peer)
    assert isinstance(event, PreloginReply)
    assert event.mode is EncryptionMode.REFUSE
    assert client.state is State.FAILED
    assert peer.logins == []


def test_login_failed() -> None:
    def refuse(build: TokenBuilder) -> bytes:
        return build.message(18456, 14, 1, "Login failed for user 'sa'.") + build.done(DoneStatus.ERROR)

    peer = Peer(login_response=refuse)
    client = ClientConnection(LOGIN)
    client.start()
    end = run(client, peer)[-1]
    assert isinstance(end, LoginEnd)
    assert not end.accepted
    assert [error.number for error in end.errors] == [18456]
    assert client.state is State.FAILED
    with pytest.raises(EncodeError):
        client.batch("SELECT 1")


@pytest.mark.parametrize("with_ack", [True, False])
def test_routing(with_ack: bool) -> None:
    def route(build: TokenBuilder) -> bytes:
        ack = build.login_ack(VERSION) if with_ack else b""
        return ack + build.env_change(EnvChangeType.ROUTING, Routing("elsewhere", 1434)) + build.done()

    peer = Peer(login_response=route)
    client = ClientConnection(LOGIN)
    client.start()
    end = run(client, peer)[-1]
    assert end == LoginEnd(False, (), Routing("elsewhere", 1434))


def test_sspi_round() -> None:
    def challenge(build: TokenBuilder) -> bytes:
        return build.sspi(b"challenge")

    def respond(peer: Peer, message: Message) -> bytes:
        assert (message.type, message.payload) == (PacketType.SSPI, b"answer")
        return peer.reply(accept(peer.build))

    peer = Peer(login_response=challenge, respond=respond)
    client = ClientConnection(LOGIN)
    client.start()
    assert run(client, peer)[-1] == ResponseEnd(ready=False)
    client.sspi(b"answer")
    assert run(client, peer)[-1] == LoginEnd(True)


def test_requests_carry_the_transaction() -> None:
    descriptor = bytes(range(1, 9))
    seen: list[bytes] = []

    def respond(peer: Peer, message: Message) -> bytes:
        build = peer.build
        if message.type == PacketType.TRANSACTION_MANAGER:
            request = parse_transaction(message.payload)
            seen.append(request.headers.descriptor)
            if request.kind is TransactionManagerType.BEGIN:
                return peer.reply(build.transaction_begun(descriptor) + build.done(command=0xD4))
            return peer.reply(build.transaction_ended(descriptor, committed=True) + build.done(command=0xD5))
        rpc = parse_rpc(message.payload)
        seen.append(rpc.headers.descriptor)
        assert message.status_of_first & Status.RESET_CONNECTION
        assert rpc.calls[0].procedure == ProcId.EXECUTESQL
        return peer.reply(build.return_status(0) + build.done())

    peer = Peer(respond=respond)
    client = connected(peer)
    client.transaction(TransactionManagerRequest(TransactionManagerType.BEGIN))
    run(client, peer)
    call = RpcCall(ProcId.EXECUTESQL, params=(RpcParam("", 0, t.nvarchar(20), "SELECT 1"),))
    client.rpc([call], reset=Status.RESET_CONNECTION)
    run(client, peer)
    client.transaction(TransactionManagerRequest(TransactionManagerType.COMMIT))
    run(client, peer)
    assert seen == [bytes(8), descriptor, descriptor]
    assert not client.headers.in_transaction


def test_attention_waits_for_its_acknowledgement() -> None:
    def respond(peer: Peer, message: Message) -> bytes:
        return b""

    peer = Peer(respond=respond)
    client = connected(peer)
    client.attention()
    assert client.data_to_send() == b""
    client.batch("WAITFOR DELAY '1:00'")
    client.attention()
    client.attention()
    sent = client.data_to_send()
    assert sent.count(b"\x06\x01\x00\x08") == 1
    build = TokenBuilder()
    assert client.feed(peer.reply(build.done(DoneStatus.ERROR)))[-1] == ResponseEnd(ready=False)
    with pytest.raises(EncodeError):
        client.batch("too early")
    events = client.feed(peer.reply(build.attention_acknowledged()))
    assert isinstance(events[0], Done)
    assert events[0].attention
    assert events[-1] == ResponseEnd(ready=True)


def test_attention_after_the_response_ended() -> None:
    peer = Peer()
    client = connected(peer)
    client.batch("SELECT 1")
    client.attention()
    build = TokenBuilder()
    both = peer.reply(build.done()) + peer.reply(build.attention_acknowledged())
    ends = [event for event in client.feed(both) if isinstance(event, ResponseEnd)]
    assert [end.ready for end in ends] == [False, True]


def test_rows_and_messages_arrive_as_they_come() -> None:
    peer = Peer()
    client = connected(peer)
    client.batch("SELECT n")
    build = TokenBuilder()
    metas = [ColumnMeta("n", t.intn(4))]
    writer = PacketWriter(512)
    encode = build.row_encoder(metas)
    first = writer.add(build.col_metadata(metas) + b"".join(encode((n,)) for n in range(200)))
    rows = [event for event in client.feed(first) if isinstance(event, Row)]
    assert 0 < len(rows) < 200
    rest = client.feed(writer.finish(build.message(0, 0, 1, "printed") + build.done()))
    rows += [event for event in rest if isinstance(event, Row)]
    assert [row.values for row in rows] == [(n,) for n in range(200)]
    assert any(isinstance(event, ServerMessage) for event in rest)


@pytest.mark.parametrize(
    "data",
    [
        packetize(PacketType.SQL_BATCH, b"x", 4096),
        packetize(PacketType.TABULAR_RESULT, b"\x00garbage", 4096),
        packetize(PacketType.TABULAR_RESULT, b"\xfd\x00", 4096),
        packetize(PacketType.TABULAR_RESULT, TokenBuilder().env_change(4, "99", "1"), 4096),
        packetize(PacketType.TABULAR_RESULT, TokenBuilder().transaction_begun(b"\1"), 4096),
    ],
)
def test_protocol_faults_fail_the_connection(data: bytes) -> None:
    client = connected(Peer())
    client.batch("SELECT 1")
    with pytest.raises(ProtocolError):
        client.feed(data)
    assert client.state is State.FAILED


def test_response_out_of_turn() -> None:
    client = connected(Peer())
    with pytest.raises(ProtocolError):
        client.feed(packetize(PacketType.TABULAR_RESULT, TokenBuilder().done(), 4096))


def test_encryption_needs_a_context() -> None:
    with pytest.raises(EncodeError):
        ClientConnection(LOGIN, encryption=Encryption.ON)
