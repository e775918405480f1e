"""CREATE, ALTER and DROP ASYMMETRIC KEY."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from tdsproxy.catalog import certificates as x509
from tdsproxy.catalog.certificates import KeyFileError, KeyFilePassword
from tdsproxy.catalog.keys import AsymmetricKey, Protection, now
from tdsproxy.commands.context import Context
from tdsproxy.commands.key_clauses import Clauses
from tdsproxy.commands.key_files import read_key_file
from tdsproxy.commands.key_messages import key_fail, not_found
from tdsproxy.commands.key_ring import KeyRing, is_bound
from tdsproxy.tsql.replies import Message

NOUN: Final = "asymmetric key"
_OWNER: Final = 1
# RSA_512 and RSA_1024 are refused since compatibility level 130.
_ALGORITHMS: Final = {"RSA_2048": 2048, "RSA_3072": 3072, "RSA_4096": 4096}


def create(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    clauses.take("AUTHORIZATION")
    password = clauses.new_password("ENCRYPTION BY PASSWORD")
    file = clauses.take("FROM FILE")
    algorithm = None if file is not None else clauses.need("ALGORITHM")
    clauses.end()
    if ring.keys.asymmetric_key(name) is not None:
        raise key_fail(15396, name)
    if algorithm is not None:
        bits = _ALGORITHMS.get(algorithm.upper())
        if bits is None:
            raise key_fail(40510, f"CREATE ASYMMETRIC KEY WITH ALGORITHM = {algorithm.upper()}")
        key = x509.new_private_key(bits)
    else:
        try:
            key = x509.load_private(read_key_file(context, file or ""))
        except KeyFilePassword as error:
            raise key_fail(15465) from error
        except KeyFileError as error:
            raise key_fail(15208) from error
    der = x509.public_der(key.public_key())
    if any(other.der == der for other in ring.keys.asymmetric_keys()):
        raise key_fail(15396, name)
    record = AsymmetricKey(
        ring.keys.next_id(AsymmetricKey),
        name,
        _OWNER,
        der,
        key.key_size,
        Protection.NONE,
        None,
        now(),
    )
    protection, private = ring.seal(key, record.purpose, password)
    ring.keys.store(dataclasses.replace(record, protection=protection, private=private))
    yield from ()


def alter(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del context
    record = _existing(ring, name, "alter")
    if clauses.flag("REMOVE PRIVATE KEY"):
        clauses.end()
        if record.private is None:
            raise key_fail(15563, NOUN)
        ring.keys.store(dataclasses.replace(record, protection=Protection.NONE, private=None))
        return
    source = clauses.take("PRIVATE KEY DECRYPTION BY PASSWORD")
    password = clauses.new_password("PRIVATE KEY ENCRYPTION BY PASSWORD")
    clauses.end()
    protection, private = ring.seal(ring.private_key(record, source), record.purpose, password)
    ring.keys.store(dataclasses.replace(record, protection=protection, private=private))
    yield from ()


def drop(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    clauses.end()
    record = _existing(ring, name, "drop")
    if is_bound(context.env.catalog, record.thumbprint):
        raise key_fail(3716, NOUN, record.name, "database encryption key")
    ring.keys.drop(record)
    yield from ()


def _existing(ring: KeyRing, name: str, verb: str) -> AsymmetricKey:
    record = ring.keys.asymmetric_key(name)
    if record is None:
        raise not_found(verb, NOUN, name)
    return record
