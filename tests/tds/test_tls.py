from __future__ import annotations

import datetime as dt
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tds import tls
from tdsproxy.tds.client_hello import offered_protocols
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import HEADER_SIZE, PacketReader, PacketType, packetize
from tdsproxy.tds.tls import TlsError, TlsTunnel


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "cert.pem", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate_file, key_file


def tunnels(
    pair: tuple[Path, Path], *, login_only: bool = False, strict: bool = False
) -> tuple[TlsTunnel, TlsTunnel]:
    if strict:
        server_context, client_context = (
            tls.strict_server_context(*pair),
            tls.strict_client_context(authorities=pair[0]),
        )
    else:
        server_context, client_context = tls.server_context(*pair), tls.client_context(authorities=pair[0])
    server = TlsTunnel(server_context, server_side=True, wrapped=not strict, login_only=login_only)
    client = TlsTunnel(
        client_context,
        server_side=False,
        wrapped=not strict,
        login_only=login_only,
        server_hostname="localhost",
    )
    return server, client


def shake(server: TlsTunnel, client: TlsTunnel, step: int | None = None) -> list[bytes]:
    """Run the handshake, the client's bytes in pieces of ``step``; returns the flights in order."""
    flights = []
    client.start()
    for _ in range(10):
        flight = client.take_output()
        flights.append(flight)
        for pos in range(0, len(flight), step or len(flight) or 1):
            assert server.feed(flight[pos : pos + (step or len(flight))]) == b""
        answer = server.take_output()
        flights.append(answer)
        assert client.feed(answer) == b""
        if client.established and server.established:
            return flights
    pytest.fail("the handshake does not end")


LOGIN = packetize(PacketType.LOGIN7, b"L" * 6000, 4096)
BATCH = packetize(PacketType.SQL_BATCH, b"S" * 100, 4096)


@pytest.mark.parametrize("step", [None, 1, 100])
def test_handshake_travels_in_packets(pair: tuple[Path, Path], step: int | None) -> None:
    server, client = tunnels(pair)
    flights = shake(server, client, step)
    assert server.version == client.version == "TLSv1.2"
    for flight in flights:
        reader = PacketReader()
        reader.feed(flight)
        packets = list(reader)
        assert reader.pending == 0
        assert {packet.type for packet in packets} == {PacketType.PRELOGIN}
        # One message for each of the peer's, with TLS records from its first byte.
        assert [packet.is_last for packet in packets] == [False] * (len(packets) - 1) + [True]
        assert packets[0].payload[0] in (0x16, 0x14)


def test_full_encryption(pair: tuple[Path, Path]) -> None:
    server, client = tunnels(pair)
    shake(server, client)
    client.send(LOGIN)
    wire = client.take_output()
    assert wire[0] == 0x17
    assert server.feed(wire[:10]) == b""
    assert server.feed(wire[10:]) == LOGIN
    server.send(BATCH * 500)
    assert client.feed(server.take_output()) == BATCH * 500
    assert client.encrypted
    client.close()
    assert server.feed(client.take_output()) == b""
    assert server.closed


def client_object(
    context: ssl.SSLContext, session: ssl.SSLSession | None
) -> tuple[ssl.MemoryBIO, ssl.MemoryBIO, ssl.SSLObject]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    return (
        incoming,
        outgoing,
        context.wrap_bio(incoming, outgoing, server_hostname="localhost", session=session),
    )


def test_last_handshake_packet_and_login_in_one_read(pair: tuple[Path, Path]) -> None:
    """A client that resumes its session has the last word of the handshake, and goes on at once."""
    server_context, context = tls.server_context(*pair), tls.client_context(authorities=pair[0])
    session = None
    kept = []  # OpenSSL forgets the session of a connection that vanishes
    for _ in range(2):
        server = TlsTunnel(server_context, server_side=True)
        kept.append(server)
        incoming, outgoing, client = client_object(context, session)
        wire = b""
        for _ in range(3):
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                server.feed(packetize(PacketType.PRELOGIN, outgoing.read(), 4096))
                reader = PacketReader()
                reader.feed(server.take_output())
                incoming.write(b"".join(packet.payload for packet in reader))
            else:
                rest = outgoing.read()
                wire = packetize(PacketType.PRELOGIN, rest, 4096) if rest else b""
                break
        client.write(LOGIN)
        assert server.feed(wire + outgoing.read()) == LOGIN
        resumed, session = client.session_reused, client.session
    assert resumed
    assert wire, "the client had nothing left to say: nothing was coalesced"


def test_bytes_behind_the_handshake_are_kept(pair: tuple[Path, Path]) -> None:
    """Towards the client: the server's last flight and its first records in one read."""
    server, client = tunnels(pair)
    client.start()
    server.feed(client.take_output())
    client.feed(server.take_output())
    server.feed(client.take_output())
    server.send(BATCH)
    assert client.feed(server.take_output()) == BATCH
    assert client.established


@pytest.mark.parametrize("step", [1, 700, 100_000])
def test_login_only_covers_one_packet(pair: tuple[Path, Path], step: int) -> None:
    server, client = tunnels(pair, login_only=True)
    shake(server, client)
    client.send(LOGIN)
    client.send(BATCH)
    wire = client.take_output()
    assert wire.endswith(LOGIN[4096:] + BATCH)
    assert LOGIN[HEADER_SIZE:100] not in wire[:4096]
    got = b"".join(server.feed(wire[pos : pos + step]) for pos in range(0, len(wire), step))
    assert got == LOGIN + BATCH
    assert not server.encrypted
    server.send(BATCH)
    assert server.take_output() == BATCH
    assert client.feed(BATCH) == BATCH


def test_alert_behind_a_login_only_packet_is_dropped(pair: tuple[Path, Path]) -> None:
    server, client = tunnels(pair, login_only=True)
    shake(server, client)
    client.send(LOGIN[:4096])
    alert = b"\x15\x03\x03\x00\x1a" + bytes(26)
    wire = client.take_output() + alert + LOGIN[4096:]
    assert b"".join(server.feed(wire[pos : pos + 11]) for pos in range(0, len(wire), 11)) == LOGIN


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_strict(pair: tuple[Path, Path], version: ssl.TLSVersion) -> None:
    context = tls.strict_client_context(authorities=pair[0])
    context.maximum_version = version
    server = TlsTunnel(tls.strict_server_context(*pair), server_side=True, wrapped=False)
    client = TlsTunnel(context, server_side=False, wrapped=False, server_hostname="localhost")
    flights = shake(server, client, 50)
    assert flights[0][0] == 0x16
    assert server.selected_alpn == client.selected_alpn == tls.ALPN
    client.send(LOGIN)
    assert server.feed(client.take_output()) == LOGIN


def test_handshake_and_data_in_one_read_under_strict(pair: tuple[Path, Path]) -> None:
    server, client = tunnels(pair, strict=True)
    client.start()
    server.feed(client.take_output())
    client.feed(server.take_output())
    assert client.established
    client.send(LOGIN)
    assert server.feed(client.take_output()) == LOGIN


def test_strict_refuses_a_foreign_protocol(pair: tuple[Path, Path]) -> None:
    context = tls.strict_client_context(authorities=pair[0])
    context.set_alpn_protocols(["h2", "http/1.1"])
    server = TlsTunnel(tls.strict_server_context(*pair), server_side=True, wrapped=False)
    client = TlsTunnel(context, server_side=False, wrapped=False, server_hostname="localhost")
    client.start()
    hello = client.take_output()
    server.feed(hello[:40])
    with pytest.raises(TlsError, match="ALPN"):
        server.feed(hello[40:])


def test_strict_serves_a_client_without_alpn(pair: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(cafile=str(pair[0]))
    server = TlsTunnel(tls.strict_server_context(*pair), server_side=True, wrapped=False)
    client = TlsTunnel(context, server_side=False, wrapped=False, server_hostname="localhost")
    shake(server, client)
    assert server.selected_alpn is None


def test_untrusted_certificate(pair: tuple[Path, Path]) -> None:
    server = TlsTunnel(tls.server_context(*pair), server_side=True)
    client = TlsTunnel(tls.client_context(), server_side=False, server_hostname="localhost")
    client.start()
    server.feed(client.take_output())
    with pytest.raises(TlsError) as caught:
        client.feed(server.take_output())
    assert caught.value.certificate
    trusting = TlsTunnel(tls.client_context(verify=False), server_side=False, server_hostname="other")
    shake(TlsTunnel(tls.server_context(*pair), server_side=True), trusting)


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_client_hello(data: bytes, framed: bool) -> None:
    if framed:
        body = b"\x01" + len(data).to_bytes(3, "big") + data
        data = b"\x16\x03\x01" + len(body).to_bytes(2, "big") + body
    with suppress(ProtocolError):
        offered_protocols(data)


@pytest.mark.parametrize(
    "data",
    [
        packetize(PacketType.PRELOGIN, b"GET / HTTP/1.1\r\n\r\n", 4096),
        packetize(PacketType.SQL_BATCH, b"x", 4096),
        packetize(PacketType.PRELOGIN, bytes(70_000), 4096),
    ],
)
def test_garbage_for_a_handshake(pair: tuple[Path, Path], data: bytes) -> None:
    server, _client = tunnels(pair)
    with pytest.raises(ProtocolError):
        server.feed(data)


def test_broken_record(pair: tuple[Path, Path]) -> None:
    server, client = tunnels(pair)
    shake(server, client)
    client.send(BATCH)
    wire = bytearray(client.take_output())
    wire[-1] ^= 1
    with pytest.raises(TlsError):
        server.feed(bytes(wire))


def test_nothing_is_sent_before_the_handshake_is_over(pair: tuple[Path, Path]) -> None:
    _server, client = tunnels(pair)
    with pytest.raises(TlsError):
        client.send(LOGIN)
