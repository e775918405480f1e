"""CREATE, ALTER, DROP and BACKUP CERTIFICATE."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from tdsproxy.catalog import certificates as x509
from tdsproxy.catalog.certificates import KeyFileError, KeyFilePassword
from tdsproxy.catalog.keys import Certificate, Protection, now
from tdsproxy.catalog.pvk import write_pvk
from tdsproxy.commands.context import Context
from tdsproxy.commands.key_clauses import Clauses
from tdsproxy.commands.key_files import read_key_file, write_key_files
from tdsproxy.commands.key_messages import key_fail, key_message, not_found
from tdsproxy.commands.key_ring import KeyRing, is_bound
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.values import DateTime

NOUN: Final = "certificate"
_OWNER: Final = 1
_KEY: Final = "PRIVATE KEY "
_BY_PASSWORD: Final = "ENCRYPTION BY PASSWORD"
_FROM_PASSWORD: Final = "DECRYPTION BY PASSWORD"


def create(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    clauses.take("AUTHORIZATION")
    if ring.keys.certificate(name) is not None:
        raise key_fail(15232, name)
    subject = clauses.take("SUBJECT")
    key: rsa.RSAPrivateKey | None
    warnings: list[Message] = []
    if subject is not None:
        der, key, password, warnings = _self_signed(clauses, subject)
    else:
        der, key, password = _imported(context, clauses)
    if any(other.der == der for other in ring.keys.certificates()):
        raise key_fail(15232, name)
    record = Certificate(
        ring.keys.next_id(Certificate), name, _OWNER, der, Protection.NONE, None, True, None, now()
    )
    ring.keys.store(record if key is None else _with_key(ring, record, key, password))
    yield from warnings


def _with_key(
    ring: KeyRing, record: Certificate, key: rsa.RSAPrivateKey, password: str | None
) -> Certificate:
    protection, private = ring.seal(key, record.purpose, password)
    return dataclasses.replace(record, protection=protection, private=private)


def _self_signed(
    clauses: Clauses, subject: str
) -> tuple[bytes, rsa.RSAPrivateKey, str | None, list[Message]]:
    password = clauses.new_password(_BY_PASSWORD)
    begins, ends = clauses.take("START_DATE"), clauses.take("EXPIRY_DATE")
    clauses.take("ACTIVE FOR BEGIN_DIALOG")
    clauses.end()
    if not 1 <= len(subject) <= x509.LONGEST_SUBJECT:
        raise key_fail(15212, x509.LONGEST_SUBJECT)
    present = dt.datetime.now(dt.UTC)
    not_before = present if begins is None else _moment(begins)
    not_after = _year_after(not_before) if ends is None else _moment(ends)
    if not_after < not_before:
        raise key_fail(15468, NOUN)
    key = x509.new_private_key()
    try:
        der = x509.self_signed(key, subject, not_before, not_after)
    except KeyFileError as error:
        raise key_fail(15468, NOUN) from error
    warnings = []
    if not_after < present:
        warnings.append(key_message(15214))
    elif not_before > present:
        warnings.append(key_message(15215))
    return der, key, password, warnings


def _moment(text: str) -> dt.datetime:
    """A date of T-SQL, which is UTC here. Raises SqlError 241, 242."""
    value = convert(text, t.nvarchar(4000), t.DATETIME)
    if not isinstance(value, DateTime):
        raise key_fail(15468, NOUN)
    return value.to_python().replace(tzinfo=dt.UTC)


def _year_after(moment: dt.datetime) -> dt.datetime:
    try:
        return moment.replace(year=moment.year + 1)
    except ValueError:  # the 29th of February
        return moment.replace(year=moment.year + 1, day=28)


def _imported(context: Context, clauses: Clauses) -> tuple[bytes, rsa.RSAPrivateKey | None, str | None]:
    """The certificate of a file or of bytes, its private key, and the password to seal that with."""
    for words in ("FROM ASSEMBLY", "FROM EXECUTABLE FILE"):
        if clauses.flag(words):
            raise key_fail(40510, f"CREATE CERTIFICATE {words}")
    file, binary = clauses.take("FROM FILE"), clauses.binary("FROM BINARY")
    if (file is None) == (binary is None):
        clauses.end()
        raise key_fail(15208)
    data = read_key_file(context, file) if file is not None else binary or b""
    if _is_pfx(clauses):
        source = clauses.take(_KEY + _FROM_PASSWORD)
        password = clauses.new_password(_KEY + _BY_PASSWORD)
        clauses.take("ACTIVE FOR BEGIN_DIALOG")
        clauses.end()
        try:
            der, key = x509.read_pfx(data, source)
        except KeyFileError as error:
            raise _unusable(error, file) from error
        return der, key, password
    key, password = _private_key(context, clauses)
    clauses.take("ACTIVE FOR BEGIN_DIALOG")
    clauses.end()
    try:
        der = x509.certificate_der(data)
        public = x509.load_certificate(der)[1]
    except KeyFileError as error:
        raise _unusable(error, file) from error
    _require_match(key, public)
    return der, key, password


def _private_key(context: Context, clauses: Clauses) -> tuple[rsa.RSAPrivateKey | None, str | None]:
    """What PRIVATE KEY (...) names, and the password to seal it with."""
    file, binary = clauses.take(f"{_KEY}FILE"), clauses.binary(f"{_KEY}BINARY")
    source = clauses.take(_KEY + _FROM_PASSWORD)
    password = clauses.new_password(_KEY + _BY_PASSWORD)
    if file is None and binary is None:
        return None, password
    data = read_key_file(context, file) if file is not None else binary or b""
    try:
        return x509.load_private(data, source), password
    except KeyFileError as error:
        raise _unusable(error, file) from error


def _unusable(error: KeyFileError, file: str | None) -> Exception:
    if isinstance(error, KeyFilePassword):
        return key_fail(15465)
    return key_fail(15297 if file is None else 15208)


def _require_match(key: rsa.RSAPrivateKey | None, public: rsa.RSAPublicKey) -> None:
    if key is not None and key.public_key().public_numbers() != public.public_numbers():
        raise key_fail(15474, NOUN)


def _is_pfx(clauses: Clauses) -> bool:
    """Raises CommandError 15297 for another format."""
    format_ = clauses.take("FORMAT")
    if format_ is not None and format_.upper() != "PFX":
        raise key_fail(15297)
    return format_ is not None


def alter(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    record = _existing(ring, name, "alter")
    if clauses.flag("REMOVE PRIVATE KEY"):
        clauses.end()
        if record.private is None:
            raise key_fail(15563, NOUN)
        ring.keys.store(dataclasses.replace(record, protection=Protection.NONE, private=None))
        return
    active = clauses.take("ACTIVE FOR BEGIN_DIALOG")
    if active is not None:
        clauses.end()
        ring.keys.store(dataclasses.replace(record, begin_dialog=active.upper() == "ON"))
        return
    from_file = clauses.has(f"{_KEY}FILE") or clauses.has(f"{_KEY}BINARY")
    if from_file:
        key, password = _private_key(context, clauses)
        clauses.end()
        _require_match(key, x509.load_certificate(record.der)[1])
    else:
        source = clauses.take(_KEY + _FROM_PASSWORD)
        password = clauses.new_password(_KEY + _BY_PASSWORD)
        clauses.end()
        key = ring.private_key(record, source)
    if key is not None:
        ring.keys.store(_with_key(ring, record, key, password))
    yield from ()


def drop(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    clauses.end()
    record = _existing(ring, name, "drop")
    if is_bound(context.env.catalog, record.thumbprint):
        raise key_fail(3716, NOUN, record.name, "database encryption key")
    ring.keys.drop(record)
    yield from ()


def backup(context: Context, ring: KeyRing, name: str, clauses: Clauses) -> Iterator[Message]:
    record = _existing(ring, name, "find")
    file = clauses.need("TO FILE")
    pfx = _is_pfx(clauses)
    key_file = None if pfx else clauses.take(f"{_KEY}FILE")
    password = clauses.new_password(_KEY + _BY_PASSWORD)
    source = clauses.take(_KEY + _FROM_PASSWORD)
    clauses.take(f"{_KEY}ALGORITHM")
    clauses.end()
    if not pfx and key_file is None:
        write_key_files(context, (file, record.der))
        return
    if record.private is None:
        raise key_fail(15246, record.name)
    if password is None:
        raise key_fail(15146, NOUN)
    if source is not None and record.protection is Protection.MASTER_KEY:
        raise key_fail(15147, NOUN)
    key = ring.private_key(record, source)
    if pfx:
        write_key_files(context, (file, x509.write_pfx(record.name, record.der, key, password)))
    else:
        write_key_files(context, (file, record.der), (key_file or "", write_pvk(key, password)))
    ring.keys.store(dataclasses.replace(record, backed_up=now()))
    yield from ()


def _existing(ring: KeyRing, name: str, verb: str) -> Certificate:
    record = ring.keys.certificate(name)
    if record is None:
        raise not_found(verb, NOUN, name)
    return record
