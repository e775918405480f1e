"""The certificate that the listener shows: the one configured, or a self-signed pair made once."""

from __future__ import annotations

import datetime as dt
import ipaddress
import logging
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from tdsproxy.tds.tls import server_context, strict_server_context

log = logging.getLogger(__name__)

VALID_DAYS = 3650
KEY_BITS = 2048


class CertificateError(Exception):
    """The certificate or key can't be read, or they don't belong together; the text says which."""


@dataclass(frozen=True, slots=True)
class CertificatePair:
    """PEM files: the certificate (with its chain) and the private key."""

    certificate: Path
    key: Path


def ensure_self_signed(directory: Path, names: tuple[str, ...] = ()) -> CertificatePair:
    """The pair ``cert.pem`` and ``key.pem`` (mode 0600) in ``directory``, made when there is none.

    CN is the machine's name; SAN holds it, localhost, the loopback addresses and ``names``. Raises OSError
    when the directory can't be written.
    """
    pair = CertificatePair(directory / "cert.pem", directory / "key.pem")
    if pair.certificate.exists() and pair.key.exists():
        return pair
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, key = _generate(names)
    _write_private(pair.key, key)
    _write_private(pair.certificate, certificate, mode=0o644)
    for changed in (directory, directory.parent):
        _sync_names(changed)
    return pair


def _write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write beside, sync and rename, so that neither a reader nor a crash leaves half a file."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def _sync_names(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _generate(names: tuple[str, ...]) -> tuple[bytes, bytes]:
    # Imported here: most starts find the pair on disk and need none of it.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    host = socket.gethostname()[:64] or "localhost"
    alternatives: list[x509.GeneralName] = []
    for name in dict.fromkeys((host, "localhost", "127.0.0.1", "::1", *names)):
        try:
            alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            alternatives.append(x509.DNSName(name))
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


class ServerContexts:
    """TLS contexts for the listener: ``wrapped`` is for TLS inside PRELOGIN packets, ``strict`` for TDS 8.0.

    Each connection gets the pair as it is on disk by then: changed files are read again. While they can't be
    used (the certificate is there already, its key not yet) the last good pair serves on.
    """

    def __init__(self, pair: CertificatePair) -> None:
        """Raises CertificateError."""
        self._pair = pair
        self._stamp = self._look()
        self._wrapped, self._strict = self._load()

    @property
    def wrapped(self) -> ssl.SSLContext:
        self._refresh()
        return self._wrapped

    @property
    def strict(self) -> ssl.SSLContext:
        self._refresh()
        return self._strict

    def reload(self) -> None:
        """Read the files now, changed or not. Raises CertificateError; the last good pair then serves on."""
        self._stamp = self._look()
        self._wrapped, self._strict = self._load()
        log.info("the certificate %s was read again", self._pair.certificate)

    def _refresh(self) -> None:
        stamp = self._look()
        if stamp != self._stamp:
            try:
                self.reload()
            except CertificateError as error:
                log.error("%s The last one serves on.", error)

    def _look(self) -> tuple[object, ...]:
        """Changes whenever one of the files does."""
        found: list[object] = []
        for path in (self._pair.certificate, self._pair.key):
            try:
                status = path.stat()
            except OSError as error:
                found.append(error.errno)
            else:
                found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)

    def _load(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        pair = self._pair
        try:
            exposed = pair.key.stat().st_mode & 0o077
            contexts = (
                server_context(pair.certificate, pair.key),
                strict_server_context(pair.certificate, pair.key),
            )
        except (OSError, ssl.SSLError) as error:
            raise CertificateError(
                f"The certificate {pair.certificate} with key {pair.key} can't be used: {error}."
            ) from error
        if exposed:
            log.warning("the private key %s can be read by others than its owner", pair.key)
        return contexts


def server_contexts(pair: CertificatePair) -> ServerContexts:
    """TLS contexts for the listener. Raises CertificateError."""
    return ServerContexts(pair)
