"""Requests over a real socket, which go the short way: straight to the session's thread and back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from tdsproxy.frontend.worker import Outbox
from tdsproxy.tds.headers import build_batch
from tdsproxy.tds.login7 import Login7, build_login7
from tdsproxy.tds.packets import ATTENTION, PacketType, packetize
from tdsproxy.tds.prelogin import Encryption, Prelogin, build_prelogin
from tdsproxy.tds.tokens import Done, DoneStatus, Row, Token, TokenParser
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Column, Command, Reply, ResultSet, Rows
from tdsproxy.tsql.replies import Done as DoneReply
from tests.frontend.fakes import FakeServer
from tests.frontend.running import serving

PATIENCE = 60.0


class Peer:
    """A client that blocks."""

    def __init__(self, port: int, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = build_prelogin(Prelogin((9, 0, 0, 0), Encryption.NOT_SUPPORTED, instance="", mars=False))
        self.socket.sendall(packetize(PacketType.PRELOGIN, hello, 4096))
        self.message()
        login = Login7(user="sa", password="secret", features=None)
        self.socket.sendall(packetize(PacketType.LOGIN7, build_login7(login), 4096))
        self.message()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def message(self) -> bytes:
        body = b""
        while True:
            _kind, status, length = struct.unpack(">BBH4x", self._exactly(8))
            body += self._exactly(length - 8)
            if status & 1:
                return body

    def tokens(self) -> list[Token]:
        return TokenParser().feed(self.message())

    def ask(self, text: str) -> list[Token]:
        self.socket.sendall(request(text))
        return self.tokens()


def request(text: str) -> bytes:
    return packetize(PacketType.SQL_BATCH, build_batch(text), 4096)


@contextlib.contextmanager
def connected(server: FakeServer, **options: int) -> Iterator[Peer]:
    with serving(server) as port:
        peer = Peer(port, **options)
        with contextlib.closing(peer.socket):
            yield peer


def numbers(count: int, start: int = 0) -> Iterator[Reply]:
    yield ResultSet((Column("n", t.INT, nullable=False), Column("s", t.varchar(100))))
    for first in range(0, count, 100):
        yield Rows([(start + n, "x" * 100) for n in range(first, min(first + 100, count))])
    yield DoneReply(Command.SELECT, count)


def rows(tokens: list[Token]) -> list[int]:
    return [token.values[0] for token in tokens if isinstance(token, Row)]


def dones(tokens: list[Token]) -> list[int]:
    return [token.status for token in tokens if isinstance(token, Done)]


def test_whole_cut_and_joined_requests_are_answered_alike() -> None:
    with connected(FakeServer()) as peer:
        expected = peer.ask("SELECT")
        for _ in range(20):
            assert peer.ask("SELECT") == expected
        data = request("SELECT")
        for cut in (1, 7, 8, 9, len(data) - 1):
            peer.socket.sendall(data[:cut])
            time.sleep(0.01)  # the pieces may well arrive apart; it does not matter if they don't
            peer.socket.sendall(data[cut:])
            assert peer.tokens() == expected
        for count in (2, 5):
            peer.socket.sendall(data * count)
            assert [peer.tokens() for _ in range(count)] == [expected] * count


@pytest.mark.parametrize("count", [1, 130, 170, 4000])
def test_answers_of_all_lengths_in_order(count: int) -> None:
    server = FakeServer(batches={str(n): lambda n=n: numbers(count, n) for n in range(3)})  # type: ignore[misc]
    with connected(server) as peer:
        for _ in range(3):
            for n in range(3):
                assert rows(peer.ask(str(n))) == list(range(n, n + count))


@pytest.mark.parametrize("count", [140, 3000])
def test_a_client_that_does_not_read(count: int) -> None:
    """Pipelined requests, whose answers fill all buffers: they come whole, and in their order."""
    many = 400 if count < 1000 else 10
    server = FakeServer(batches={str(n): lambda n=n: numbers(count, n) for n in range(many)})  # type: ignore[misc]
    with connected(server, receive_buffer=4096) as peer:
        for n in range(many):
            peer.socket.sendall(request(str(n)))
        for n in range(many):
            assert rows(peer.tokens()) == list(range(n, n + count))


def test_attention() -> None:
    server = FakeServer()
    with connected(server) as peer:
        for _ in range(3):
            server.sessions[0].started.clear()
            peer.socket.sendall(request("WAIT"))
            assert server.sessions[0].started.wait(PATIENCE)
            peer.socket.sendall(ATTENTION)
            assert dones(peer.tokens()) == [DoneStatus.ERROR | DoneStatus.COUNT]
            assert dones(peer.tokens()) == [DoneStatus.ATTENTION]
            assert rows(peer.ask("SELECT")) == [1, 2]


def test_attention_behind_an_answer() -> None:
    with connected(FakeServer()) as peer:
        for _ in range(50):
            peer.socket.sendall(request("SELECT"))
            peer.socket.sendall(ATTENTION)
            first = peer.tokens()
            if dones(first) != [DoneStatus.ATTENTION]:
                assert dones(peer.tokens()) == [DoneStatus.ATTENTION]
            assert rows(peer.ask("SELECT")) == [1, 2]


def test_the_client_goes() -> None:
    server = FakeServer()
    with connected(server) as peer:
        peer.socket.sendall(request("WAIT"))
        assert server.sessions[0].started.wait(PATIENCE)
        peer.socket.close()
        assert server.sessions[0].closed.wait(PATIENCE)


def test_errors_and_defects() -> None:
    with connected(FakeServer()) as peer:
        for text in ("ERROR", "BUG"):
            assert dones(peer.ask(text)) == [DoneStatus.ERROR]
        assert rows(peer.ask("SELECT")) == [1, 2]


def test_an_answer_that_has_begun_can_not_be_claimed() -> None:
    async def run() -> None:
        notices: list[None] = []
        fresh = Outbox(asyncio.get_running_loop(), lambda: notices.append(None))
        assert fresh.claim()
        begun = Outbox(asyncio.get_running_loop(), lambda: notices.append(None))
        begun.put(b"a")
        assert begun.take() == (b"a", False, False)
        assert not begun.claim()
        given_up = Outbox(asyncio.get_running_loop(), lambda: notices.append(None))
        given_up.close()
        assert notices
        assert not given_up.claim()

    asyncio.run(run())
