"""The sessions of other processes of the store, as far as the keeper knows them.

It knows where they come from, in which database they are, and the native statements that they run; what else
they do, only the process that serves them knows.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tdsproxy.keeper.port import KeeperPort
from tdsproxy.server.procedures.asking import look
from tdsproxy.server.sysviews.scope import EPOCH, SessionFacts
from tdsproxy.tsql.values import DateTime

if TYPE_CHECKING:
    from tdsproxy.server.session import Session


def sessions_elsewhere(
    session: Session, keeper: KeeperPort, own: Sequence[SessionFacts]
) -> Iterator[SessionFacts]:
    """Those that are not ``own``: this process serves them."""
    here = {found.spid for found in own}
    known = [row for row in look(session, "tds_sessions") if row[0] not in here]
    if not known:
        return
    working = {found.spid: found for found in keeper.running()}
    databases = {database.name.lower(): database.id for database in session.visible_databases()}
    sids = {login.name.lower(): login.sid for login in session.logins()}
    for number, login, database, host, application, client_pid, address, since in known:
        spid = int(str(number))
        work = working.get(spid)
        came = DateTime.of(dt.datetime.fromisoformat(str(since))) if since else EPOCH
        began = came
        if work is not None:
            began = DateTime.of(dt.datetime.now() - dt.timedelta(milliseconds=work.elapsed_milliseconds))
        yield SessionFacts(
            spid=spid,
            login=str(login),
            login_sid=sids.get(str(login).lower(), b""),
            original_login=str(login),
            database_id=databases.get(str(database).lower(), 0),
            login_time=came,
            host=str(host),
            application=str(application),
            client_pid=int(str(client_pid)),
            address=str(address),
            running=work is not None,
            request_start=began,
            command="" if work is None else work.command,
            percent=0.0 if work is None else work.percent,
            milliseconds_left=0 if work is None else work.milliseconds_left,
        )
