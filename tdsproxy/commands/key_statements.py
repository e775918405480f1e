"""Statements about master keys, certificates, asymmetric keys and credentials: who may, and who does it.

Keys of databases other than master do not exist here: what they would serve (encrypted columns, signed
modules) does not either. The passwords in these statements are never shown: not in messages, not in logs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tdsproxy.catalog.names import name_key
from tdsproxy.commands import (
    key_asymmetric,
    key_certificates,
    key_credentials,
    key_databases,
    key_masters,
    key_service,
)
from tdsproxy.commands.context import Context
from tdsproxy.commands.key_clauses import Clauses
from tdsproxy.commands.key_messages import key_fail
from tdsproxy.commands.key_ring import KeyRing, ring_of
from tdsproxy.store.key_wrapping import CannotUnwrap
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Done, Message

Handler = Callable[[Context, KeyRing, str, Clauses], Iterator[Message]]

_IN_MASTER: Final[dict[str, Handler]] = {
    "CREATE MASTER KEY": key_masters.create,
    "ALTER MASTER KEY": key_masters.alter,
    "DROP MASTER KEY": key_masters.drop,
    "OPEN MASTER KEY": key_masters.open_,
    "CLOSE MASTER KEY": key_masters.close,
    "BACKUP MASTER KEY": key_masters.backup,
    "RESTORE MASTER KEY": key_masters.restore,
    "CREATE CERTIFICATE": key_certificates.create,
    "ALTER CERTIFICATE": key_certificates.alter,
    "DROP CERTIFICATE": key_certificates.drop,
    "BACKUP CERTIFICATE": key_certificates.backup,
    "CREATE ASYMMETRIC KEY": key_asymmetric.create,
    "ALTER ASYMMETRIC KEY": key_asymmetric.alter,
    "DROP ASYMMETRIC KEY": key_asymmetric.drop,
}
_OF_SERVER: Final[dict[str, Handler]] = {
    "BACKUP SERVICE MASTER KEY": key_service.backup,
    "RESTORE SERVICE MASTER KEY": key_service.restore,
    "ALTER SERVICE MASTER KEY": key_service.alter,
    "CREATE CREDENTIAL": key_credentials.create,
    "ALTER CREDENTIAL": key_credentials.alter,
    "DROP CREDENTIAL": key_credentials.drop,
}
_IN_DATABASE: Final[dict[str, Handler]] = {
    "CREATE DATABASE ENCRYPTION KEY": key_databases.create,
    "ALTER DATABASE ENCRYPTION KEY": key_databases.alter,
    "DROP DATABASE ENCRYPTION KEY": key_databases.drop,
}
_MASTER: Final = "master"


def run_key_statement(context: Context, statement: ast.KeyStatement) -> Iterator[Message | Done]:
    """Raises CommandError, SyntaxError_."""
    action = statement.action
    handler = _OF_SERVER.get(action) or _IN_MASTER.get(action) or _IN_DATABASE.get(action)
    if handler is None:
        raise key_fail(40510, action)
    _require_rights(context, action)
    if action in _IN_MASTER and name_key(context.session.database) != _MASTER:
        raise key_fail(40510, f"{action} in a database other than master")
    clauses, ring = Clauses(context, statement), ring_of(context)
    try:
        with context.env.catalog.keys.write():
            messages = list(handler(context, ring, statement.name or "", clauses))
        if handler in (key_service.alter, key_service.restore):
            key_service.finish(ring)
    except (CannotUnwrap, OSError) as error:
        raise key_fail(15466) from error
    for item in messages:
        yield item
        yield Done(context.command)
    yield Done(context.command)


def _require_rights(context: Context, action: str) -> None:
    """CONTROL on master, ALTER ANY CREDENTIAL, or CONTROL SERVER. Raises CommandError 15247."""
    if context.is_admin or action in _IN_DATABASE:  # the handlers ask for CONTROL on the database
        return
    if "CREDENTIAL" in action and "securityadmin" in context.session.server_roles:
        return
    if action in _IN_MASTER and "db_owner" in context.session.database_roles.get(_MASTER, ()):
        return
    raise key_fail(15247)
