"""Each way to encrypt the two legs, alone and together, with sockets and the product's own listener."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tdsproxy.frontend.certificates import CertificatePair, ensure_self_signed, server_contexts
from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.frontend.handshake import HandshakeSettings
from tdsproxy.frontend.listener import Listener
from tdsproxy.frontend.streams import SocketStream
from tdsproxy.frontend.worker import SessionLimit
from tdsproxy.proxy.session import ProxySession, ProxySettings
from tdsproxy.proxy.upstream import UpstreamLeg, UpstreamSettings, UpstreamTls, upstream_context
from tdsproxy.tds.headers import build_batch
from tdsproxy.tds.login7 import Login7, build_login7
from tdsproxy.tds.packets import PacketType
from tdsproxy.tds.prelogin import EncryptionPolicy
from tdsproxy.tds.tokens import LoginAck, Row, ServerMessage, Token, TokenParser
from tdsproxy.tds.versions import TdsVersion
from tests.frontend.running import serving, settings
from tests.proxy.fakes import FakeKeeper, UpstreamServer

ROWS = [(1, "one"), (2, None)]
BOTH_LEGS = [EncryptionPolicy.STRICT, EncryptionPolicy.REQUIRED, EncryptionPolicy.WANTED]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    ensure_self_signed(made)
    return made


@dataclass
class Front:
    """A proxy that listens on ``port``."""

    host: str
    port: int
    keeper: FakeKeeper = field(default_factory=FakeKeeper)


@contextlib.asynccontextmanager
async def proxy(upstream: UpstreamSettings, handshake: HandshakeSettings) -> AsyncIterator[Front]:
    keeper = FakeKeeper()
    how = ProxySettings(handshake, upstream, SessionLimit(10))
    listener = Listener(lambda stream: ProxySession(stream, keeper, how))
    host, port = await listener.start("127.0.0.1", 0)
    try:
        yield Front(host, port, keeper)
    finally:
        await listener.close(5)


async def answer(leg: UpstreamLeg, kind: PacketType, body: bytes) -> list[Token]:
    async with asyncio.timeout(60):
        await leg.send(kind, body)
        return TokenParser(TdsVersion.V7_4).feed(await leg.message())


async def log_in(leg: UpstreamLeg) -> list[Token]:
    body = build_login7(Login7(user="sa", password="secret", packet_size=4096))
    return await answer(leg, PacketType.LOGIN7, body)


async def rows(leg: UpstreamLeg, text: str = "SELECT 1") -> list[tuple[object, ...]]:
    tokens = await answer(leg, PacketType.SQL_BATCH, build_batch(text))
    return [token.values for token in tokens if isinstance(token, Row)]


def to(
    port: int, mode: UpstreamTls, *, authorities: Path | None = None, name: str | None = None
) -> UpstreamSettings:
    context = upstream_context(mode, verify=authorities is not None, authorities=authorities)
    return UpstreamSettings("127.0.0.1", port, mode, context, name)


@contextlib.contextmanager
def upstream(policy: EncryptionPolicy, directory: Path | None) -> Iterator[tuple[UpstreamServer, int]]:
    server = UpstreamServer()
    with serving(server, settings(policy, directory)) as port:
        yield server, port


# What a leg becomes: mode of the client side, policy of the server side -> whether it logs in, and whether
# its whole session is encrypted then.
CELLS = [
    ("off", "off", True, False),
    ("off", "login", True, False),
    ("off", "wanted", True, False),
    ("off", "required", False, False),
    ("off", "strict", False, False),
    ("login", "off", True, False),
    ("login", "login", True, False),
    ("login", "wanted", True, True),
    ("login", "required", True, True),
    ("login", "strict", False, False),
    ("wanted", "off", True, True),
    ("wanted", "login", True, True),
    ("wanted", "wanted", True, True),
    ("wanted", "required", True, True),
    ("wanted", "strict", False, False),
    ("required", "off", True, True),
    ("required", "wanted", True, True),
    ("required", "required", True, True),
    ("strict", "off", True, True),
    ("strict", "login", True, True),
    ("strict", "wanted", True, True),
    ("strict", "required", True, True),
    ("strict", "strict", True, True),
]


@pytest.mark.parametrize("leg", ["client", "upstream"])
@pytest.mark.parametrize(("mode", "policy", "works", "encrypted"), CELLS)
async def test_each_cell(
    directory: Path, leg: str, mode: str, policy: str, works: bool, encrypted: bool
) -> None:
    """``leg`` is the one that has the cell; the other is in clear."""
    certified, clear = (EncryptionPolicy(policy), directory), (EncryptionPolicy.OFF, None)
    contexts = server_contexts(ensure_self_signed(directory))
    near = UpstreamTls(mode) if leg == "client" else UpstreamTls.OFF
    far = UpstreamTls(mode) if leg == "upstream" else UpstreamTls.OFF
    handshake = (
        HandshakeSettings(EncryptionPolicy(policy), contexts)
        if leg == "client"
        else HandshakeSettings(EncryptionPolicy.OFF, None)
    )
    with upstream(*(certified if leg == "upstream" else clear)) as (server, port):
        async with proxy(to(port, far), handshake) as front:
            if not works and leg == "client":
                with pytest.raises(Exception, match=r"127\.0\.0\.1"):
                    await UpstreamLeg.connect(to(front.port, near), fedauth=False)
                return
            client = await UpstreamLeg.connect(to(front.port, near), fedauth=False)
            tokens = await log_in(client)
            assert any(isinstance(token, LoginAck) for token in tokens) is works
            if not works:
                assert [t.number for t in tokens if isinstance(t, ServerMessage)] == [10054]
                return
            for _ in range(3):
                assert await rows(client) == ROWS
            assert await rows(client, "SELECT 1 " + "x" * 30_000) == ROWS
            await answer(client, PacketType.SQL_BATCH, build_batch("BACKUP DATABASE shop TO DISK = N'a'"))
            assert len(front.keeper.requests) == 1
            if leg == "client":
                assert client.encrypted is encrypted
            else:
                assert server.sessions[0].request.encrypted is encrypted
            client.close()


async def test_both_legs_encrypt(directory: Path) -> None:
    contexts = server_contexts(ensure_self_signed(directory))
    with upstream(EncryptionPolicy.REQUIRED, directory) as (server, port):
        handshake = HandshakeSettings(EncryptionPolicy.REQUIRED, contexts)
        async with proxy(to(port, UpstreamTls.REQUIRED), handshake) as front:
            client = await UpstreamLeg.connect(to(front.port, UpstreamTls.STRICT), fedauth=False)
            await log_in(client)
            assert await rows(client) == ROWS
            client.close()
        assert server.sessions[0].request.encrypted


@pytest.mark.parametrize("mode", ["wanted", "required", "login", "strict"])
async def test_the_upstreams_certificate_is_verified(directory: Path, tmp_path: Path, mode: str) -> None:
    ensure_self_signed(tmp_path / "other")
    good, other = directory / "cert.pem", tmp_path / "other" / "cert.pem"
    modes = UpstreamTls(mode)
    with upstream(EncryptionPolicy.LOGIN, directory) as (_server, port):
        for authorities, name, trusted in [
            (good, None, True),  # 127.0.0.1 is among its names
            (good, "localhost", True),
            (good, "elsewhere.example", False),
            (other, None, False),
        ]:
            how = to(port, modes, authorities=authorities, name=name)
            async with proxy(how, HandshakeSettings(EncryptionPolicy.OFF, None)) as front:
                client = await UpstreamLeg.connect(to(front.port, UpstreamTls.OFF), fedauth=False)
                tokens = await log_in(client)
                assert any(isinstance(token, LoginAck) for token in tokens) is trusted
                client.close()


@pytest.mark.parametrize("mode", ["wanted", "login", "required"])
async def test_an_upstream_that_says_it_cannot_encrypt_is_not_verified(directory: Path, mode: str) -> None:
    """Somebody between the two may have said so."""
    how_verified = {"authorities": directory / "cert.pem"}
    with upstream(EncryptionPolicy.OFF, None) as (server, port):
        how = to(port, UpstreamTls(mode), **how_verified)
        async with proxy(how, HandshakeSettings(EncryptionPolicy.OFF, None)) as front:
            client = await UpstreamLeg.connect(to(front.port, UpstreamTls.OFF), fedauth=False)
            tokens = await log_in(client)
            assert [t.number for t in tokens if isinstance(t, ServerMessage)] == [10054]
            client.close()
        assert server.sessions == []


async def shown_certificate(port: int) -> bytes | None:
    """What the listener shows to a TDS 8.0 client."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["tds/8.0"])
    async with asyncio.timeout(60):
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    certificate: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return certificate


async def test_a_changed_certificate_is_shown_to_the_next_client(directory: Path, tmp_path: Path) -> None:
    pair = ensure_self_signed(tmp_path / "live")
    first = ssl.PEM_cert_to_DER_cert(pair.certificate.read_text())
    fresh = ensure_self_signed(tmp_path / "fresh")
    second = ssl.PEM_cert_to_DER_cert(fresh.certificate.read_text())
    contexts = server_contexts(pair)
    with upstream(EncryptionPolicy.OFF, None) as (_server, port):
        handshake = HandshakeSettings(EncryptionPolicy.WANTED, contexts)
        async with proxy(to(port, UpstreamTls.OFF), handshake) as front:
            assert await shown_certificate(front.port) == first
            open_one = await UpstreamLeg.connect(to(front.port, UpstreamTls.WANTED), fedauth=False)
            await log_in(open_one)
            shutil.copy(fresh.certificate, pair.certificate)
            assert await shown_certificate(front.port) == first  # its key is not there yet
            shutil.copy(fresh.key, pair.key)
            assert await shown_certificate(front.port) == second
            assert await rows(open_one) == ROWS
            open_one.close()


def test_a_key_under_a_passphrase_is_refused_at_once(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    from tdsproxy.frontend.certificates import CertificateError

    pair = ensure_self_signed(tmp_path)
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(CertificateError, match="can't be used"):
        server_contexts(CertificatePair(pair.certificate, locked))


def test_a_key_that_others_can_read_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pair = ensure_self_signed(tmp_path)
    server_contexts(pair)
    assert "can be read by others" not in caplog.text
    pair.key.chmod(0o644)
    server_contexts(pair)
    assert "can be read by others" in caplog.text


async def test_a_channel_in_clear_behind_the_login_passes_the_short_way(directory: Path) -> None:
    """Login-only TLS leaves nothing behind that would slow the session down."""
    contexts = server_contexts(ensure_self_signed(directory))
    with upstream(EncryptionPolicy.OFF, None) as (_server, port):
        seen: list[PacketChannel] = []

        class Seen(ProxySession):
            def __init__(self, stream: SocketStream, keeper: FakeKeeper, how: ProxySettings) -> None:
                super().__init__(stream, keeper, how)
                seen.append(self._client)

        how = ProxySettings(
            HandshakeSettings(EncryptionPolicy.LOGIN, contexts),
            to(port, UpstreamTls.OFF),
            SessionLimit(10),
        )
        listener = Listener(lambda stream: Seen(stream, FakeKeeper(), how))
        _host, front = await listener.start("127.0.0.1", 0)
        client = await UpstreamLeg.connect(to(front, UpstreamTls.LOGIN), fedauth=False)
        await log_in(client)
        assert await rows(client) == ROWS
        assert await rows(client) == ROWS
        assert seen[0].divert(lambda _data: False)
        client.close()
        await listener.close(5)
