"""BACKUP, RESTORE and ALTER SERVICE MASTER KEY.

The key's file and master.db change together: the file gets the new key beside the old one, everything that
was sealed anew is committed, and then the old key goes (``finish``). An interruption anywhere leaves every
secret readable.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

import msgspec

from tdsproxy.commands.context import Context
from tdsproxy.commands.key_clauses import Clauses
from tdsproxy.commands.key_files import read_key_file, write_key_files
from tdsproxy.commands.key_masters import read_key_backup
from tdsproxy.commands.key_messages import key_fail, key_message
from tdsproxy.commands.key_ring import KeyRing
from tdsproxy.store.file_keys import purpose
from tdsproxy.store.key_wrapping import KEY_SIZE, CannotUnwrap, new_key, wrap, wrap_with_password
from tdsproxy.tsql.replies import Message

FILE_MAGIC: Final = b"tdsproxy service master key 1\n"
FILE_PURPOSE: Final = "backup of a service master key"


def backup(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del name
    file = clauses.need("TO FILE")
    password = clauses.new_password("ENCRYPTION BY PASSWORD")
    clauses.end()
    if password is None:
        raise key_fail(15542)
    content = FILE_MAGIC + wrap_with_password(password, ring.service.current(), FILE_PURPOSE)
    write_key_files(context, (file, content))
    yield from ()


def restore(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del name
    file = clauses.need("FROM FILE")
    password = clauses.need("DECRYPTION BY PASSWORD")
    force = clauses.flag("FORCE")
    clauses.end()
    key = read_key_backup(read_key_file(context, file, 15317), FILE_MAGIC, FILE_PURPOSE, password)
    if len(key) != KEY_SIZE:
        raise key_fail(15317)
    if ring.service.exists and ring.service.current() == key:
        yield key_message(15588)
        return
    yield from _replace(ring, key, force=force)


def alter(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    del context, name
    force = clauses.flag("FORCE")
    if not clauses.flag("REGENERATE"):
        raise key_fail(40510, "ALTER SERVICE MASTER KEY")
    clauses.end()
    yield from _replace(ring, new_key(), force=force)


def finish(ring: KeyRing) -> None:
    """To be called when the statement is committed. Raises OSError, CannotUnwrap."""
    if ring.service.exists:
        ring.service.end_replacement()


def _replace(ring: KeyRing, key: bytes, *, force: bool) -> Iterator[Message]:
    messages: list[Message] = []
    record = ring.keys.master_key()
    if record is not None and record.by_service is not None:
        try:
            plain = ring.service.open(record.by_service, record.purpose, also=key)
        except CannotUnwrap as error:
            if not force:
                raise key_fail(15320, "master key", "master") from error
            messages.append(key_message(15584, "master key", "master"))
        else:
            ring.keys.set_master_key(dataclasses.replace(record, by_service=wrap(key, plain, record.purpose)))
    for credential in ring.keys.credentials():
        if credential.secret is None:
            continue
        try:
            plain = ring.service.open(credential.secret, credential.purpose, also=key)
        except CannotUnwrap as error:
            if not force:
                raise key_fail(15320, "credential", credential.name) from error
            messages.append(key_message(15584, "credential", credential.name))
        else:
            ring.keys.store(dataclasses.replace(credential, secret=wrap(key, plain, credential.purpose)))
    ring.service.begin_replacement(key)
    # A key file is not part of the transaction; under either key it opens until the old one goes.
    for salt, document in ring.files.all():
        what = purpose(salt)
        try:
            if document is None:
                raise CannotUnwrap("the key file is damaged")
            plain = ring.service.open(document.sealed, what)
        except CannotUnwrap as error:
            if not force:
                raise key_fail(15320, "database encryption key", salt.hex()) from error
            messages.append(key_message(15584, "database encryption key", salt.hex()))
        else:
            ring.files.save(salt, msgspec.structs.replace(document, sealed=wrap(key, plain, what)))
    yield from messages
