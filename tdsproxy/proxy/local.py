"""What is ours although it is no native statement: msdb, and what else describes backups, devices and keys.

In front of another server such statements are answered by a session of the embedded server on our own msdb.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import Final, Protocol

from tdsproxy.frontend.handler import Session
from tdsproxy.proxy.exchange import Statement
from tdsproxy.tsql import ast
from tdsproxy.tsql.gate import holds_native, searchable
from tdsproxy.tsql.replies import Done, Message, Reply, ResultSet, Rows
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

MSDB: Final = "msdb"
_WORDS: Final = re.compile(
    rb"(?:MSDB|PDEVICE|SUSPECT_PAGES|SYSJOB|_JOB|_SCHEDULE|XP_|SYMMETRIC_KEYS|RECOVERY)"
).search
_VIEWS: Final = frozenset(
    {"backup_devices", "certificates", "credentials", "database_recovery_status", "symmetric_keys"}
)
"""Views of the schema sys that show what native statements have made."""
_PROCEDURES: Final = frozenset(
    {
        "sp_addumpdevice",
        "sp_dropdevice",
        "sp_helpdevice",
        "xp_create_subdir",
        "xp_delete_file",
        "xp_dirtree",
        "xp_fileexist",
        "xp_subdirs",
    }
)
"""System procedures about devices, and about the files of backups."""


_OF_MSDB: Final = re.compile(
    r"backup(?:set|file|filegroup|mediafamily|mediaset)|restore(?:history|file|filegroup)|suspect_pages"
    r"|logmarkhistory|sys(?:job|schedule|operator|categor)\w*|sp_(?:add|update|delete|help|start|stop|attach"
    r"|detach|purge)_\w+"
)
"""Names that mean something of msdb when that is the current database."""
_MODULES: Final = (ast.CreateProcedure, ast.CreateFunction, ast.CreateTrigger, ast.CreateView)
"""Statements that only write down what will be run."""


class LocalServer(Protocol):
    """The embedded server on the proxy's own store."""

    def open(
        self, login: str, roles: frozenset[str], *, host: str, application: str, address: str
    ) -> Session:
        """A session, in msdb, of somebody whom the upstream has let in. Called and used in a worker
        thread. Raises SqlError."""


def may_be_ours(body: bytes | bytearray) -> bool:
    """Whether the text of a SQLBatch or RPC message can be of concern here; like ``may_be_native`` it may say
    yes too often."""
    text = searchable(body)
    return holds_native(text) or _WORDS(text) is not None


def sets_recovery(statement: ast.Statement) -> bool:
    """Whether a statement chooses a recovery model: that is for the keeper, which takes the logs."""
    return isinstance(statement, ast.AlterDatabase) and any(
        word == "RECOVERY" for word, _arguments in statement.options
    )


def is_local(node: ast.Node, database: str) -> bool:
    """Whether a statement or an expression is about msdb or another thing of ours, for a session whose
    current database is ``database``."""
    if isinstance(node, _MODULES):
        return False
    here = database.lower() == MSDB
    if here and isinstance(node, ast.QueryStatement | ast.Insert | ast.Update | ast.Delete | ast.Execute):
        return True
    return any(_is_ours(name, here=here) for name in _names(node))


def may_be_local(node: ast.Node) -> bool:
    """Whether ``is_local`` may hold where msdb is the current database."""
    return not isinstance(node, _MODULES) and any(
        name.database is None and _OF_MSDB.fullmatch(name.object.lower()) is not None for name in _names(node)
    )


def is_local_procedure(name: ast.Name) -> bool:
    """Whether a procedure that is called by this name is one of ours."""
    return _is_ours(name, here=False)


def _is_ours(name: ast.Name, *, here: bool) -> bool:
    if name.server is not None:
        return False
    if name.database is not None and name.database.lower() == MSDB:
        return True
    object_, schema = name.object.lower(), (name.schema or "").lower()
    if object_ in _PROCEDURES:
        return True
    return (object_ in _VIEWS and schema == "sys") or (here and schema == "dbo")


def _names(node: ast.Node) -> Iterator[ast.Name]:
    """The object names within a node, but for those of types. Long chains of operators nest deeply: nothing
    here calls itself."""
    waiting: list[object] = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.Name):
            yield each
        elif isinstance(each, tuple):
            waiting.extend(each)
        elif isinstance(each, ast.Node) and not isinstance(each, ast.TypeName):
            waiting.extend(getattr(each, field) for field in ast.field_names(each))


def temporary_tables(node: ast.Node) -> set[str]:
    """The temporary tables, and table variables, that a statement names."""
    return {name.object for name in _names(node) if name.object.startswith(("#", "@"))}


class LocalExchange:
    """A statement for the local session, and its answer: see ``Exchange``."""

    def __init__(self, statement: Statement, database: str) -> None:
        self._mark = f"tdsproxy {secrets.token_hex(8)}"
        self._variables = statement.variables
        place = f"IF DB_ID(N'{_quoted(database)}') IS NOT NULL USE [{database.replace(']', ']]')}]; "
        asked = "".join(f", {name}" for name in statement.variables)
        self.text = (
            "\n" * (statement.line - 1)
            + f"{place}{statement.before}SELECT 0 AS [{self._mark}]; {statement.text};"
            + f"\nSELECT 1 AS [{self._mark}], @@ERROR, @@ROWCOUNT{asked}"
        )
        self._marked = False
        self._types: list[SqlType] = []
        self._begun = False
        self.error = 0
        self.rowcount = 0
        self.values: dict[str, tuple[SqlType, Value]] | None = None
        """The variables behind the statement; None when it has ended its batch."""

    def sift(self, reply: Reply) -> Iterator[Reply]:
        """The reply, when it is the client's."""
        if isinstance(reply, ResultSet) and reply.columns and reply.columns[0].name == self._mark:
            self._marked = True
            self._types = [column.type for column in reply.columns]
        elif self._marked:
            self._read(reply)
        elif self._begun or (isinstance(reply, Message) and reply.is_error):
            yield reply

    def _read(self, reply: Reply) -> None:
        if isinstance(reply, Done):
            self._marked = False
            self._begun = True
        elif isinstance(reply, Rows) and len(self._types) > 1:
            (row,) = reply.rows
            self.error, self.rowcount = int(str(row[1] or 0)), int(str(row[2] or 0))
            self.values = {
                name.lower(): (type_, value)
                for name, type_, value in zip(self._variables, self._types[3:], row[3:], strict=True)
            }


def _quoted(text: str) -> str:
    return text.replace("'", "''")
