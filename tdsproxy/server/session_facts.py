"""What views and system procedures show of sessions."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tdsproxy.commands.request import StatementProgress
from tdsproxy.server.options import isolation
from tdsproxy.server.other_sessions import sessions_elsewhere
from tdsproxy.server.sysviews.scope import SessionFacts, TransactionFacts
from tdsproxy.tsql.secrets import masked
from tdsproxy.tsql.values import DateTime

if TYPE_CHECKING:
    from tdsproxy.server.session import Session


@dataclass(slots=True)
class Activity:
    """The request that a session runs, or ran last. Times are of the system's clock, in seconds."""

    text: str = ""
    began: float = field(default_factory=time.time)
    ended: float | None = None
    running: bool = False


def visible_sessions(session: Session) -> list[SessionFacts]:
    """All sessions for those who may see the server's state, otherwise only this one."""
    seen = session.engine.sessions() if session.rights.is_sysadmin else [session]
    keeper = session.engine.keeper
    working = keeper is not None and any(found.is_in_keeper for found in seen)
    progress = {found.spid: found for found in keeper.running()} if keeper and working else {}
    own = [facts_of(found, progress.get(found.spid)) for found in seen]
    if keeper is None or not session.rights.is_sysadmin:
        return own
    return sorted([*own, *sessions_elsewhere(session, keeper, own)], key=lambda found: found.spid)


def facts_of(session: Session, work: StatementProgress | None = None) -> SessionFacts:
    """``work`` is the native statement that the session runs."""
    options = session.active_options
    activity, request = session.activity, session.request
    return SessionFacts(
        spid=session.spid,
        login=session.rights.login.name,
        login_sid=session.rights.login.sid,
        original_login=session.impersonation.original.name,
        database_id=session.database_id,
        login_time=session.logged_in,
        host=request.host,
        application=request.application,
        library=request.library,
        client_pid=request.client_pid,
        address=request.address,
        encrypted=request.encrypted,
        running=activity.running,
        request_text=masked(activity.text),
        request_command=activity.text.lstrip()[:32].split(" ")[0].upper() or "SELECT",
        request_start=_moment(activity.began),
        request_end=None if activity.ended is None else _moment(activity.ended),
        isolation=isolation(options),
        language=options.language,
        date_format=options.date_format,
        date_first=options.date_first,
        text_size=int(options.others.get("TEXTSIZE", "2147483647")),
        lock_timeout=int(options.others.get("LOCK_TIMEOUT", "-1")),
        quoted_identifier=options.quoted_identifier,
        arithabort=options.others.get("ARITHABORT") == "ON",
        ansi_defaults=options.others.get("ANSI_WARNINGS") == "ON",
        context_info=session.context_info,
        open_transactions=session.transaction_count(),
        row_count=session.state.rowcount,
        last_error=session.state.error,
        command="" if work is None else work.command,
        percent=0.0 if work is None else work.percent,
        milliseconds_left=0 if work is None else work.milliseconds_left,
        transaction=_transaction_of(session),
    )


def _transaction_of(session: Session) -> TransactionFacts | None:
    current = session.evaluator.sql.transactions.current
    if current is None:
        return None
    return TransactionFacts(
        current.number,
        current.name,
        _moment(current.began),
        current.descriptor,
        current.by_user,
        {number: _moment(since) for number, since in session.workspace.locked().items()},
    )


def _moment(seconds: float) -> DateTime:
    return DateTime.of(dt.datetime.fromtimestamp(seconds))
