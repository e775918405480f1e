"""Keys for sets that are read outside a server: those of a store, or a file of BACKUP CERTIFICATE."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from tdsproxy.catalog import certificates as x509
from tdsproxy.catalog.catalog import MASTER, Catalog
from tdsproxy.commands.key_encryption import Unwrap, unwrapping
from tdsproxy.commands.key_ring import KeyRing
from tdsproxy.commands.open_keys import OpenMasterKeys
from tdsproxy.media.documents import EncryptionEnvelope
from tdsproxy.media.sealing import KeyMissing

__all__ = ["Unwrap", "file_keys", "nothing", "store_keys"]


@contextmanager
def store_keys(store: Path) -> Iterator[Unwrap]:
    """The keys of a store, which may be served meanwhile; none where there is no store."""
    if not (store / MASTER).exists():
        yield nothing
        return
    with Catalog(store) as catalog:
        yield unwrapping(KeyRing(catalog.keys, catalog.service_key, catalog.file_keys, OpenMasterKeys()))


def file_keys(data: bytes, password: str | None) -> Unwrap:
    """The key of a PVK, PEM, DER or PFX file. Raises KeyFileError, KeyFilePassword."""
    key = _private_key(data, password)

    def unwrap(envelope: EncryptionEnvelope) -> bytes:
        try:
            return x509.unwrap_set_key(key, envelope.wrapped_key)
        except x509.KeyFileError as error:
            raise KeyMissing(envelope) from error

    return unwrap


def nothing(envelope: EncryptionEnvelope) -> bytes:
    """For those who have no keys."""
    raise KeyMissing(envelope)


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
