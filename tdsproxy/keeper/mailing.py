"""Database Mail: what sessions send goes through the mail server of the notices, or that of an account which
was added (``mail_book``), and stands in msdb.

A mail is in msdb before it is queued, so one that an end of the process has cut off is sent by the next.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw

from tdsproxy.agent.notifier import Letter, Mail, Notifier
from tdsproxy.catalog.agent_schema import MAIL_ITEMS, MAIL_LOG, MAIL_ROLE
from tdsproxy.catalog.catalog import MSDB
from tdsproxy.catalog.file import CatalogFile
from tdsproxy.catalog.msdb_schema import HistoryTable
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.keeper.mail_book import CONFIGURED, MailBook
from tdsproxy.store.encoding import Stored, from_storage, to_storage
from tdsproxy.tsql.values import DateTime, Value

Row = tuple[Value, ...]
UNSENT, SENT, FAILED = 0, 1, 2
_ERROR: Final = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Way:
    """An account, what sends through it, and where answers go unless the mail says so."""

    account: int
    sender: Callable[[], Notifier]
    reply_to: str | None = None


class Mailing:
    """Usable from any thread. ``sender`` sends through the server of the notices."""

    def __init__(self, store: Path, sender: Callable[[], Notifier], book: MailBook, server: str) -> None:
        self._store = store
        self._sender = sender
        self._book = book
        self._server = server
        self._senders: dict[int, Notifier] = {}
        self._guard = threading.Lock()
        self._waiting: set[int] = set()

    @property
    def procedures(self) -> dict[str, Callable[[Context, Sequence[Value]], list[Row]]]:
        """Of ``CommandEnvironment``."""
        return {
            "sp_mail_send": self._send,
            "sp_mail_profile": self._profile,
            "sp_mail_entries": self._entries,
            "sp_mail_change": self._change,
            "sp_mail_items": self._items,
            "sp_mail_log": self._events,
        }

    def send_unsent(self) -> None:
        """What an earlier process has not sent, or sysmail_stop_sp has held back."""
        if self._book.stopped or not self._book.entries("profile"):
            return
        with CatalogFile(self._store / MSDB) as file:
            names = [column.name for column in MAIL_ITEMS.columns]
            rows = file.read(
                f"SELECT {', '.join(names)} FROM sysmail_mailitems WHERE sent_status = ? ORDER BY 1",
                (UNSENT,),
            )
        for row in rows:
            item = dict(zip(names, row, strict=True))
            self._queue(int(str(item["mailitem_id"])), item)

    def _queue(self, number: int, item: Mapping[str, Any]) -> None:
        """Once: the mail may be seen as unsent by who sent it and by who looks for what was left."""
        if self._book.stopped:
            return
        with self._guard:
            if number in self._waiting:
                return
            self._waiting.add(number)
        self._deliver(number, item, self._ways(int(item.get("profile_id") or CONFIGURED)))

    def _ways(self, profile: int) -> list[_Way]:
        """The accounts of a profile, in the order in which they are tried."""
        if profile == CONFIGURED:
            return [_Way(CONFIGURED, self._sender)]
        return [
            _Way(number, partial(self._sender_of, number, mail), reply_to)
            for number, mail, reply_to in self._book.accounts_of(profile)
        ]

    def _sender_of(self, account: int, mail: Mail) -> Notifier:
        with self._guard:
            known = self._senders.get(account)
            if known is None or known.goes_to != ((), mail):
                self._senders[account] = Notifier((), mail, self._server)
        if known is not None and known is not self._senders[account]:
            known.close()
        return self._senders[account]

    def close(self) -> None:
        with self._guard:
            senders = list(self._senders.values())
        for sender in senders:
            sender.close()

    def _deliver(self, number: int, item: Mapping[str, Any], ways: Sequence[_Way]) -> None:
        """Through the first of the accounts; when that fails, through the others."""
        if not ways:
            self._ended(number, CONFIGURED, "the profile has no account")
            return
        account = ways[0].account

        def ended(failure: str | None) -> None:
            if failure is None or len(ways) == 1:
                self._ended(number, account, failure)
            else:
                self._deliver(number, item, ways[1:])

        letter = Letter(
            _addresses(item.get("recipients")),
            str(item.get("subject") or ""),
            str(item.get("body") or ""),
            _addresses(item.get("copy_recipients")),
            _addresses(item.get("blind_copy_recipients")),
            item.get("from_address"),
            item.get("reply_to") or ways[0].reply_to,
            html=item.get("body_format") == "HTML",
            importance=str(item.get("importance") or "NORMAL").upper(),
            sensitivity=str(item.get("sensitivity") or "NORMAL").upper(),
            ended=ended,
        )
        if not ways[0].sender().post(letter):
            self._ended(number, account, "the queue is full, or there is no mail server")

    def _ended(self, number: int, account: int, failure: str | None) -> None:
        now = DateTime.of(dt.datetime.now())
        moment = to_storage(now, MAIL_ITEMS.column("sent_date").type)
        try:
            with CatalogFile(self._store / MSDB) as file, file.write():
                file.read(
                    "UPDATE sysmail_mailitems SET sent_status = ?, sent_date = ?, sent_account_id = ?,"
                    " last_mod_date = ?, last_mod_user = 'sa' WHERE mailitem_id = ?",
                    (
                        SENT if failure is None else FAILED,
                        moment,
                        None if failure else account,
                        moment,
                        number,
                    ),
                )
                if failure is not None:
                    text = (
                        "The mail could not be sent to the recipients because of the mail server failure."
                        f" ({failure})"
                    )
                    row = {
                        "event_type": _ERROR,
                        "log_date": now,
                        "description": text,
                        "process_id": os.getpid(),
                        "mailitem_id": number,
                        "account_id": account,
                        "last_mod_date": now,
                        "last_mod_user": "sa",
                    }
                    _insert(file, MAIL_LOG, row)
        except apsw.Error as error:
            _log.error("the end of mail %s can't be noted: %s", number, error)
            return
        with self._guard:
            self._waiting.discard(number)

    # ------------------------------------------------------------------ procedures

    def _send(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """A mail as a JSON object of columns of sysmail_mailitems: its number. Raises CommandError 229."""
        roles = {role.lower() for role in context.session.database_roles.get("msdb", ())}
        if not context.is_admin and MAIL_ROLE.lower() not in roles:
            raise fail(229, "EXECUTE", "sp_send_dbmail", "msdb", "dbo")
        item: dict[str, Any] = json.loads(str(values[0]))
        now = DateTime.of(dt.datetime.now())
        row = {
            **item,
            "attachment_encoding": "MIME",
            "send_request_date": now,
            "send_request_user": context.session.login,
            "sent_status": UNSENT,
            "last_mod_date": now,
            "last_mod_user": context.session.login,
        }
        with CatalogFile(self._store / MSDB) as file, file.write():
            _insert(file, MAIL_ITEMS, row)
            number = file.last_row_id()
        self._queue(number, item)
        return [(number,)]

    def _profile(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """The number of the profile of a name, or of the default one (None); no row for one that is not
        there, or not for the session."""
        name = None if values[0] is None else str(values[0])
        found = self._book.profile_for(name, admin=context.is_admin)
        return [] if found is None else [(found,)]

    def _entries(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """All of account, profile, profileaccount or principalprofile, a JSON object each; nothing but an
        administrator's, but ``status`` (1 when mails are sent), which is everybody's."""
        kind = str(values[0])
        if kind == "status":
            return [(int(not self._book.stopped and bool(self._book.entries("profile"))),)]
        if not context.is_admin:
            raise fail(229, "SELECT", f"sysmail_{kind}", "msdb", "dbo")
        rows: list[Row] = []
        for entry in self._book.entries(kind):
            shown = {name: value for name, value in entry.items() if name != "credential"}
            if kind == "account":
                shown["credential_id"] = self._book.credential_id(entry)
            rows.append((json.dumps(shown),))
        return rows

    def _change(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """See ``MailBook.change``: what, and a JSON object. The number of what was added."""
        what = str(values[0])
        if not context.is_admin:
            raise fail(229, "EXECUTE", f"sysmail_{what.replace(' ', '_')}_sp", "msdb", "dbo")
        made = self._book.change(what, json.loads(str(values[1])), context.session.login)
        if what == "start":
            self.send_unsent()
        return [] if made is None else [(made,)]

    def _items(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """sysmail_mailitems: all of it for an administrator, else what the session's login has sent."""
        only = "?1 OR send_request_user = ?2"
        return self._table(MAIL_ITEMS, only, (context.is_admin, context.session.login))

    def _events(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """sysmail_log. Raises CommandError 229."""
        if not context.is_admin:
            raise fail(229, "SELECT", "sysmail_event_log", "msdb", "dbo")
        return self._table(MAIL_LOG, "?1", (True,))

    def _table(self, table: HistoryTable, where: str, values: Sequence[Stored]) -> list[Row]:
        names = ", ".join(column.name for column in table.columns)
        with CatalogFile(self._store / MSDB) as file:
            rows = file.read(f"SELECT {names} FROM {table.name} WHERE {where} ORDER BY 1", values)
        return [
            tuple(from_storage(value, column.type) for value, column in zip(row, table.columns, strict=True))
            for row in rows
        ]


def _insert(file: CatalogFile, table: HistoryTable, row: Mapping[str, Any]) -> None:
    file.read(
        f"INSERT INTO {table.name} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
        [to_storage(value, table.column(name).type) for name, value in row.items()],
    )


def _addresses(text: object) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(text or "").split(";") if part.strip())
