"""Database Mail's views in msdb: what was sent, and the profiles, accounts and servers."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from tdsproxy.catalog.agent_schema import MAIL_ITEMS
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.tsql.values import DateTime, Value

_STATUS: Final = {0: "unsent", 1: "sent", 3: "retrying"}
_ITEMS: Final = """
mailitem_id int!, profile_id int!, recipients varchar(max), copy_recipients varchar(max),
blind_copy_recipients varchar(max), subject nvarchar(255), body nvarchar(max), body_format varchar(20),
importance varchar(6), sensitivity varchar(12), file_attachments nvarchar(max),
attachment_encoding varchar(20), query nvarchar(max), execute_query_database sysname,
attach_query_result_as_file bit, query_result_header bit, query_result_width int,
query_result_separator char(1), exclude_query_output bit, append_query_error bit,
send_request_date datetime!, send_request_user sysname!, sent_account_id int, sent_status varchar(8),
sent_date datetime, last_mod_date datetime!, last_mod_user sysname!
"""
_NAMES: Final = tuple(column.name for column in MAIL_ITEMS.columns)
_EVENTS: Final = {0: "success", 1: "information", 2: "warning"}
_CHANGED: Final = "last_mod_datetime datetime!, last_mod_user sysname!"


def _items(*wanted: str) -> Callable[[Scope], Iterable[Row]]:
    """Mails in one of these states, or all of them."""

    def rows(scope: Scope) -> Iterator[Row]:
        for found in scope.look("sp_mail_items"):
            row = dict(zip(_NAMES, found, strict=True))
            status = _STATUS.get(int(str(row["sent_status"] or 0)), "failed")
            if not wanted or status in wanted:
                yield {**row, "sent_status": status}

    return rows


def _events(scope: Scope) -> Iterator[Row]:
    for number, kind, *rest in scope.look("sp_mail_log"):
        names = ("log_date", "description", "process_id", "mailitem_id", "account_id", "last_mod_date")
        row = dict(zip((*names, "last_mod_user"), rest, strict=True))
        yield {**row, "log_id": number, "event_type": _EVENTS.get(int(str(kind)), "error")}


def _entries(kind: str, **fixed: Value) -> Callable[[Scope], Iterable[Row]]:
    """The entries of a kind (``keeper.mail_book``), and what all of them have."""

    def rows(scope: Scope) -> Iterator[Row]:
        for (text,) in scope.look("sp_mail_entries", kind):
            entry = json.loads(str(text))
            changed = DateTime.of(dt.datetime.fromisoformat(entry["last_mod_datetime"]))
            yield {**entry, **fixed, "last_mod_datetime": changed}

    return rows


def _server_types(scope: Scope) -> Iterator[Row]:
    yield {
        "servertype": "SMTP",
        "is_incoming": 0,
        "is_outgoing": 1,
        "last_mod_datetime": scope.started,
        "last_mod_user": "sa",
    }


def _configuration(scope: Scope) -> Iterator[Row]:
    """What is fixed here: how often ``agent.notifier`` tries, what mails are made of."""
    known = (
        ("AccountRetryAttempts", "4", "Number of attempts to send a mail through an account"),
        ("DefaultAttachmentEncoding", "MIME", "Default attachment encoding"),
    )
    for name, value, text in known:
        yield {
            "paramname": name,
            "paramvalue": value,
            "description": text,
            "last_mod_datetime": scope.started,
            "last_mod_user": "sa",
        }


VIEWS: Final[tuple[View, ...]] = (
    view("dbo.sysmail_allitems", _ITEMS, _items()),
    view("dbo.sysmail_sentitems", _ITEMS, _items("sent")),
    view("dbo.sysmail_unsentitems", _ITEMS, _items("unsent", "retrying")),
    view("dbo.sysmail_faileditems", _ITEMS, _items("failed")),
    view(
        "dbo.sysmail_event_log",
        "log_id int!, event_type varchar(11)!, log_date datetime!, description nvarchar(max), process_id int,"
        " mailitem_id int, account_id int, last_mod_date datetime!, last_mod_user sysname!",
        _events,
    ),
    view(
        "dbo.sysmail_mailattachments",
        "attachment_id int!, mailitem_id int!, filename nvarchar(260)!, filesize int!,"
        " attachment varbinary(max), last_mod_date datetime!, last_mod_user sysname!",
    ),
    view(
        "dbo.sysmail_profile",
        f"profile_id int!, name sysname!, description nvarchar(256), {_CHANGED}",
        _entries("profile"),
    ),
    view(
        "dbo.sysmail_configuration",
        f"paramname nvarchar(256)!, paramvalue nvarchar(256), description nvarchar(256), {_CHANGED}",
        _configuration,
    ),
    view(
        "dbo.sysmail_account",
        "account_id int!, name sysname!, description nvarchar(256), email_address nvarchar(128)!,"
        f" display_name nvarchar(128), replyto_address nvarchar(128), {_CHANGED}",
        _entries("account"),
    ),
    view(
        "dbo.sysmail_servertype",
        f"servertype sysname!, is_incoming bit!, is_outgoing bit!, {_CHANGED}",
        _server_types,
    ),
    view(
        "dbo.sysmail_server",
        "account_id int!, servertype sysname!, servername sysname!, port int!, username nvarchar(128),"
        " credential_id int, use_default_credentials bit!, enable_ssl bit!, flags int!, timeout int,"
        f" {_CHANGED}",
        _entries("account", servertype="SMTP", timeout=10),
    ),
    view(
        "dbo.sysmail_profileaccount",
        f"profile_id int!, account_id int!, sequence_number int, {_CHANGED}",
        _entries("profileaccount"),
    ),
    view(
        "dbo.sysmail_principalprofile",
        f"profile_id int!, principal_sid varbinary(85)!, is_default bit!, {_CHANGED}",
        _entries("principalprofile", principal_sid=b"\x00"),
    ),
)
