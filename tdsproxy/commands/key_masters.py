"""CREATE, ALTER, DROP, OPEN, CLOSE, BACKUP and RESTORE MASTER KEY."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from tdsproxy.catalog.keys import MasterKey, Protection, now
from tdsproxy.commands.context import Context
from tdsproxy.commands.key_clauses import Clauses
from tdsproxy.commands.key_files import read_key_file, write_key_files
from tdsproxy.commands.key_messages import key_fail, key_message, not_found
from tdsproxy.commands.key_ring import KeyRing, noun
from tdsproxy.store.key_wrapping import (
    CannotUnwrap,
    new_key,
    unwrap,
    unwrap_with_password,
    wrap,
    wrap_with_password,
)
from tdsproxy.tsql.replies import Message

FILE_MAGIC: Final = b"tdsproxy master key 1\n"
"""How the file of BACKUP MASTER KEY begins; the key sealed by the password follows (``key_wrapping``)."""
FILE_PURPOSE: Final = "backup of a master key"

_KIND, _NAME = "symmetric key", "master key"


def create(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del context, name
    password = clauses.new_password("ENCRYPTION BY PASSWORD")
    clauses.end()
    if password is None:
        raise key_fail(15542)
    if ring.keys.master_key() is not None:
        raise key_fail(15578)
    ring.keys.set_master_key(_sealed(ring, new_key(), password))
    yield from ()


def _sealed(ring: KeyRing, key: bytes, password: str) -> MasterKey:
    """A new master key, under the service master key and the password."""
    moment = now()
    record = MasterKey(uuid.uuid4(), None, (), moment, moment)
    return dataclasses.replace(
        record,
        by_service=ring.service.seal(key, record.purpose),
        passwords=(wrap_with_password(password, key, record.purpose),),
    )


def alter(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del context, name
    record = _existing(ring, "alter")
    force = clauses.flag("FORCE")
    if clauses.flag("REGENERATE"):
        password = clauses.new_password("ENCRYPTION BY PASSWORD")
        clauses.end()
        if password is None:
            raise key_fail(15542)
        yield from _replace(ring, record, new_key(), password, force=force)
        return
    changed = _with_encryptions(ring, record, clauses)
    clauses.end()
    ring.keys.set_master_key(dataclasses.replace(changed, modified=now()))


def _with_encryptions(ring: KeyRing, record: MasterKey, clauses: Clauses) -> MasterKey:
    if clauses.flag("ADD ENCRYPTION BY SERVICE MASTER KEY"):
        return dataclasses.replace(record, by_service=ring.service.seal(ring.master_key(), record.purpose))
    if clauses.flag("DROP ENCRYPTION BY SERVICE MASTER KEY"):
        if record.by_service is None or not record.passwords:
            raise key_fail(15558, "encryption", "service master key", "")
        return dataclasses.replace(record, by_service=None)
    added = clauses.new_password("ADD ENCRYPTION BY PASSWORD")
    if added is not None:
        key = ring.master_key()
        if _find_password(record, added) is not None:
            raise key_fail(15579, "password", "")
        sealed = wrap_with_password(added, key, record.purpose)
        return dataclasses.replace(record, passwords=(*record.passwords, sealed))
    dropped = clauses.need("DROP ENCRYPTION BY PASSWORD")
    index = _find_password(record, dropped)
    # What no password opens any more could not be opened after a restore of master on another machine.
    if index is None or len(record.passwords) == 1:
        raise key_fail(15558, "encryption", "password", "")
    return dataclasses.replace(record, passwords=record.passwords[:index] + record.passwords[index + 1 :])


def _find_password(record: MasterKey, password: str) -> int | None:
    for index, sealed in enumerate(record.passwords):
        with suppress(CannotUnwrap):
            unwrap_with_password(password, sealed, record.purpose)
            return index
    return None


def drop(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del context, name
    clauses.end()
    _existing(ring, "drop")
    for holder in ring.holders():
        if holder.protection is Protection.MASTER_KEY:
            raise key_fail(15580, "master key", noun(holder), holder.name)
    ring.keys.drop_master_key()
    yield from ()


def open_(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del context, name
    password = clauses.need("DECRYPTION BY PASSWORD")
    clauses.end()
    ring.open_master_key(_existing(ring, "find"), password)
    yield from ()


def close(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del context, name
    clauses.end()
    _existing(ring, "find")
    ring.close_master_key()
    yield from ()


def backup(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del name
    file = clauses.need("TO FILE")
    password = clauses.new_password("ENCRYPTION BY PASSWORD")
    clauses.end()
    _existing(ring, "find")
    if password is None:
        raise key_fail(15542)
    content = FILE_MAGIC + wrap_with_password(password, ring.master_key(), FILE_PURPOSE)
    write_key_files(context, (file, content))
    yield from ()


def restore(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del name
    file = clauses.need("FROM FILE")
    old_password = clauses.need("DECRYPTION BY PASSWORD")
    password = clauses.new_password("ENCRYPTION BY PASSWORD")
    force = clauses.flag("FORCE")
    clauses.end()
    if password is None:
        raise key_fail(15542)
    key = read_key_backup(read_key_file(context, file, 15317), FILE_MAGIC, FILE_PURPOSE, old_password)
    record = ring.keys.master_key()
    if record is None:
        ring.keys.set_master_key(_sealed(ring, key, password))
    elif ring.find_master_key(record) == key:
        yield key_message(15588)
        ring.keys.set_master_key(_sealed(ring, key, password))
    else:
        yield from _replace(ring, record, key, password, force=force)


def read_key_backup(data: bytes, magic: bytes, purpose: str, password: str) -> bytes:
    """The key in a file of BACKUP [SERVICE] MASTER KEY. Raises CommandError 15317, 15465."""
    if not data.startswith(magic):
        raise key_fail(15317)
    try:
        return unwrap_with_password(password, data[len(magic) :], purpose)
    except CannotUnwrap as error:
        raise key_fail(15465) from error


def _replace(
    ring: KeyRing, record: MasterKey, key: bytes, password: str, *, force: bool
) -> Iterator[Message]:
    """Another master key: every private key under the old one comes under the new one."""
    old = ring.find_master_key(record)
    if old is None:
        if not force:
            raise key_fail(15329)
        yield key_message(15585)
    for holder in list(ring.holders()):
        if holder.protection is not Protection.MASTER_KEY or holder.private is None:
            continue
        plain = None
        # Those of a master that was restored from elsewhere may be under the new key already.
        for candidate in (key, old):
            with suppress(CannotUnwrap):
                if candidate is not None and plain is None:
                    plain = unwrap(candidate, holder.private, holder.purpose)
        if plain is not None:
            ring.keys.store(dataclasses.replace(holder, private=wrap(key, plain, holder.purpose)))
        elif force:
            yield key_message(15584, noun(holder), holder.name)
        else:
            raise key_fail(15320, noun(holder), holder.name)
    ring.keys.set_master_key(_sealed(ring, key, password))


def _existing(ring: KeyRing, verb: str) -> MasterKey:
    record = ring.keys.master_key()
    if record is None:
        raise not_found(verb, _KIND, _NAME)
    return record
