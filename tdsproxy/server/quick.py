"""The short way for a query that was answered before.

A batch that is one SELECT of tables, compiled already, is executed without the interpreter, a transaction
around it, or questions about what might have changed: SQLite counts the changes of each file, also those of
others, so looking at the count once the query has begun tells whether its compilation still holds. What is
not as it was, fails, or is out of the ordinary goes the usual way from its start: only queries without side
effects are here.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import apsw

from tdsproxy.server.options import ISOLATION_LEVELS, isolation
from tdsproxy.server.parsed import may_be_kept
from tdsproxy.server.permissions import require_permission
from tdsproxy.server.select_run import FIRST_CHUNK, Begun, Compiled
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Command, Done, Order, Reply

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

MOST: Final = 256
_HINDERING: Final = frozenset(
    {
        "FMTONLY",
        "IMPLICIT_TRANSACTIONS",
        "NOEXEC",
        "PARSEONLY",
        "SHOWPLAN_ALL",
        "SHOWPLAN_TEXT",
        "SHOWPLAN_XML",
    }
)
_FUNCTION: Final = re.compile(r"\bts_\w+")
_PURE: Final = re.compile(r"ts_(ci|[af]\d+)")


@dataclass(frozen=True, slots=True)
class _Plan:
    """``catalog`` and ``changes`` are the versions of master and of the file at which it was right; ``plain``
    says that it calls no functions."""

    batch: ast.Batch
    statement: ast.QueryStatement
    compiled: Compiled
    values: Mapping[str, Stored]
    plain: bool
    schema: str
    database: str
    date_format: str
    quoted_identifier: bool
    catalog: int
    changes: int


class QuickQueries:
    """The queries of one session that can go the short way."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._plans: OrderedDict[str, _Plan] = OrderedDict()
        session.workspace.on_attach.append(lambda _database, _schema: self._plans.clear())

    def run(self, text: str) -> list[Reply] | None:
        """The whole answer to a batch; None when it has to go the usual way. The beginning of a long answer
        is kept for that."""
        plan = self._plans.get(text)
        if plan is None or not self._holds(plan):
            return None
        session = self._session
        selects = session.evaluator.sql.selects
        compiled = plan.compiled
        connection = session.workspace.connection
        if not plan.plain:
            session.statement_begins(session.batch_frame(text))
        cursor = connection.cursor()
        try:
            require_permission(session, plan.statement)
            rows = list(islice(cursor.execute(compiled.query.sql, plan.values), FIRST_CHUNK))
            unchanged = connection.data_version(plan.schema) == plan.changes
        except (SqlError, apsw.Error):
            cursor.close()
            return None
        if unchanged and len(rows) == FIRST_CHUNK:
            selects.begun = Begun(compiled, cursor, rows)
            return None
        cursor.close()
        if not unchanged:
            return None
        session.state.error = 0
        session.state.rowcount = len(rows)
        session.batch_identity = None
        replies: list[Reply] = [compiled.result_set]
        if compiled.query.order:
            replies.append(Order(compiled.query.order))
        if rows:
            replies.append(compiled.rows(rows))
        replies.append(Done(Command.SELECT, len(rows), counted=not session.options.nocount))
        return replies

    def _holds(self, plan: _Plan) -> bool:
        session = self._session
        options = session.options
        others = options.others
        get = others.get
        return (
            plan.database == session.database
            and plan.catalog == session.catalog_version
            and plan.quoted_identifier is options.quoted_identifier
            and plan.date_format == options.date_format
            and not session.workspace.in_transaction
            and not session.state.doomed
            and get("ROWCOUNT", "0") == "0"
            and (_HINDERING.isdisjoint(others) or all(get(name) != "ON" for name in _HINDERING))
            and (
                not session.evaluator.sql.transactions.count
                or isolation(options) <= ISOLATION_LEVELS["READ COMMITTED"]
            )
        )

    def learn(self, text: str, batch: ast.Batch) -> None:
        """A batch was run the usual way: the next time it may go the short one."""
        session = self._session
        if (
            not may_be_kept(text)
            or len(batch.statements) != 1
            or session.workspace.in_transaction
            or session.catalog_version is None
        ):
            return
        statement = batch.statements[0]
        if not isinstance(statement, ast.QueryStatement) or statement.query.for_ is not None:
            return
        query = statement.query
        if isinstance(query, ast.Select) and (query.into or any(item.variable for item in query.items)):
            return
        selects = session.evaluator.sql.selects
        compiled = selects.known(query)
        if compiled is None or not self._plain(compiled):
            return
        schemas = selects.schemas_of(query)
        context = compiled.context
        if len(schemas) != 1 or {name.lower() for name in context.files} != {session.database.lower()}:
            return
        environment = session.evaluator.sql.environment(session.batch_frame(text))
        self._plans[text] = _Plan(
            batch,
            statement,
            compiled,
            context.parameters.values(environment),
            not _FUNCTION.search(compiled.query.sql.replace("ts_ci", "")),
            schemas[0],
            session.database,
            session.options.date_format,
            session.options.quoted_identifier,
            session.catalog_version,
            session.workspace.connection.data_version(schemas[0]),
        )
        self._plans.move_to_end(text)
        if len(self._plans) > MOST:
            self._plans.popitem(last=False)

    @staticmethod
    def _plain(compiled: Compiled) -> bool:
        """Whether the query only reads, and says nothing but its rows."""
        context = compiled.context
        if context.notices or context.locked or context.parameters.varies or context.bound_to_frame:
            return False
        impure = context.binder.impure
        names = _FUNCTION.findall(compiled.query.sql)
        return all(_PURE.fullmatch(name) and name not in impure for name in names)
