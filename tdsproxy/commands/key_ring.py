"""Opening what ``catalog.keys`` holds: from the service master key, or a password, to a private key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric import rsa

from tdsproxy.catalog.catalog import Catalog
from tdsproxy.catalog.certificates import KeyFileError, load_own_private, private_der
from tdsproxy.catalog.keys import AsymmetricKey, Certificate, Keys, MasterKey, Protection
from tdsproxy.commands.context import Context
from tdsproxy.commands.key_messages import key_fail
from tdsproxy.commands.open_keys import OpenMasterKeys
from tdsproxy.store.file_keys import FileKeys
from tdsproxy.store.key_wrapping import (
    CannotUnwrap,
    unwrap,
    unwrap_with_password,
    wrap,
    wrap_with_password,
)
from tdsproxy.store.service_key import ServiceKey

Holder = Certificate | AsymmetricKey
"""What has a private key."""


def noun(holder: Holder | type[Certificate] | type[AsymmetricKey]) -> str:
    """What messages call it."""
    kind = holder if isinstance(holder, type) else type(holder)
    return "certificate" if kind is Certificate else "asymmetric key"


class KeyRing:
    """The keys of a store as one session may use them. Raises CommandError in SQL Server's words.

    ``opened`` is what the session has opened itself; ``spid`` and ``login`` say which that is.
    """

    def __init__(
        self,
        keys: Keys,
        service: ServiceKey,
        files: FileKeys,
        opened: OpenMasterKeys,
        spid: int = 0,
        login: str = "",
    ) -> None:
        self.keys = keys
        self.service = service
        self.files = files
        self._opened = opened
        self._spid = spid
        self._login = login

    # ------------------------------------------------------------------ the master key

    def master_key(self) -> bytes:
        """Raises CommandError 15581 when there is none, or none that is open."""
        found = self.keys.master_key()
        key = None if found is None else self.find_master_key(found)
        if key is None:
            raise key_fail(15581)
        return key

    def find_master_key(self, record: MasterKey) -> bytes | None:
        """The key itself, opened by this session or by the service master key; None when neither does."""
        opened = self._opened.find(self._spid, self._login, record.guid)
        if opened is None and record.by_service is not None:
            with suppress(CannotUnwrap):
                return self.service.open(record.by_service, record.purpose)
        return opened

    def open_master_key(self, record: MasterKey, password: str) -> bytes:
        """Opens the key for this session. Raises CommandError 15313."""
        key = unlock_master_key(record, password)
        self._opened.open(self._spid, self._login, record.guid, key)
        return key

    def close_master_key(self) -> bool:
        """Whether it was open."""
        return self._opened.close(self._spid)

    # ------------------------------------------------------------------ private keys

    def private_key(self, holder: Holder, password: str | None = None) -> rsa.RSAPrivateKey:
        """The private key of ``holder``, which has one; ``password`` is that of Protection.PASSWORD.

        Raises CommandError 15334, 15465, 15466, 15581.
        """
        if holder.private is None:
            raise key_fail(15563, noun(holder))
        try:
            if holder.protection is Protection.MASTER_KEY:
                plain = unwrap(self.master_key(), holder.private, holder.purpose)
            elif password is None:
                raise key_fail(15334, noun(holder))
            else:
                plain = unwrap_with_password(password, holder.private, holder.purpose)
        except CannotUnwrap as error:
            number = 15466 if holder.protection is Protection.MASTER_KEY else 15465
            raise key_fail(number) from error
        try:
            return load_own_private(plain)
        except KeyFileError as error:
            raise key_fail(15466) from error

    def seal(self, key: rsa.RSAPrivateKey, purpose: str, password: str | None) -> tuple[Protection, bytes]:
        """A key sealed by the password, or without one by the master key. Raises CommandError 15581."""
        plain = private_der(key)
        if password is not None:
            return Protection.PASSWORD, wrap_with_password(password, plain, purpose)
        return Protection.MASTER_KEY, wrap(self.master_key(), plain, purpose)

    def holders(self) -> Iterator[Holder]:
        """Certificates, then asymmetric keys."""
        yield from self.keys.certificates()
        yield from self.keys.asymmetric_keys()

    def by_thumbprint(self, thumbprint: bytes) -> Holder | None:
        """Who has this thumbprint."""
        return next((holder for holder in self.holders() if holder.thumbprint == thumbprint), None)


def unlock_master_key(record: MasterKey, password: str) -> bytes:
    """The key that one of its passwords opens. Raises CommandError 15313."""
    for sealed in record.passwords:
        with suppress(CannotUnwrap):
            return unwrap_with_password(password, sealed, record.purpose)
    raise key_fail(15313)


def ring_of(context: Context) -> KeyRing:
    """The store's keys as the statement's session may use them."""
    catalog, session = context.env.catalog, context.session
    return KeyRing(
        catalog.keys,
        catalog.service_key,
        catalog.file_keys,
        context.env.open_keys,
        session.spid,
        session.login,
    )


def is_bound(catalog: Catalog, thumbprint: bytes) -> bool:
    """Whether a certificate or asymmetric key protects the key of a database, or may do so: what protects a
    key whose file is damaged or lost cannot be told, and it leads to the key in the backups."""
    documents = dict(catalog.file_keys.all())
    for key in catalog.keys.database_keys().values():
        document = documents.get(key.salt)
        if document is None or document.thumbprint == thumbprint:
            return True
    return False
