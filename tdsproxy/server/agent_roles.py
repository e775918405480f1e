"""The roles of SQL Server Agent in msdb: who may run which of its procedures.

SQLAgentUserRole works with jobs of its own; SQLAgentReaderRole also sees all others; SQLAgentOperatorRole
also starts, stops and switches them. What a procedure does with a job that it finds, its own text checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tdsproxy.tsql.errors import SqlError

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

OF_JOBS: Final = "of jobs"
"""In a frame's storage: whether it is one of msdb's procedures of jobs, which read and write msdb for their
callers and check themselves whose job it is."""
USER: Final = "sqlagentuserrole"
READER: Final = "sqlagentreaderrole"
OPERATOR: Final = "sqlagentoperatorrole"
MAILER: Final = "databasemailuserrole"
_MSDB: Final = "msdb"
_FOR_OPERATORS: Final = frozenset({"sp_help_operator", "sp_help_alert"})
_FOR_SYSADMIN: Final = frozenset(
    f"sp_{verb}_{what}"
    for what in ("operator", "alert", "notification", "category")
    for verb in ("add", "update", "delete")
) | {"sp_notify_operator", "sp_set_sqlagent_properties"}


def roles_of(session: Session) -> frozenset[str]:
    """The roles of msdb that the session's login has, also through other roles."""
    if session.rights.is_sysadmin:
        return frozenset({"db_owner"})
    by_role = {user.name.lower(): user.roles for user in session.users_table(_MSDB).made()}
    found: set[str] = set()
    waiting = set(session.rights.roles(_MSDB))
    while waiting:
        role = waiting.pop()
        if role not in found:
            found.add(role)
            waiting |= by_role.get(role, frozenset())
    return frozenset(found)


def may_read(session: Session, view: str) -> bool:
    """Whether a view of msdb can be read for the sake of a role: it shows one's own jobs, or all."""
    if view.lower() in (
        "sysmail_allitems",
        "sysmail_sentitems",
        "sysmail_unsentitems",
        "sysmail_faileditems",
    ):
        return MAILER in roles_of(session)
    return view.lower() == "sysjobs_view" and bool(roles_of(session) & {USER, READER, OPERATOR})


def require_agent_procedure(session: Session, name: str) -> None:
    """Raises SqlError 229 unless the session's login may run one of msdb's procedures of jobs."""
    roles = roles_of(session)
    called = name.lower()
    if "db_owner" in roles:
        return
    if called in ("sp_send_dbmail", "sysmail_help_status_sp"):
        allowed = MAILER in roles
    elif called.startswith("sysmail_"):
        allowed = False
    elif called in _FOR_OPERATORS:
        allowed = OPERATOR in roles
    else:
        allowed = called not in _FOR_SYSADMIN and bool(roles & {USER, READER, OPERATOR})
    if not allowed:
        raise SqlError.of(
            229,
            14,
            5,
            f"The EXECUTE permission was denied on the object '{name}', database 'msdb', schema 'dbo'.",
        )
