"""sp_detach_db, sp_attach_db and sp_attach_single_file_db."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.asking import ask
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_FILES: Final = tuple(f"@filename{number}" for number in range(1, 17))


def _detach(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_detach_db", "@dbname @skipchecks @keepfulltextindexfile", arguments)
    ask(session, frame, "sp_detach_db", given.required("@dbname"))
    yield from ()
    return 0


def _attach(
    name: str, parameters: str, session: Session, frame: Frame, arguments: Sequence[Argument]
) -> Replies:
    given = Parameters(name, f"@dbname {parameters}", arguments)
    database = given.required("@dbname")
    given.required(parameters.split()[0])
    files = [path for path in map(given.text, parameters.split()) if path]
    shown = ", ".join("(FILENAME = N'" + path.replace("'", "''") + "')" for path in files)
    text = f"CREATE DATABASE [{database.replace(']', ']]')}] ON {shown} FOR ATTACH"
    batch = session.evaluator.parse(text, frame)
    inner = Frame(frame.session, frame.options.copy(), frame.kind, text=text, parent=frame)
    for reply in session.evaluator.execute(batch.statements[0], inner):
        if isinstance(reply, Message):
            yield reply
    return 0


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_detach_db": _detach,
    "sp_attach_db": partial(_attach, "sp_attach_db", " ".join(_FILES)),
    "sp_attach_single_file_db": partial(_attach, "sp_attach_single_file_db", "@physname"),
}
