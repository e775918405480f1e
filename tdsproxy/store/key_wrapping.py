"""Secrets as they lie on the disk: sealed by another key, or by a password.

Both forms are AES-256-GCM; a password is stretched by scrypt first. ``purpose`` says what the secret is and
whose: it is authenticated, so that one sealed secret cannot be put in the place of another.

======  ====  ==================================================================
offset  size  content
======  ====  ==================================================================
0       1     1: sealed by a key; 2: sealed by a password
1       1     form 2 only: binary logarithm of scrypt's cost (RFC 7914: n; r is 8, p is 1)
..      16    form 2 only: scrypt's salt
..      12    nonce
..            ciphertext, and a tag of 16 bytes
======  ====  ==================================================================
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from tdsproxy.store.errors import CannotUnwrap

__all__ = [
    "KEY_SIZE",
    "CannotUnwrap",
    "new_key",
    "unwrap",
    "unwrap_with_password",
    "wrap",
    "wrap_with_password",
]

KEY_SIZE: Final = 32

_BY_KEY, _BY_PASSWORD = 1, 2
_NONCE: Final = 12
_SALT: Final = 16
_TAG: Final = 16
_COST: Final = 15
_GREATEST_COST: Final = 20


def new_key() -> bytes:
    """A random key of ``KEY_SIZE`` bytes."""
    return secrets.token_bytes(KEY_SIZE)


def wrap(key: bytes, secret: bytes, purpose: str) -> bytes:
    """``secret`` sealed by a key of ``KEY_SIZE`` bytes."""
    nonce = secrets.token_bytes(_NONCE)
    return bytes([_BY_KEY]) + nonce + AESGCM(key).encrypt(nonce, secret, purpose.encode())


def unwrap(key: bytes, sealed: bytes, purpose: str) -> bytes:
    """What ``wrap`` sealed. Raises CannotUnwrap."""
    if len(sealed) < 1 + _NONCE + _TAG or sealed[0] != _BY_KEY:
        raise CannotUnwrap("not sealed by a key")
    return _open(key, sealed[1:], purpose)


def wrap_with_password(password: str, secret: bytes, purpose: str) -> bytes:
    """``secret`` sealed by a password. Takes about a tenth of a second and 32 MiB, on purpose."""
    salt = secrets.token_bytes(_SALT)
    return bytes([_BY_PASSWORD, _COST]) + salt + wrap(_stretched(password, salt, _COST), secret, purpose)[1:]


def unwrap_with_password(password: str, sealed: bytes, purpose: str) -> bytes:
    """What ``wrap_with_password`` sealed. Raises CannotUnwrap."""
    if len(sealed) < 2 + _SALT + _NONCE + _TAG or sealed[0] != _BY_PASSWORD:
        raise CannotUnwrap("not sealed by a password")
    cost = sealed[1]
    if not 10 <= cost <= _GREATEST_COST:
        raise CannotUnwrap("scrypt's cost is not believed")
    salt, rest = sealed[2 : 2 + _SALT], sealed[2 + _SALT :]
    return _open(_stretched(password, salt, cost), rest, purpose)


def _stretched(password: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt=salt, length=KEY_SIZE, n=1 << cost, r=8, p=1).derive(
        password.encode("utf-8", "surrogatepass")
    )


def _open(key: bytes, sealed: bytes, purpose: str) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose.encode())
    except (InvalidTag, ValueError) as error:
        raise CannotUnwrap("the key does not open it") from error
