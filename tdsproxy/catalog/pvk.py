"""RSA private keys as SQL Server's BACKUP CERTIFICATE writes them: PVK files.

All integers are little-endian::

    magic B0B5F11E, zero, key type (1 exchange, 2 signature), encrypted (0 or 1), salt length, key length
    salt
    BLOBHEADER: type 7, version 2, zero, CALG_RSA_KEYX (A400)      8 bytes, never encrypted
    RSAPUBKEY "RSA2", bits, public exponent; modulus; p; q; d mod p-1; d mod q-1; q^-1 mod p; d

An encrypted one has the part behind BLOBHEADER under RC4, its key the first 16 bytes of SHA-1 over salt and
password; 40-bit keys of old exports, with 11 zero bytes behind them, are read, too. The facts are those of
Microsoft's PRIVATEKEYBLOB and of OpenSSL's ``rsa -inform PVK``. RC4 is what the format has; a PFX file
(``FORMAT = 'PFX'``) is the stronger container.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

_HEADER: Final = struct.Struct("<6I")
_BLOB_HEADER: Final = struct.Struct("<BBHI")
_PUBLIC: Final = struct.Struct("<4sII")
_MAGIC: Final = 0xB0B5F11E
_EXCHANGE: Final = 1
_ALGORITHMS: Final = frozenset({0x0000A400, 0x00002400})
_PRIVATE_KEY_BLOB: Final = 7
_VERSION: Final = 2
_SALT: Final = 16
_MOST_BITS: Final = 16384


class PvkError(ValueError):
    """The bytes are no PVK file, or one of a kind that is not known."""


class PvkPassword(PvkError):
    """The password is missing or wrong."""


def is_pvk(data: bytes) -> bool:
    """Whether ``data`` begins as a PVK file does."""
    return data[:4] == _MAGIC.to_bytes(4, "little")


def write_pvk(key: rsa.RSAPrivateKey, password: str) -> bytes:
    """The PVK file, its key under RC4 with 128 bits."""
    numbers = key.private_numbers()
    public = numbers.public_numbers
    size = (public.n.bit_length() + 7) // 8
    half = (size + 1) // 2
    body = _PUBLIC.pack(b"RSA2", size * 8, public.e) + b"".join(
        number.to_bytes(length, "little")
        for number, length in (
            (public.n, size),
            (numbers.p, half),
            (numbers.q, half),
            (numbers.dmp1, half),
            (numbers.dmq1, half),
            (numbers.iqmp, half),
            (numbers.d, size),
        )
    )
    blob_header = _BLOB_HEADER.pack(_PRIVATE_KEY_BLOB, _VERSION, 0, 0x0000A400)
    salt = secrets.token_bytes(_SALT)
    length = len(blob_header) + len(body)
    sealed = _rc4(_derived(salt, password.encode("utf-8", "surrogatepass")), body)
    return _HEADER.pack(_MAGIC, 0, _EXCHANGE, 1, len(salt), length) + salt + blob_header + sealed


def read_pvk(data: bytes, password: str | None) -> rsa.RSAPrivateKey:
    """The key of a PVK file. Raises PvkError, PvkPassword."""
    try:
        magic, _, _, encrypted, salt_length, length = _HEADER.unpack_from(data)
        salt = data[_HEADER.size : _HEADER.size + salt_length]
        blob = data[_HEADER.size + salt_length :][:length]
        kind, version, _, algorithm = _BLOB_HEADER.unpack_from(blob)
    except struct.error as error:
        raise PvkError("cut off") from error
    if magic != _MAGIC or kind != _PRIVATE_KEY_BLOB or version != _VERSION or algorithm not in _ALGORITHMS:
        raise PvkError("not a private key of RSA")
    body = blob[_BLOB_HEADER.size :]
    if not encrypted and not salt:
        return _key(body)
    if password is None:
        raise PvkPassword("a password is needed")
    # OpenSSL takes the password's bytes, Windows' own tools UTF-16.
    for encoded in (password.encode("utf-8", "surrogatepass"), password.encode("utf-16-le", "surrogatepass")):
        strong = _derived(salt, encoded)
        for key in (strong, strong[:5] + bytes(11)):
            plain = _rc4(key, body)
            if plain[:4] == b"RSA2":
                return _key(plain)
    raise PvkPassword("the password is wrong")


def _derived(salt: bytes, password: bytes) -> bytes:
    return hashlib.sha1(salt + password, usedforsecurity=False).digest()[:16]


def _key(body: bytes) -> rsa.RSAPrivateKey:
    try:
        magic, bits, exponent = _PUBLIC.unpack_from(body)
    except struct.error as error:
        raise PvkError("cut off") from error
    if magic != b"RSA2" or bits % 8 or not 512 <= bits <= _MOST_BITS:
        raise PvkError("not a private key of RSA")
    size = bits // 8
    half = (size + 1) // 2
    numbers: list[int] = []
    at = _PUBLIC.size
    for length in (size, half, half, half, half, half, size):
        part = body[at : at + length]
        if len(part) != length:
            raise PvkError("cut off")
        numbers.append(int.from_bytes(part, "little"))
        at += length
    modulus, p, q, dmp1, dmq1, iqmp, d = numbers
    try:
        return rsa.RSAPrivateNumbers(
            p, q, d, dmp1, dmq1, iqmp, rsa.RSAPublicNumbers(exponent, modulus)
        ).private_key()
    except ValueError as error:
        raise PvkError("the numbers are no key of RSA") from error


def _rc4(key: bytes, data: bytes) -> bytes:
    """RC4, which libraries of today leave out or hide: a thousand bytes once in a while."""
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) & 255
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) & 255
        j = (j + state[i]) & 255
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) & 255])
    return bytes(out)
