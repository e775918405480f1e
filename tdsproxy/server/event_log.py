"""The event log: what is written there by statements, the keeper writes, and it raises alerts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from tdsproxy.server.procedures.asking import look
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_log = logging.getLogger(__name__)


def log_event(session: Session, message: Message) -> None:
    """An entry of the session. A log that can't be written is told to this process's log: it is no error of
    the statement."""
    try:
        look(
            session,
            "tds_log_event",
            message.number,
            message.severity,
            message.state,
            message.text,
            session.spid,
        )
    except SqlError as error:
        _log.warning("an event is not in the error log: %s", error)
