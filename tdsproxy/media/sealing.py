"""How the content of an encrypted backup set is sealed: what ``media`` needs of a cipher, and nothing more.

Every payload of pages and of log is sealed by itself, after compression, so that it can be read alone, in any
thread and order. The records' headers, the set's header and trailer and its indexes stay in clear: HEADERONLY
needs no key. Page images and their digests do not (see ``format``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tdsproxy.media.documents import EncryptionEnvelope

Buffer = bytes | bytearray | memoryview


class SealBroken(ValueError):
    """A sealed payload is not what was written, or was written in another place or with another key."""


class KeyMissing(Exception):
    """The private key that unwraps a set's key is not here; ``thumbprint`` says whose it is."""

    def __init__(self, envelope: EncryptionEnvelope) -> None:
        super().__init__(f"no key for {envelope.encryptor_type} 0x{envelope.thumbprint.hex().upper()}")
        self.envelope = envelope


class ChunkCipher(Protocol):
    """The cipher of one backup set, with a key that no other set has. For any thread.

    ``index``, below 2**63, is never used twice under one key, also not by another stripe of the set, so it
    can serve as the nonce; all copies of a mirrored stripe hold the same sealed bytes. ``associated`` names
    the payload's kind, place and size; it is authenticated, not stored.
    """

    def seal(self, index: int, plaintext: Buffer, associated: bytes) -> bytes:
        """The ciphertext with its tag, a few bytes longer than ``plaintext``."""

    def open(self, index: int, ciphertext: Buffer, associated: bytes) -> bytes:
        """The plaintext. Raises SealBroken."""


@dataclass(frozen=True, slots=True)
class SetSealing:
    """What a backup that encrypts is given: the envelope goes into the set's header."""

    envelope: EncryptionEnvelope
    cipher: ChunkCipher


Keys = Callable[[EncryptionEnvelope], ChunkCipher]
"""Gives the cipher of a set that is read. Raises KeyMissing."""


def no_keys(envelope: EncryptionEnvelope) -> ChunkCipher:
    """For readers that have none."""
    raise KeyMissing(envelope)
