"""Native statements of a session: sent to the keeper with the session's context, answered as they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Done, Reply
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

NATIVE: Final = (ast.NativeStatement, ast.CreateDatabase, ast.AlterDatabase, ast.DropDatabase)


def run_native(session: Session, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
    """The keeper's replies to ``statement``, its errors among them."""
    request = NativeRequest(
        text=frame.text[statement.pos : statement.end],
        session=context_of(session, frame),
        line=statement.line,
        variables={name: cell.value for name, cell in frame.variables.items()},
    )
    replies = session.ask_keeper(request)
    try:
        for reply in replies:
            if isinstance(reply, Done) and isinstance(statement, ast.AlterDatabase):
                yield from session.leave_offline()
            yield reply
    finally:
        session.after_native()


def context_of(session: Session, frame: Frame) -> SessionContext:
    """The session as a native statement sees it."""
    names = [] if session.rights.is_sysadmin else [d.name for d in session.engine.catalog.databases.all()]
    return SessionContext(
        login=session.rights.login.name,
        database=session.database,
        spid=session.spid,
        server_roles=session.rights.server_roles,
        database_roles={n.lower(): session.rights.roles(n) for n in names if session.rights.may_use(n)},
        in_transaction=session.transaction_count() > 0,
        quoted_identifier=frame.options.quoted_identifier,
        host=session.request.host,
        application=session.request.application,
        lock_timeout_ms=session.workspace.lock_timeout_ms,
        address=session.request.address,
    )
