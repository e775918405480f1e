"""X.509 certificates as SQL Server's sys.certificates shows them, and RSA keys in the files that it reads.

A certificate's SUBJECT is one string; as X.509 it is the common name.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from tdsproxy.catalog import pvk

KEY_BITS: Final = 2048
LONGEST_SUBJECT: Final = 64
"""What X.509 allows for a common name, and SQL Server on Linux for a subject."""

_SID_PREFIX: Final = bytes.fromhex("010600000000000901000000")
_LEAST_BITS: Final = 1024


class KeyFileError(ValueError):
    """A file or binary that holds no certificate, no RSA key, or one that cannot be used."""


class KeyFilePassword(KeyFileError):
    """The password of a private key is missing or wrong."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a certificate says of itself. Times are UTC, ``serial`` is hexadecimal in pairs."""

    subject: str
    issuer: str
    serial: str
    not_before: dt.datetime
    not_after: dt.datetime
    thumbprint: bytes
    key_bits: int

    @property
    def sid(self) -> bytes:
        """The security identifier of whoever is mapped to it."""
        return _SID_PREFIX + self.thumbprint

    @property
    def string_sid(self) -> str:
        parts = [self.thumbprint[i : i + 4] for i in range(0, 20, 4)]
        return "S-1-9-1-" + "-".join(str(int.from_bytes(part, "little")) for part in parts)


def new_private_key(bits: int = KEY_BITS) -> rsa.RSAPrivateKey:
    """A new RSA key."""
    return rsa.generate_private_key(65537, bits)


def self_signed(
    key: rsa.RSAPrivateKey, subject: str, not_before: dt.datetime, not_after: dt.datetime
) -> bytes:
    """The DER of a certificate for ``key`` that it signs itself; times are UTC. Raises KeyFileError for
    dates that X.509 cannot say."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    try:
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
            .sign(key, hashes.SHA256())
        )
    except ValueError as error:
        raise KeyFileError(str(error)) from error
    return made.public_bytes(serialization.Encoding.DER)


def load_certificate(data: bytes) -> tuple[x509.Certificate, rsa.RSAPublicKey]:
    """A certificate of DER or PEM, which must be for an RSA key. Raises KeyFileError."""
    try:
        if data.lstrip()[:10] == b"-----BEGIN":
            found = x509.load_pem_x509_certificate(data)
        else:
            found = x509.load_der_x509_certificate(data)
        key = found.public_key()
    except (ValueError, TypeError) as error:
        raise KeyFileError("no certificate") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < _LEAST_BITS:
        raise KeyFileError("the certificate is not for a key of RSA")
    return found, key


def certificate_der(data: bytes) -> bytes:
    """The DER of a certificate in either form. Raises KeyFileError."""
    return load_certificate(data)[0].public_bytes(serialization.Encoding.DER)


def facts_of(der: bytes) -> CertificateFacts:
    """Raises KeyFileError."""
    found, key = load_certificate(der)
    serial = found.serial_number
    digits = f"{serial:0{2 * max(1, (serial.bit_length() + 7) // 8)}x}"
    return CertificateFacts(
        _shown(found.subject),
        _shown(found.issuer),
        " ".join(digits[i : i + 2] for i in range(0, len(digits), 2)),
        found.not_valid_before_utc,
        found.not_valid_after_utc,
        thumbprint(der),
        key.key_size,
    )


def _shown(name: x509.Name) -> str:
    """A lone common name as the string that it is; otherwise RFC 4514's form."""
    attributes = list(name)
    if len(attributes) == 1 and attributes[0].oid == NameOID.COMMON_NAME:
        return str(attributes[0].value)
    return name.rfc4514_string()


def thumbprint(data: bytes) -> bytes:
    """SHA-1, as SQL Server and everybody else name certificates and keys."""
    return hashlib.sha1(data, usedforsecurity=False).digest()


def public_der(key: rsa.RSAPublicKey) -> bytes:
    """SubjectPublicKeyInfo."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_public(der: bytes) -> rsa.RSAPublicKey:
    """From SubjectPublicKeyInfo. Raises KeyFileError."""
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError) as error:
        raise KeyFileError("no public key") from error
    if not isinstance(key, rsa.RSAPublicKey):
        raise KeyFileError("no key of RSA")
    return key


def private_der(key: rsa.RSAPrivateKey) -> bytes:
    """PKCS #8 in clear: to be sealed at once."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_own_private(data: bytes) -> rsa.RSAPrivateKey:
    """What ``private_der`` made. Its numbers are not proved again, which would take most of the time: what
    seals them says that they are the same. Raises KeyFileError."""
    try:
        key = serialization.load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError) as error:
        raise KeyFileError("no private key") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyFileError("no key of RSA")
    return key


def load_private(data: bytes, password: str | None = None) -> rsa.RSAPrivateKey:
    """An RSA key of a PVK file, or of PEM or DER. Raises KeyFileError, KeyFilePassword."""
    if pvk.is_pvk(data):
        try:
            return pvk.read_pvk(data, password)
        except pvk.PvkPassword as error:
            raise KeyFilePassword(str(error)) from error
        except pvk.PvkError as error:
            raise KeyFileError(str(error)) from error
    encoded = None if password is None else password.encode("utf-8", "surrogatepass")
    load = (
        serialization.load_pem_private_key
        if data.lstrip()[:10] == b"-----BEGIN"
        else serialization.load_der_private_key
    )
    try:
        key = load(data, encoded)
    except TypeError:
        if encoded is None:
            raise KeyFilePassword("a password is needed") from None
        try:
            key = load(data, None)  # it is not encrypted at all
        except (ValueError, TypeError) as error:
            raise KeyFileError("no private key") from error
    except ValueError as error:
        kind = KeyFilePassword if b"ENCRYPTED" in data[:64] else KeyFileError
        raise kind("no private key that the password opens") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyFileError("no key of RSA")
    return key


def write_pfx(name: str, der: bytes, key: rsa.RSAPrivateKey, password: str) -> bytes:
    """Certificate and key as PKCS #12 with AES-256, as ``FORMAT = 'PFX'`` wants."""
    return pkcs12.serialize_key_and_certificates(
        name.encode("utf-8", "surrogatepass"),
        key,
        load_certificate(der)[0],
        None,
        serialization.BestAvailableEncryption(password.encode("utf-8", "surrogatepass")),
    )


def read_pfx(data: bytes, password: str | None) -> tuple[bytes, rsa.RSAPrivateKey | None]:
    """The certificate's DER and the key of a PKCS #12 file. Raises KeyFileError, KeyFilePassword."""
    encoded = None if password is None else password.encode("utf-8", "surrogatepass")
    try:
        key, found, _ = pkcs12.load_key_and_certificates(data, encoded)
    except ValueError as error:
        kind = KeyFilePassword if "password" in str(error).lower() else KeyFileError
        raise kind("no PKCS #12 file that the password opens") from error
    if found is None or not (key is None or isinstance(key, rsa.RSAPrivateKey)):
        raise KeyFileError("no certificate of RSA")
    return certificate_der(found.public_bytes(serialization.Encoding.DER)), key


def wrap_set_key(public: rsa.RSAPublicKey, key: bytes) -> bytes:
    """A symmetric key for whoever has the private key (RSA-OAEP, SHA-256)."""
    return public.encrypt(key, _oaep())


def unwrap_set_key(private: rsa.RSAPrivateKey, wrapped: bytes) -> bytes:
    """Raises KeyFileError when it was not wrapped for this key."""
    try:
        return private.decrypt(wrapped, _oaep())
    except ValueError as error:
        raise KeyFileError("wrapped for another key") from error


def _oaep() -> padding.OAEP:
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
