"""The cipher of encrypted backup sets: AES in Galois/Counter Mode, with a key that one set alone has.

The nonce is the payload's index, 12 bytes, big-endian: it is never used twice under one key. The tag of 16
bytes lies behind the ciphertext, and covers what names the payload's place, too.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tdsproxy.media.sealing import Buffer, SealBroken

KEY_SIZES: Final = {"AES_128": 16, "AES_192": 24, "AES_256": 32}
"""The algorithms of BACKUP WITH ENCRYPTION, and the bytes of their keys."""

_NONCE: Final = 12


def new_set_key(algorithm: str) -> bytes:
    """A random key for one set. Raises KeyError for an algorithm that is not of ``KEY_SIZES``."""
    return secrets.token_bytes(KEY_SIZES[algorithm])


class AesGcm:
    """Implements ``sealing.ChunkCipher``. Frees the interpreter lock while it works."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, index: int, plaintext: Buffer, associated: bytes) -> bytes:
        return self._cipher.encrypt(_nonce(index), plaintext, associated)

    def open(self, index: int, ciphertext: Buffer, associated: bytes) -> bytes:
        try:
            return self._cipher.decrypt(_nonce(index), ciphertext, associated)
        except (InvalidTag, ValueError) as error:
            raise SealBroken("the seal does not open") from error

    def __repr__(self) -> str:
        return "AesGcm()"


def _nonce(index: int) -> bytes:
    return index.to_bytes(_NONCE, "big")
