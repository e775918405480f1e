"""Keys for sets that are read outside a server: those of a store, or a file of BACKUP CERTIFICATE."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from tdsproxy.catalog import certificates as x509
from tdsproxy.catalog.catalog import MASTER, Catalog
from tdsproxy.commands.key_encryption import ring_keys
from tdsproxy.commands.key_ring import KeyRing
from tdsproxy.commands.open_keys import OpenMasterKeys
from tdsproxy.media.documents import EncryptionEnvelope
from tdsproxy.media.encryption import AesGcm
from tdsproxy.media.sealing import ChunkCipher, KeyMissing, Keys, no_keys

__all__ = ["Keys", "file_keys", "store_keys"]


@contextmanager
def store_keys(store: Path) -> Iterator[Keys]:
    """The keys of a store, which may be served meanwhile; none where there is no store."""
    if not (store / MASTER).exists():
        yield no_keys
        return
    with Catalog(store) as catalog:
        yield ring_keys(KeyRing(catalog.keys, catalog.service_key, OpenMasterKeys()))


def file_keys(data: bytes, password: str | None) -> Keys:
    """The key of a PVK, PEM, DER or PFX file. Raises KeyFileError, KeyFilePassword."""
    key = _private_key(data, password)

    def cipher(envelope: EncryptionEnvelope) -> ChunkCipher:
        try:
            return AesGcm(x509.unwrap_set_key(key, envelope.wrapped_key))
        except (x509.KeyFileError, ValueError) as error:
            raise KeyMissing(envelope) from error

    return cipher


def _private_key(data: bytes, password: str | None) -> rsa.RSAPrivateKey:
    try:
        return x509.load_private(data, password)
    except x509.KeyFilePassword:
        raise
    except x509.KeyFileError:
        key = x509.read_pfx(data, password)[1]
        if key is None:
            raise x509.KeyFileError("the file holds no private key") from None
        return key
