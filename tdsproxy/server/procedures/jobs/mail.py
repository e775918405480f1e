"""Database Mail: sp_send_dbmail, and what the sysmail_ procedures show and delete.

The mail server of the notices is a profile with one account, which everybody may use who may send at all;
``mail_accounts`` adds others. Queries and files are not attached: a mail with them is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.asking import ask
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.server.procedures.jobs.mail_accounts import PROCEDURES as ACCOUNTS
from tdsproxy.server.procedures.jobs.messages import refuse
from tdsproxy.server.procedures.refused import mail_is_off
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_NAMES: Final = (
    "@profile_name @recipients @copy_recipients @blind_copy_recipients @subject @body @body_format"
    " @importance @sensitivity @file_attachments @query @execute_query_database @attach_query_result_as_file"
    " @query_attachment_filename @query_result_header @query_result_width @query_result_separator"
    " @exclude_query_output @append_query_error @query_no_truncate @query_result_no_padding @mailitem_id"
    " @from_address @reply_to"
)
_SWITCH: Final = "Database Mail XPs"
_CHOICES: Final = (
    ("@body_format", "TEXT", ("TEXT", "HTML"), 14626, "Mail body format must be TEXT or HTML."),
    (
        "@importance",
        "NORMAL",
        ("LOW", "NORMAL", "HIGH"),
        14622,
        "Mail importance must be one of LOW, NORMAL, or HIGH.",
    ),
    (
        "@sensitivity",
        "NORMAL",
        ("NORMAL", "PERSONAL", "PRIVATE", "CONFIDENTIAL"),
        14623,
        "Mail sensitivity must be one of NORMAL, PERSONAL, PRIVATE, or CONFIDENTIAL.",
    ),
)
_ADDRESSES: Final = ("recipients", "copy_recipients", "blind_copy_recipients")
_SUBJECT: Final = 255


def _send(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """sp_send_dbmail. Raises SqlError 15281 while the option is off, 14607 for another profile than the one
    there is, 14636 when there is none, 14622, 14623, 14624, 14626, 22050, 22051."""
    given = Parameters("sp_send_dbmail", _NAMES, arguments)
    if not session.engine.catalog.configurations.in_use(_SWITCH):
        raise mail_is_off("sp_send_dbmail")
    profile = given.text("@profile_name")
    known = ask(session, frame, "sp_mail_profile", profile)
    if profile is not None and not known:
        raise SqlError.of(14607, 16, 1, "profile name is not valid")
    if not known:
        raise SqlError.of(
            14636,
            16,
            1,
            "No global profile is configured. Specify a profile name in the @profile_name parameter.",
        )
    item: dict[str, object] = {"profile_id": known[0][0]}
    item |= {name: given.value(f"@{name}", t.varchar(t.MAX)) for name in _ADDRESSES}
    if not any(str(item[name] or "").strip() for name in _ADDRESSES):
        raise SqlError.of(
            14624,
            16,
            1,
            "At least one of the following parameters must be specified."
            ' "@recipients, @copy_recipients, @blind_copy_recipients".',
        )
    for name, default, allowed, number, rule in _CHOICES:
        word = given.text(name)
        if word is not None and word.upper() not in allowed:
            text = f'Parameter {name} does not support the value "{word}". {rule}'
            raise SqlError.of(number, 16, 1, text)
        item[name[1:]] = default if word is None else word.upper()
    _refuse_attachments(given)
    subject = given.text("@subject")
    item |= {
        "subject": "SQL Server Message" if subject is None else subject[:_SUBJECT],
        "body": given.value("@body", t.nvarchar(t.MAX)),
        "from_address": given.value("@from_address", t.varchar(t.MAX)),
        "reply_to": given.value("@reply_to", t.varchar(t.MAX)),
    }
    queued = int(str(ask(session, frame, "sp_mail_send", json.dumps(item))[0][0]))
    given.give("@mailitem_id", queued, t.INT)
    yield Message(0, 0, 1, f"Mail (Id: {queued}) queued.")
    return 0


def _refuse_attachments(given: Parameters) -> None:
    """Raises SqlError 22050 for a query, 22051 for files."""
    if given.text("@query"):
        raise SqlError.of(22050, 16, 1, "Error formatting query, probably invalid parameters")
    files = given.text("@file_attachments")
    if files:
        raise SqlError.of(22051, 16, 1, f"Attachment file {files} is invalid.")


def _status(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """sysmail_help_status_sp."""
    Parameters("sysmail_help_status_sp", "", arguments)
    ((sends,),) = ask(session, frame, "sp_mail_entries", "status")
    yield from result("Status nvarchar(7)", [{"Status": "STARTED" if sends else "STOPPED"}])
    return 0


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_send_dbmail": _send,
    "sysmail_help_status_sp": _status,
    **ACCOUNTS,
}
"""By lower-case name; msdb's."""

_OF_PROFILE: Final = "@profile_id int = NULL, @profile_name sysname = NULL"
_OF_ACCOUNT: Final = "@account_id int = NULL, @account_name sysname = NULL"


def _find(kind: str) -> str:
    return f"""
IF @{kind}_id IS NOT NULL AND NOT EXISTS (SELECT * FROM dbo.sysmail_{kind} WHERE {kind}_id = @{kind}_id)
    {refuse(14606, f"'{kind}'")}
IF @{kind}_name IS NOT NULL AND NOT EXISTS (SELECT * FROM dbo.sysmail_{kind} WHERE name = @{kind}_name)
    {refuse(14607, f"'{kind}'")}
"""


BODIES: Final[dict[str, tuple[str, str]]] = {
    "sysmail_help_configure_sp": (
        "@parameter_name nvarchar(256) = NULL",
        """
SELECT paramname, paramvalue, description FROM dbo.sysmail_configuration
WHERE @parameter_name IS NULL OR paramname = @parameter_name
""",
    ),
    "sysmail_configure_sp": (
        "@parameter_name nvarchar(256), @parameter_value nvarchar(256), @description nvarchar(256) = NULL",
        "RAISERROR(N'The parameters of Database Mail are fixed.', 16, 1) RETURN 1",
    ),
    "sysmail_help_profile_sp": (
        _OF_PROFILE,
        f"""{_find("profile")}
SELECT profile_id, name, description FROM dbo.sysmail_profile
WHERE (@profile_id IS NULL OR profile_id = @profile_id) AND (@profile_name IS NULL OR name = @profile_name)
""",
    ),
    "sysmail_help_account_sp": (
        _OF_ACCOUNT,
        f"""{_find("account")}
SELECT a.account_id, a.name, a.description, a.email_address, a.display_name, a.replyto_address, s.servertype,
    s.servername, s.port, s.username, s.use_default_credentials, s.enable_ssl
FROM dbo.sysmail_account a JOIN dbo.sysmail_server s ON s.account_id = a.account_id
WHERE (@account_id IS NULL OR a.account_id = @account_id)
    AND (@account_name IS NULL OR a.name = @account_name)
""",
    ),
    "sysmail_help_profileaccount_sp": (
        f"{_OF_PROFILE}, {_OF_ACCOUNT}",
        f"""{_find("profile")} {_find("account")}
SELECT p.profile_id, p.name AS profile_name, a.account_id, a.name AS account_name, c.sequence_number
FROM dbo.sysmail_profileaccount c JOIN dbo.sysmail_profile p ON p.profile_id = c.profile_id
    JOIN dbo.sysmail_account a ON a.account_id = c.account_id
WHERE (@profile_id IS NULL OR p.profile_id = @profile_id)
    AND (@profile_name IS NULL OR p.name = @profile_name)
    AND (@account_id IS NULL OR a.account_id = @account_id)
    AND (@account_name IS NULL OR a.name = @account_name)
""",
    ),
    "sysmail_help_principalprofile_sp": (
        f"@principal_id int = NULL, @principal_name sysname = NULL, {_OF_PROFILE}",
        f"""{_find("profile")}
SELECT 0 AS principal_id, CAST(N'public' AS sysname) AS principal_name, p.profile_id, p.name AS profile_name,
    c.is_default
FROM dbo.sysmail_principalprofile c JOIN dbo.sysmail_profile p ON p.profile_id = c.profile_id
WHERE (@profile_id IS NULL OR p.profile_id = @profile_id)
    AND (@profile_name IS NULL OR p.name = @profile_name)
""",
    ),
    "sysmail_help_queue_sp": (
        "@queue_type nvarchar(6) = NULL",
        """
SELECT CAST(N'mail' AS nvarchar(6)) AS queue_type,
    (SELECT COUNT(*) FROM dbo.sysmail_mailitems WHERE sent_status = 0) AS length,
    CAST(CASE WHEN EXISTS (SELECT * FROM dbo.sysmail_mailitems WHERE sent_status = 0)
        THEN N'RECEIVES_OCCURRING' ELSE N'INACTIVE' END AS nvarchar(64)) AS state,
    CAST(NULL AS datetime) AS last_empty_rowset_time, CAST(NULL AS datetime) AS last_activated_time
WHERE @queue_type IS NULL OR @queue_type = N'mail'
""",
    ),
    "sysmail_delete_mailitems_sp": (
        "@sent_before datetime = NULL, @sent_status varchar(8) = NULL",
        f"""
SELECT @sent_status = LOWER(@sent_status)
IF @sent_before IS NULL AND @sent_status IS NULL {refuse(14608, "'@sent_before'", "'@sent_status'")}
IF @sent_status NOT IN ('unsent', 'sent', 'failed', 'retrying')
    {refuse(14266, "'@sent_status'", "'unsent, sent, failed, retrying'")}
DELETE dbo.sysmail_mailitems WHERE (@sent_before IS NULL OR send_request_date < @sent_before)
    AND (@sent_status IS NULL OR sent_status = CASE @sent_status WHEN 'unsent' THEN 0 WHEN 'sent' THEN 1
        WHEN 'retrying' THEN 3 ELSE 2 END)
DECLARE @gone int = @@ROWCOUNT
DECLARE @caller nvarchar(128) = SUSER_SNAME()
DECLARE @said nvarchar(512) = N'Mail items deletion is initiated by user "' + @caller + N'". '
    + CAST(@gone AS nvarchar(12)) + N' items deleted.'
INSERT dbo.sysmail_log (event_type, log_date, description, process_id, last_mod_date, last_mod_user)
VALUES (1, GETDATE(), @said, @@SPID, GETDATE(), @caller)
""",
    ),
    "sysmail_delete_log_sp": (
        "@logged_before datetime = NULL, @event_type varchar(15) = NULL",
        f"""
SELECT @event_type = LOWER(@event_type)
IF @event_type NOT IN ('success', 'warning', 'error', 'information')
    {refuse(14266, "'@event_type'", "'success, warning, error, information'")}
DELETE dbo.sysmail_log WHERE (@logged_before IS NULL OR log_date < @logged_before)
    AND (@event_type IS NULL OR event_type = CASE @event_type WHEN 'success' THEN 0 WHEN 'information' THEN 1
        WHEN 'warning' THEN 2 ELSE 3 END)
""",
    ),
}
