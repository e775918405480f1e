"""sp_start_job and sp_stop_job: the agent, which runs beside the keeper, is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server.agent_roles import OF_JOBS, OPERATOR, READER, roles_of
from tdsproxy.server.procedures.asking import ask
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure
from tdsproxy.server.procedures.jobs.messages import MESSAGES
from tdsproxy.server.procedures.refused import mail_is_off
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Message, Rows
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session


def _fail(number: int, *arguments: object) -> SqlError:
    return SqlError.of(number, 16, 1, MESSAGES[number] % arguments)


def _find(session: Session, given: Parameters) -> tuple[str, str, bytes, int, int]:
    """The job's id, name and owner, and how many servers and steps it has. Raises SqlError 14262, 14294."""
    name, number = given.text("@job_name"), given.value("@job_id", t.UNIQUEIDENTIFIER)
    if (name is None) == (number is None):
        raise _fail(14294, "@job_id", "@job_name")
    wanted = "name" if name is not None else "job_id"
    shown = str(number) if name is None else name
    rows = _query(
        session,
        "SELECT CAST(job_id AS nvarchar(36)), name, owner_sid,"
        " (SELECT COUNT(*) FROM msdb.dbo.sysjobservers s WHERE s.job_id = j.job_id),"
        " (SELECT COUNT(*) FROM msdb.dbo.sysjobsteps p WHERE p.job_id = j.job_id)"
        f" FROM msdb.dbo.sysjobs j WHERE {wanted} = N'{shown.replace(chr(39), chr(39) * 2)}'",
    )
    may_see = bool(rows) and (
        session.rights.is_sysadmin
        or rows[0][2] == session.rights.login.sid
        or bool(roles_of(session) & {READER, OPERATOR})
    )
    if not may_see:
        raise _fail(14262, f"@{'job_' if name is not None else ''}{wanted}", shown)
    job, found, owner, servers, steps = rows[0]
    sid = owner if isinstance(owner, bytes) else b""
    return str(job), str(found), sid, int(str(servers)), int(str(steps))


def _has_step(session: Session, job: str, step: str) -> bool:
    quoted = step.replace("'", "''")
    found = _query(
        session,
        f"SELECT 1 FROM msdb.dbo.sysjobsteps WHERE job_id = N'{job}' AND step_name = N'{quoted}'",
    )
    return bool(found)


def _query(session: Session, text: str) -> list[tuple[Value, ...]]:
    """The rows of one query, within whatever the session is doing."""
    frame = session.batch_frame(text)
    frame.storage[OF_JOBS] = True
    rows: list[tuple[Value, ...]] = []
    for reply in session.evaluator.execute(session.evaluator.parse(text, frame).statements[0], frame):
        if isinstance(reply, Rows):
            rows.extend(reply.rows)
    return rows


def _require_operator(session: Session, owner: bytes) -> None:
    """Raises SqlError 14393 for somebody else's job."""
    if session.rights.is_sysadmin or owner == session.rights.login.sid:
        return
    if OPERATOR not in roles_of(session):
        raise _fail(14393)


def _start(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    names = "@job_name @job_id @error_flag @server_name @step_name @output_flag"
    given = Parameters("sp_start_job", names, arguments)
    job, name, owner, servers, steps = _find(session, given)
    _require_operator(session, owner)
    if not servers:
        raise _fail(14256, name, job)
    if not steps:
        raise _fail(14528, name)
    step = given.text("@step_name")
    if step is not None and not _has_step(session, job, step):
        raise _fail(14262, "@step_name", step)
    ask(session, frame, "sp_agent_start", job, step)
    if given.number("@output_flag") != 0:
        yield Message(14243, 0, 1, MESSAGES[14243] % name)
    return 0


def _stop(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_stop_job", "@job_name @job_id @originating_server @server_name", arguments)
    known = (
        given.text("@job_name"),
        given.value("@job_id", t.UNIQUEIDENTIFIER),
        given.text("@originating_server"),
    )
    if sum(value is not None for value in known) != 1:
        raise _fail(14232)
    job, name, owner, servers, _ = _find(session, given)
    _require_operator(session, owner)
    if not servers:
        raise _fail(14257, name, job)
    ask(session, frame, "sp_agent_stop", job)
    yield Message(14254, 0, 1, MESSAGES[14254] % name)
    return 0


def _notify(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """sp_notify_operator: a mail through the server of the notices."""
    names = "@profile_name @id @name @subject @message @file_attachments @mail_database"
    given = Parameters("sp_notify_operator", names, arguments)
    name, number = given.text("@name"), given.number("@id")
    if (name is None) == (number is None):
        raise _fail(14294, "@id", "@name")
    if name is None:
        rows = _query(session, f"SELECT name FROM msdb.dbo.sysoperators WHERE id = {number}")
        if not rows:
            raise _fail(14262, "@id", number)
        name = str(rows[0][0])
    sent = ask(session, frame, "sp_agent_write_to", name, given.text("@subject"), given.text("@message"))
    if not sent:
        raise _fail(14262, "@name", name)
    if not sent[0][0]:
        raise mail_is_off("sp_notify_operator")
    return 0
    yield


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_start_job": _start,
    "sp_stop_job": _stop,
    "sp_notify_operator": _notify,
}
"""By lower-case name; msdb's."""
