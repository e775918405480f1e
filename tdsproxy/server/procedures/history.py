"""sp_delete_backuphistory and sp_delete_database_backuphistory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.asking import ask
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session


def _before(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_delete_backuphistory", "@oldest_date", arguments)
    given.required("@oldest_date")
    ask(session, frame, "sp_delete_backuphistory", given.value("@oldest_date", t.DATETIME))
    yield from ()
    return 0


def _of_database(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    name = Parameters("sp_delete_database_backuphistory", "@database_name", arguments).text("@database_name")
    if name is None:
        raise SqlError.of(
            201,
            16,
            4,
            "Procedure or function 'sp_delete_database_backuphistory' expects parameter '@database_name',"
            " which was not supplied.",
        )
    ask(session, frame, "sp_delete_database_backuphistory", name)
    yield from ()
    return 0


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_delete_backuphistory": _before,
    "sp_delete_database_backuphistory": _of_database,
}
