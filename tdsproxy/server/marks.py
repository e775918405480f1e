"""The marks of transactions (BEGIN TRANSACTION ... WITH MARK), told to the keeper, which writes the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tdsproxy.keeper.port import KeeperPort
from tdsproxy.server.workspace import DatabaseFile
from tdsproxy.tsql.errors import SqlError

_log = logging.getLogger(__name__)


class KeeperMarks:
    """Implements ``transactions.Marks`` for the sessions of one login."""

    def __init__(self, keeper: KeeperPort, login: str) -> None:
        self._keeper = keeper
        self._login = login

    def announce(self, databases: Sequence[DatabaseFile], name: str, description: str) -> None:
        for database in databases:
            if database.log_id is not None:
                self._keeper.announce_mark(database.log_id, name, description)

    def committed(self, databases: Sequence[DatabaseFile], name: str, description: str) -> None:
        """The transaction is committed whatever becomes of the note: a keeper that has gone is no error to
        the client, whose data are safe, and the announcement has already put the mark into the log."""
        for database in databases:
            if database.log_id is not None:
                try:
                    self._keeper.note_mark(database.log_id, name, description, self._login)
                except SqlError:
                    _log.warning("mark %r of a committed transaction is missing in logmarkhistory", name)

    def failed(self, databases: Sequence[DatabaseFile]) -> None:
        for database in databases:
            if database.log_id is not None:
                self._keeper.announce_mark(database.log_id, None, "")
