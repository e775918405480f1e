"""The procedures that change Database Mail: profiles, accounts, who may use them, start and stop.

What they change, the keeper keeps (``keeper.mail_book``). An account's server is used as it is told, with
STARTTLS for ``@enable_ssl``; its password becomes a credential.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.asking import ask
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure
from tdsproxy.server.procedures.jobs.messages import MESSAGES
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_SMTP_PORT: Final = 25
_SERVER: Final = (
    "@email_address @display_name @replyto_address @description @mailserver_name @mailserver_type @port"
)
_SECRETS: Final = "@username @password @use_default_credentials @enable_ssl"
_PROFILE: Final = "@profile_id @profile_name"
_ACCOUNT: Final = "@account_id @account_name"
_PRINCIPAL: Final = "@principal_id @principal_name"
_PUBLIC: Final = "public"


def _account_columns(given: Parameters) -> dict[str, object]:
    """Raises SqlError 14266 for what is not here."""
    kind = given.text("@mailserver_type")
    if kind is not None and kind.upper() != "SMTP":
        raise _invalid("@mailserver_type", "SMTP")
    if given.number("@use_default_credentials"):
        raise _invalid("@use_default_credentials", "0")
    names = ("email_address", "display_name", "replyto_address", "description", "username", "password")
    ssl = given.number("@enable_ssl")
    return {
        **{name: given.text(f"@{name}") for name in names},
        "servername": given.text("@mailserver_name"),
        "port": given.number("@port"),
        "enable_ssl": None if ssl is None else int(bool(ssl)),
    }


def _invalid(name: str, allowed: str) -> SqlError:
    return SqlError.of(14266, 16, 1, MESSAGES[14266] % (name, allowed))


def _which(given: Parameters, *kinds: str) -> dict[str, object]:
    """The numbers and names of profiles or accounts."""
    found: dict[str, object] = {}
    for kind in kinds:
        found |= {f"{kind}_id": given.number(f"@{kind}_id"), f"{kind}_name": given.text(f"@{kind}_name")}
    return found


def _change(session: Session, frame: Frame, what: str, given: dict[str, object]) -> int | None:
    rows = ask(session, frame, "sp_mail_change", what, json.dumps(given))
    return int(str(rows[0][0])) if rows else None


def _add_account(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sysmail_add_account_sp", f"@account_name {_SERVER} {_SECRETS} @account_id", arguments)
    columns = {"name": given.required("@account_name").strip(), **_account_columns(given)}
    address = given.required("@email_address")
    # Without a name of its own the server is the one that the address names.
    server = columns["servername"] or address.rpartition("@")[2]
    columns |= {
        "servername": server,
        "port": columns["port"] or _SMTP_PORT,
        "enable_ssl": columns["enable_ssl"] or 0,
    }
    given.give("@account_id", _change(session, frame, "add account", columns), t.INT)
    return 0
    yield


def _update_account(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    names = f"{_ACCOUNT} {_SERVER} @timeout {_SECRETS} @no_credential_change"
    given = Parameters("sysmail_update_account_sp", names, arguments)
    columns = {**_account_columns(given), **_renaming(given, "account")}
    if given.number("@no_credential_change"):
        columns |= {"username": None, "password": None}
    _change(session, frame, "update account", columns)
    return 0
    yield


def _renaming(given: Parameters, kind: str) -> dict[str, object]:
    """An entry by its number or its name; with both, the name is a new one."""
    which = _which(given, kind)
    if which[f"{kind}_id"] is not None and which[f"{kind}_name"] is not None:
        return {f"{kind}_id": which[f"{kind}_id"], "name": str(which[f"{kind}_name"]).strip()}
    return which


def _add_profile(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sysmail_add_profile_sp", "@profile_name @description @profile_id", arguments)
    columns: dict[str, object] = {
        "name": given.required("@profile_name").strip(),
        "description": given.text("@description"),
    }
    given.give("@profile_id", _change(session, frame, "add profile", columns), t.INT)
    return 0
    yield


def _update_profile(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sysmail_update_profile_sp", f"{_PROFILE} @description", arguments)
    columns = {**_renaming(given, "profile"), "description": given.text("@description")}
    _change(session, frame, "update profile", columns)
    return 0
    yield


def _deleting(kind: str) -> SystemProcedure:
    names = {"account": _ACCOUNT, "profile": f"{_PROFILE} @force_delete"}[kind]

    def delete(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
        given = Parameters(f"sysmail_delete_{kind}_sp", names, arguments)
        _change(session, frame, f"delete {kind}", _which(given, kind))
        return 0
        yield

    return delete


def _membership(verb: str) -> SystemProcedure:
    """Which accounts a profile has, and in which order they are tried."""

    def change(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
        name = f"sysmail_{verb}_profileaccount_sp"
        sequence = "" if verb == "delete" else " @sequence_number"
        given = Parameters(name, f"{_PROFILE} {_ACCOUNT}{sequence}", arguments)
        pair = _which(given, "profile", "account")
        if verb != "delete":
            given.required("@sequence_number")
            pair["sequence_number"] = given.number("@sequence_number")
        _change(session, frame, f"{verb} profileaccount", pair)
        return 0
        yield

    return change


def _principal(verb: str) -> SystemProcedure:
    """Who may use a profile: everybody. There are no private profiles: raises SqlError 14266."""

    def change(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
        default = "" if verb == "delete" else " @is_default"
        given = Parameters(
            f"sysmail_{verb}_principalprofile_sp", f"{_PRINCIPAL} {_PROFILE}{default}", arguments
        )
        name, number = given.text("@principal_name"), given.number("@principal_id")
        if (name or _PUBLIC).lower() != _PUBLIC or number not in (None, 0):
            raise _invalid("@principal_name", _PUBLIC)
        pair = _which(given, "profile")
        if verb != "delete":
            given.required("@is_default")
            pair["is_default"] = int(bool(given.number("@is_default")))
        _change(session, frame, f"{verb} principalprofile", pair)
        return 0
        yield

    return change


def _switch(verb: str) -> SystemProcedure:
    """sysmail_start_sp and sysmail_stop_sp: mails that are sent meanwhile wait."""

    def change(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
        Parameters(f"sysmail_{verb}_sp", "", arguments)
        _change(session, frame, verb, {})
        return 0
        yield

    return change


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sysmail_add_account_sp": _add_account,
    "sysmail_update_account_sp": _update_account,
    "sysmail_add_profile_sp": _add_profile,
    "sysmail_update_profile_sp": _update_profile,
    **{f"sysmail_delete_{kind}_sp": _deleting(kind) for kind in ("account", "profile")},
    **{f"sysmail_{verb}_profileaccount_sp": _membership(verb) for verb in ("add", "update", "delete")},
    **{f"sysmail_{verb}_principalprofile_sp": _principal(verb) for verb in ("add", "update", "delete")},
    **{f"sysmail_{verb}_sp": _switch(verb) for verb in ("start", "stop")},
}
"""By lower-case name; msdb's."""
