"""CREATE, ALTER and DROP CREDENTIAL: names and secrets for places outside the server."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from tdsproxy.catalog.keys import Credential, now
from tdsproxy.commands.context import Context
from tdsproxy.commands.key_clauses import Clauses
from tdsproxy.commands.key_messages import key_fail, not_found
from tdsproxy.commands.key_ring import KeyRing
from tdsproxy.store.service_key import ServiceKey
from tdsproxy.tsql.replies import Message


def create(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del context
    identity, secret = _values(clauses)
    if ring.keys.credential(name) is not None:
        raise key_fail(15530, "credential", name)
    moment = now()
    record = Credential(ring.keys.next_id(Credential), name, identity, None, moment, moment)
    ring.keys.store(_with_secret(ring, record, secret))
    yield from ()


def alter(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    """Without SECRET the credential has none any more, as on SQL Server."""
    del context
    identity, secret = _values(clauses)
    record = ring.keys.credential(name)
    if record is None:
        raise not_found("alter", "credential", name)
    changed = dataclasses.replace(record, identity=identity, modified=now())
    ring.keys.store(_with_secret(ring, changed, secret))
    yield from ()


def drop(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del context
    clauses.end()
    record = ring.keys.credential(name)
    if record is None:
        raise not_found("drop", "credential", name)
    ring.keys.drop(record)
    yield from ()


def _values(clauses: Clauses) -> tuple[str, str | None]:
    identity = clauses.need("IDENTITY")
    secret = clauses.take("SECRET")
    if clauses.flag("FOR CRYPTOGRAPHIC PROVIDER"):
        raise key_fail(40510, "CREATE CREDENTIAL FOR CRYPTOGRAPHIC PROVIDER")
    clauses.end()
    return identity, secret


def _with_secret(ring: KeyRing, record: Credential, secret: str | None) -> Credential:
    sealed = None
    if secret is not None:
        sealed = ring.service.seal(secret.encode("utf-8", "surrogatepass"), record.purpose)
    return dataclasses.replace(record, secret=sealed)


def opened(service: ServiceKey, record: Credential) -> str | None:
    """The credential's secret, for whoever connects with it. Raises CannotUnwrap, OSError."""
    if record.secret is None:
        return None
    return service.open(record.secret, record.purpose).decode("utf-8", "surrogatepass")
