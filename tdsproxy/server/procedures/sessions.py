"""sp_who, session context, application locks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.server.session_facts import visible_sessions
from tdsproxy.server.sysviews.sessions import command_of
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Command, Done, Message
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import Value, Variant

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_SET: Final = Command.SELECT
_IF: Final = 192


def _wanted(session: Session, name: str | None) -> list[dict[str, Value]]:
    databases = {d.id: d.name for d in session.visible_databases()}
    rows: list[dict[str, Value]] = []
    for facts in visible_sessions(session):
        status = "runnable" if facts.running else "sleeping"
        if name is not None:
            word = name.strip().lower()
            if word.isdigit():
                if facts.spid != int(word):
                    continue
            elif word == "active":
                if not facts.running:
                    continue
            elif facts.login.lower() != word:
                continue
        rows.append(
            {
                "spid": facts.spid,
                "status": status.ljust(30),
                "loginame": facts.login,
                "hostname": facts.host.ljust(128),
                "blk": "0    ",
                "dbname": databases.get(facts.database_id),
                "cmd": command_of(facts)[:26].ljust(26),
                "program": facts.application,
                "last_batch": facts.request_start.to_python().strftime("%m/%d %H:%M:%S"),
            }
        )
    return rows


def _who(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    name = Parameters("sp_who", "@loginame", arguments).text("@loginame")
    yield from result(
        "spid smallint!, ecid smallint!, status nchar(30)!, loginame nvarchar(128), hostname nchar(128)!,"
        "blk char(5), dbname nvarchar(128), cmd nchar(26)!, request_id int!",
        _wanted(session, name),
    )
    return 0


def _who2(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    name = Parameters("sp_who2", "@loginame", arguments).text("@loginame")
    rows = [
        {
            "SPID": str(row["spid"]).ljust(5),
            "Status": row["status"],
            "Login": row["loginame"],
            "HostName": str(row["hostname"]).strip() or "  .",
            "BlkBy": "  .",
            "DBName": row["dbname"],
            "Command": str(row["cmd"]).strip(),
            "CPUTime": "0",
            "DiskIO": "0",
            "LastBatch": row["last_batch"],
            "ProgramName": row["program"],
            "REQUESTID": "0    ",
        }
        for row in _wanted(session, name)
    ]
    yield from result(
        "SPID char(5), Status nvarchar(30), Login nvarchar(128), HostName nvarchar(128), BlkBy char(5),"
        "DBName nvarchar(128), Command nvarchar(32), CPUTime varchar(30), DiskIO varchar(30),"
        "LastBatch varchar(48), ProgramName nvarchar(128), SPID char(5), REQUESTID char(5)",
        rows,
    )
    return 0


def _set_context(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_set_session_context", "@key @value @read_only", arguments)
    key = given.required("@key")
    found = given.typed("@value")
    value = found.value if found is not None else None
    if found is not None and value is not None and not isinstance(value, Variant):
        value = Variant(found.type, value)
    session.values[key.lower()] = value
    yield from ()
    return 0


def _step(command: int) -> Done:
    """The token of a statement of the procedure's own body, which SQL Server's clients get to see."""
    return Done(command, 1 if command == _SET else None)


def _get_lock(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_getapplock", "@Resource @LockMode @LockOwner @LockTimeout @DbPrincipal", arguments)
    resource = given.required("@Resource")
    given.required("@LockMode")
    owner = (given.text("@LockOwner") or "Transaction").lower()
    if owner == "transaction" and not session.transaction_count():
        yield Message(
            1222,
            16,
            1,
            "You attempted to acquire a transactional application lock without an active transaction.",
        )
        return -999
    timeout = given.number("@LockTimeout")
    granted = session.engine.locks.acquire(
        resource, session.spid, None if timeout is None else timeout / 1000
    )
    yield from map(_step, (_SET, _IF, _SET, _IF, _IF, _SET, _SET, _IF, Command.EXECUTE, _SET))
    return granted


def _release_lock(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_releaseapplock", "@Resource @LockOwner @DbPrincipal", arguments)
    resource = given.required("@Resource")
    yield from map(_step, (_SET, _IF, _SET))
    released = session.engine.locks.release(resource, session.spid)
    if not released:
        yield Message(
            1223,
            16,
            1,
            f"Cannot release the application lock (Database Principal: 'public', Resource: '{resource}')"
            " because it is not currently held.",
            1,
            "sys.xp_userlock",
        )
    yield Done(Command.EXECUTE, error=not released)
    yield _step(_SET)
    return 0 if released else -999


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_who": _who,
    "sp_who2": _who2,
    "sp_set_session_context": _set_context,
    "sp_getapplock": _get_lock,
    "sp_releaseapplock": _release_lock,
}
