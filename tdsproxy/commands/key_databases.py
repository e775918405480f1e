"""Database encryption keys, and databases under them (transparent data encryption).

A key protects one database: its file and WAL are encrypted (``store.file_keys``), and so are the pages in its
log and in every backup set, whatever the statement says. The sets carry the key, wrapped for the certificate
that protects it.
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw

from tdsproxy.catalog import certificates as x509
from tdsproxy.catalog.databases import Database, DatabaseState
from tdsproxy.catalog.keys import DatabaseKey, now
from tdsproxy.catalog.recovery import LogChain
from tdsproxy.commands.context import Context
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.key_clauses import Clauses
from tdsproxy.commands.key_encryption import (
    ASYMMETRIC_KEY,
    CERTIFICATE,
    find_encryptor,
    missing_key,
    unwrapping,
)
from tdsproxy.commands.key_messages import key_fail
from tdsproxy.commands.key_ring import Holder, KeyRing, ring_of
from tdsproxy.commands.log_chain import drop_log, start_log, stop_log
from tdsproxy.commands.recovery import copy_file, new_image, remove_kept
from tdsproxy.media.documents import EncryptionEnvelope
from tdsproxy.media.reader import SetInfo
from tdsproxy.media.sealing import KeyMissing
from tdsproxy.store.errors import CannotUnwrap, DatabaseUnreadable, StoreError
from tdsproxy.store.file_keys import (
    KEY_BYTES,
    StoredKey,
    change_key,
    connect,
    find_key,
    new_file_key,
    purpose,
    salt_of,
)
from tdsproxy.store.files import rename_durably, sidecars
from tdsproxy.store.install import wait_for_release
from tdsproxy.tsql.replies import Message

_ALGORITHM: Final = "AES_256"
_RELEASE_SECONDS: Final = 10.0
# SQLite wants 480 bytes of a page for itself.
_LEAST_PAGE: Final = 1024
_BY: Final = {
    "ENCRYPTION BY SERVER CERTIFICATE": CERTIFICATE,
    "ENCRYPTION BY SERVER ASYMMETRIC KEY": ASYMMETRIC_KEY,
}


def create(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    """CREATE DATABASE ENCRYPTION KEY."""
    del name
    database = _current(context)
    algorithm = clauses.need("ALGORITHM").upper()
    kind, encryptor = _encryptor(clauses)
    clauses.end()
    if algorithm != _ALGORITHM:
        # The scheme of the files has no other.
        raise key_fail(40510, f"CREATE DATABASE ENCRYPTION KEY WITH ALGORITHM = {algorithm}")
    if database.guid in ring.keys.database_keys():
        raise key_fail(33103)
    holder, public, warnings = find_encryptor(context, ring, kind, encryptor)
    key = new_file_key()
    _save(context, key, kind, holder, x509.wrap_set_key(public, key))
    ring.keys.set_database_key(database.guid, DatabaseKey(key[KEY_BYTES:], False))
    yield from warnings


def alter(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    """ALTER DATABASE ENCRYPTION KEY: another certificate protects the key."""
    del name
    database = _current(context)
    if clauses.flag("REGENERATE"):
        raise key_fail(40510, "ALTER DATABASE ENCRYPTION KEY REGENERATE")
    kind, encryptor = _encryptor(clauses)
    clauses.end()
    known = ring.keys.database_keys().get(database.guid)
    key = None if known is None else context.env.catalog.file_keys.key(known.salt)
    if key is None:
        raise key_fail(33104)
    holder, public, warnings = find_encryptor(context, ring, kind, encryptor)
    _save(context, key, kind, holder, x509.wrap_set_key(public, key))
    yield from warnings


def drop(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    """DROP DATABASE ENCRYPTION KEY."""
    del name
    clauses.end()
    database = _current(context)
    known = ring.keys.database_keys().get(database.guid)
    if known is None:
        raise key_fail(33104)
    if known.encrypted or _salt_of(context.env, database) == known.salt:
        raise key_fail(33105)
    forget_key(context.env, database)
    yield from ()


def _current(context: Context) -> Database:
    """Raises CommandError 33102, 15247."""
    database = context.env.database(context.session.database)
    if database is None or not context.may_alter(database):
        raise key_fail(15247)
    if database.is_system:
        raise key_fail(33102)
    return database


def _encryptor(clauses: Clauses) -> tuple[str, str]:
    for words, kind in _BY.items():
        name = clauses.take(words)
        if name is not None:
            return kind, name
    raise key_fail(15542)


def _save(context: Context, key: bytes, kind: str, holder: Holder, wrapped: bytes) -> None:
    catalog, salt = context.env.catalog, key[KEY_BYTES:]
    document = StoredKey(
        algorithm=_ALGORITHM,
        encryptor_type=kind,
        thumbprint=holder.thumbprint,
        wrapped=wrapped,
        sealed=catalog.service_key.seal(key[:KEY_BYTES], purpose(salt)),
        created=now().isoformat(" "),
    )
    catalog.file_keys.save(salt, document)


def forget_key(env: CommandEnvironment, database: Database) -> None:
    """The database, which may be gone, has no key any more. What another file is under stays."""
    keys, databases = env.catalog.keys, env.catalog.databases
    known = keys.database_keys()
    if database.guid not in known:
        return
    salt = known.pop(database.guid).salt
    keys.set_database_key(database.guid, None)
    others = [other for other in databases.all() if other.id != database.id and other.file]
    if salt not in {key.salt for key in known.values()} | {_salt_of(env, other) for other in others}:
        env.catalog.file_keys.remove(salt)


def _salt_of(env: CommandEnvironment, database: Database) -> bytes | None:
    """None also for a file that is not there."""
    try:
        return salt_of(database.path(env.catalog.store))
    except DatabaseUnreadable:
        return None


# --------------------------------------------------------------------------- backup and restore


def envelope_of(context: Context, database: Database) -> EncryptionEnvelope | None:
    """What a backup set says of the key of the database's file; None for a plain one."""
    catalog = context.env.catalog
    try:
        salt = salt_of(database.path(catalog.store))
    except DatabaseUnreadable:  # the tail of the log of a database whose file is lost
        known = catalog.keys.database_keys().get(database.guid)
        salt = known.salt if known is not None and known.encrypted else None
    document = None if salt is None else catalog.file_keys.find(salt)
    if document is None:
        return None
    return EncryptionEnvelope(
        algorithm=document.algorithm.lower(),
        thumbprint=document.thumbprint,
        encryptor_type=document.encryptor_type,
        wrapped_key=document.wrapped,
    )


def require_key(context: Context, info: SetInfo) -> None:
    """For who asks what a set of an encrypted database holds. Raises CommandError as ``take_key``."""
    envelope = info.header.description.database_key
    if envelope is not None:
        try:
            unwrapping(ring_of(context))(envelope)
        except KeyMissing as error:
            raise CommandError(missing_key(error)) from error


def take_key(context: Context, info: SetInfo) -> bytes | None:
    """Before a set is restored: the key that its pages are under is put into the store. Its salt; None for a
    set of plain pages. Raises CommandError 33111, 15581, 15466, 33101."""
    envelope = info.header.description.database_key
    if envelope is None:
        return None
    ring = ring_of(context)
    try:
        key = unwrapping(ring)(envelope)
    except KeyMissing as error:
        raise CommandError(missing_key(error)) from error
    salt = key[KEY_BYTES:]
    if not _is_readable(context, salt):
        holder = ring.by_thumbprint(envelope.thumbprint)
        if holder is None:
            raise CommandError(missing_key(KeyMissing(envelope)))
        _save(context, key, envelope.encryptor_type, holder, envelope.wrapped_key)
    return salt


def _is_readable(context: Context, salt: bytes) -> bool:
    """Whether the store has this key and can open it."""
    try:
        return context.env.catalog.file_keys.key(salt) is not None
    except CannotUnwrap:
        return False


def require_same_key(path: Path, salt: bytes | None) -> None:
    """A file keeps its key for life: what is restored over it must be under the same. Raises CommandError."""
    try:
        found = salt_of(path) if path.exists() else salt
    except DatabaseUnreadable:
        return
    if found != salt:
        text = "The backup set and the database are not encrypted by the same key. Drop the database first."
        raise CommandError(Message(3169, 16, 1, text))


def note_key(context: Context, database: Database, salt: bytes | None) -> None:
    """A restore has put pages under this key into the database."""
    keys = context.env.catalog.keys
    keys.set_database_key(database.guid, None if salt is None else DatabaseKey(salt, True))


# --------------------------------------------------------------------------- ALTER DATABASE SET ENCRYPTION


def set_encryption(context: Context, database: Database, value: str) -> None:
    """Rewrites the file. Nobody can use the database meanwhile, and a full backup must follow: earlier log
    and differentials do not fit the new pages. Raises CommandError."""
    env = context.env
    if database.is_system:
        raise key_fail(33102)
    known = env.catalog.keys.database_keys().get(database.guid)
    if known is None:
        raise key_fail(33106)
    wanted = value == "ON"
    if value not in ("ON", "OFF") or (_salt_of(env, database) == known.salt) == wanted:
        return
    if database.read_only:
        raise fail(5004)
    if context.others_in(database):
        raise fail(5070, database.name)
    if database.state is not DatabaseState.ONLINE or database.standby is not None:
        raise fail(5061, database.name)
    key = env.catalog.file_keys.key(known.salt)
    if key is None:
        raise key_fail(33106)
    with env.locks.hold(database.name) as free:
        if not free:
            raise fail(3023)
        _rewrite(env, database, key if wanted else b"")
        env.catalog.keys.set_database_key(database.guid, dataclasses.replace(known, encrypted=wanted))


def _rewrite(env: CommandEnvironment, database: Database, key: bytes) -> None:
    databases = env.catalog.databases
    path = database.path(env.catalog.store)
    # A crash leaves the database offline: SET ONLINE goes on with the file that is there.
    databases.update(database.id, state=DatabaseState.OFFLINE)
    image = new_image(env)
    changes: dict[str, object] = {"state": database.state}
    try:
        env.sessions.release(database.name)
        stop_log(env, database)
        wait_for_release(path, _RELEASE_SECONDS)
        _convert(path, image, key)
        for stale in sidecars(path):
            stale.unlink(missing_ok=True)
        rename_durably(image, path)
        remove_kept(env, database)
        drop_log(env, database)
        changes |= {"fork": uuid.uuid4(), "chain": LogChain(), "kept": None}
    except (StoreError, apsw.Error, OSError) as error:
        raise fail(5061, database.name) from error
    finally:
        image.unlink(missing_ok=True)
        start_log(env, databases.update(database.id, **changes))


def _convert(path: Path, image: Path, key: bytes) -> None:
    """``image`` becomes a copy of the database under ``key``, a plain one for b""."""
    connection = connect(path)
    try:
        page_size = int(str(connection.pragma("page_size")))
        if page_size < _LEAST_PAGE:
            text = (
                f"A database with pages of {page_size} bytes cannot be encrypted: {_LEAST_PAGE} are needed."
            )
            raise CommandError(Message(0, 16, 1, text))
        wal = connection.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
        # All of it is in the one file then.
        if connection.execute("PRAGMA journal_mode = DELETE").fetchall() != [("delete",)]:
            raise apsw.BusyError("the write-ahead log cannot be ended")
    finally:
        connection.close()
    copy_file(path, image)
    change_key(image, find_key(image) or b"", key)
    connection = connect(image)
    try:
        if connection.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
            raise apsw.CorruptError("the converted file is not sound")
        if wal:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        connection.close()
    with image.open("r+b") as file:
        os.fsync(file.fileno())
