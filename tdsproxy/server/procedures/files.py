"""The file helpers of master, the error log, and what is switched off."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server.event_log import log_event
from tdsproxy.server.procedures.asking import ask
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import DateTime, Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_ERROR_LOG: Final = 1
_LAST_OF_SYSTEM: Final = 50000
_EVENT_SEVERITIES: Final = {"informational": 10, "warning": 10, "error": 16}


def _exists(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("xp_fileexist", "@filename @file_exists", arguments)
    ((file, directory, parent),) = ask(session, frame, "xp_fileexist", given.required("@filename"))
    if given.typed("@file_exists") is not None:
        given.give("@file_exists", file, t.INT)
        return 0
    yield from result(
        "[File Exists] tinyint, [File is a Directory] tinyint, [Parent Directory Exists] tinyint",
        [
            {
                "File Exists": file,
                "File is a Directory": directory,
                "Parent Directory Exists": parent,
            }
        ],
    )
    return 0


def _tree(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("xp_dirtree", "@directory @depth @file", arguments)
    files = bool(given.number("@file"))
    found = ask(
        session, frame, "xp_dirtree", given.required("@directory"), given.number("@depth") or 0, int(files)
    )
    yield from result(
        "subdirectory nvarchar(512), depth int" + (", [file] int" if files else ""),
        [{"subdirectory": name, "depth": depth, "file": file} for name, depth, file in found],
    )
    return 0


def _subdirectories(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("xp_subdirs", "@directory", arguments)
    found = ask(session, frame, "xp_subdirs", given.required("@directory"))
    yield from result("subdirectory nvarchar(512)", [{"subdirectory": name} for (name,) in found])
    return 0


def _create(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("xp_create_subdir", "@directory", arguments)
    ask(session, frame, "xp_create_subdir", given.required("@directory"))
    yield from ()
    return 0


def _delete(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("xp_delete_file", "@type @folder @extension @date @subfolders", arguments)
    values: list[Value] = [
        given.number("@type") or 0,
        given.required("@folder"),
        given.text("@extension") or "",
        given.text("@date") or "",
        given.number("@subfolders") or 0,
    ]
    ask(session, frame, "xp_delete_file", *values)
    yield from ()
    return 0


def _drives(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    Parameters("xp_fixeddrives", "@type", arguments)
    found = ask(session, frame, "xp_fixeddrives")
    yield from result("drive char(1), [MB free] int", [{"drive": "/", "MB free": free} for _, free in found])
    return 0


def _error_log(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("xp_readerrorlog", "@log @type @first @second @from @to @order @instance", arguments)
    return (yield from _log_rows(session, frame, given, "xp_readerrorlog"))


def _read_error_log(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_readerrorlog", "@p1 @p2 @p3 @p4", arguments)
    session.rights.require_server_role("securityadmin")
    wanted = _Wanted(given.number("@p1") or 0, given.number("@p2") or 1, given.text("@p3"), given.text("@p4"))
    return (yield from _rows(session, frame, wanted))


class _Wanted:
    """Which lines of which log: those that hold both texts, whatever their case, between two times."""

    def __init__(
        self,
        log: int,
        kind: int,
        first: str | None,
        second: str | None,
        begin: Value = None,
        end: Value = None,
        *,
        newest_first: bool = False,
    ) -> None:
        self.log, self.kind = log, kind
        self._texts = [text.lower() for text in (first, second) if text]
        self._begin, self._end = begin, end
        self.newest_first = newest_first

    def takes(self, moment: DateTime, text: str) -> bool:
        line = text.lower()
        if not all(part in line for part in self._texts):
            return False
        after = not isinstance(self._begin, DateTime) or moment >= self._begin
        return after and (not isinstance(self._end, DateTime) or moment <= self._end)


def _log_rows(session: Session, frame: Frame, given: Parameters, procedure: str) -> Replies:
    if not session.rights.is_sysadmin and "securityadmin" not in session.rights.server_roles:
        raise SqlError.of(
            229,
            14,
            5,
            f"The EXECUTE permission was denied on the object '{procedure}', database"
            " 'mssqlsystemresource', schema 'sys'.",
        )
    wanted = _Wanted(
        given.number("@log") or 0,
        given.number("@type") or 1,
        given.text("@first"),
        given.text("@second"),
        given.value("@from", t.DATETIME),
        given.value("@to", t.DATETIME),
        newest_first=(given.text("@order") or "").strip().lower() == "desc",
    )
    return (yield from _rows(session, frame, wanted))


def _rows(session: Session, frame: Frame, wanted: _Wanted) -> Replies:
    found = ask(session, frame, "xp_readerrorlog", wanted.log) if wanted.kind == _ERROR_LOG else []
    rows: list[dict[str, Value]] = []
    for stamp, source, text in found:
        moment = DateTime.of(dt.datetime.fromisoformat(str(stamp)))
        if wanted.takes(moment, str(text)):
            rows.append({"LogDate": moment, "ProcessInfo": source, "Text": text})
    if wanted.newest_first:
        rows.reverse()
    yield from result("LogDate datetime, ProcessInfo nvarchar(50), Text nvarchar(4000)", rows)
    return 0


def _cycle_error_log(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    Parameters("sp_cycle_errorlog", "", arguments)
    ask(session, frame, "sp_cycle_errorlog")
    yield from ()
    return 0


def _list_error_logs(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """The agent's own log is not kept apart from the server's."""
    given = Parameters("xp_enumerrorlogs", "@p1", arguments)
    session.rights.require_server_role("securityadmin")
    wanted = given.number("@p1") or _ERROR_LOG
    found = ask(session, frame, "xp_enumerrorlogs") if wanted == _ERROR_LOG else []
    yield from result(
        "[Archive #] int, Date nvarchar(24), [Log File Size (Byte)] int",
        [
            {
                "Archive #": int(str(number)),
                "Date": dt.datetime.fromisoformat(str(changed)).strftime("%m/%d/%Y  %H:%M"),
                "Log File Size (Byte)": int(str(size)),
            }
            for number, changed, size in found
        ],
    )
    return 0


def _command_shell(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """Whatever sp_configure says: there is no shell here."""
    yield from ()
    raise SqlError.of(
        15281,
        16,
        1,
        "SQL Server blocked access to procedure 'sys.xp_cmdshell' of component 'xp_cmdshell' because this"
        " component is turned off as part of the security configuration for this server. A system"
        " administrator can enable the use of 'xp_cmdshell' by using sp_configure. For more information about"
        " enabling 'xp_cmdshell', see \"Surface Area Configuration\" in SQL Server Books Online.",
    )


def _log_event(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """xp_logevent: an entry of the error log, which alerts see, without a message to the client. Raises
    SqlError 229, 22003."""
    given = Parameters("xp_logevent", "@error_number @message @severity", arguments)
    if not session.rights.is_sysadmin and "db_owner" not in session.rights.roles("master"):
        raise SqlError.of(
            229,
            14,
            5,
            "The EXECUTE permission was denied on the object 'xp_logevent', database 'mssqlsystemresource',"
            " schema 'sys'.",
        )
    number, word = given.number("@error_number"), (given.text("@severity") or "informational").lower()
    if number is None or number <= _LAST_OF_SYSTEM or word not in _EVENT_SEVERITIES:
        raise SqlError.of(22003, 16, 1, "Error executing extended stored procedure: Invalid Parameter")
    log_event(session, Message(number, _EVENT_SEVERITIES[word], 1, given.required("@message")))
    yield from ()
    return 0


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "xp_fileexist": _exists,
    "xp_dirtree": _tree,
    "xp_subdirs": _subdirectories,
    "xp_create_subdir": _create,
    "xp_delete_file": _delete,
    "xp_fixeddrives": _drives,
    "xp_readerrorlog": _error_log,
    "sp_readerrorlog": _read_error_log,
    "xp_enumerrorlogs": _list_error_logs,
    "sp_enumerrorlogs": _list_error_logs,
    "sp_cycle_errorlog": _cycle_error_log,
    "xp_cmdshell": _command_shell,
    "xp_logevent": _log_event,
}
