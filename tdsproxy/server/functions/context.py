"""What the functions of this package ask for, beyond ``FunctionContext``."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from tdsproxy.server.identity import ServerIdentity
from tdsproxy.server.schema import DatabaseSchema
from tdsproxy.server.sysviews.scope import DatabaseFacts, LoginFacts, SessionFacts, UserFacts
from tdsproxy.tsql.functions.registry import FunctionContext
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import Value


class ServerContext(FunctionContext, Protocol):
    """The session as a function sees it. Names of databases are compared without case."""

    @property
    def frame(self) -> Frame: ...

    @property
    def identity(self) -> ServerIdentity: ...

    @property
    def session(self) -> SessionFacts: ...

    @property
    def database_name(self) -> str: ...

    @property
    def identity_scope(self) -> Decimal | None:
        """SCOPE_IDENTITY()."""
        ...

    @property
    def last_identity(self) -> Decimal | None:
        """@@IDENTITY."""
        ...

    @property
    def values(self) -> dict[str, Value]:
        """What sp_set_session_context has set, by lower-case key."""
        ...

    @property
    def server_roles(self) -> frozenset[str]: ...

    @property
    def user(self) -> UserFacts:
        """The session's user in its current database."""
        ...

    def databases(self) -> Sequence[DatabaseFacts]: ...

    def logins(self) -> Sequence[LoginFacts]: ...

    def users(self) -> Sequence[UserFacts]:
        """Users and roles of the current database."""
        ...

    def may_use(self, database: str) -> bool: ...

    def message_text(self, number: int) -> str | None:
        """Of sys.messages, where RAISERROR may raise the number."""
        ...

    def objects(self, database: str | None = None) -> DatabaseSchema | None:
        """The objects of a database; None when it does not exist or is not online."""
        ...

    def temporary_object_id(self, name: str) -> int | None:
        """The object id of ``#name``, None when there is none."""
        ...

    def identity_of(self, table: str, part: str) -> Decimal | None:
        """``part`` is CURRENT, SEED or INCREMENT of a table's identity column."""
        ...


def find_database(context: ServerContext, name: str) -> DatabaseFacts | None:
    """The database called ``name``: without case and trailing blanks."""
    wanted = name.rstrip().lower()
    return next((d for d in context.databases() if d.name.lower() == wanted), None)


def database_by_id(context: ServerContext, id_: int) -> DatabaseFacts | None:
    return next((d for d in context.databases() if d.id == id_), None)
