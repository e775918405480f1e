"""Logins, users, roles and permissions as functions: SUSER_SNAME, IS_SRVROLEMEMBER ..."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.functions.context import ServerContext
from tdsproxy.server.functions.define import asks
from tdsproxy.tsql import types as t
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.values import Value

SERVER_ROLES: Final = (
    "sysadmin",
    "securityadmin",
    "serveradmin",
    "setupadmin",
    "processadmin",
    "diskadmin",
    "dbcreator",
    "bulkadmin",
)
DATABASE_ROLES: Final = (
    "db_owner",
    "db_accessadmin",
    "db_securityadmin",
    "db_ddladmin",
    "db_backupoperator",
    "db_datareader",
    "db_datawriter",
    "db_denydatareader",
    "db_denydatawriter",
)


def _login_name(context: ServerContext, sid: bytes | None = None) -> Value:
    if sid is None:
        return context.session.login
    return next((login.name for login in context.logins() if login.sid == sid), None)


def _login_name_of_id(context: ServerContext, id_: int | None = None) -> Value:
    if id_ is None:
        return context.session.login
    return next((login.name for login in context.logins() if login.id == id_), None)


def _login_sid(context: ServerContext, name: str | None = None, _check: int | None = None) -> Value:
    if name is None:
        return context.session.login_sid
    return next((x.sid for x in context.logins() if x.name.lower() == name.lower()), None)


def _login_id(context: ServerContext, name: str | None = None) -> Value:
    wanted = context.session.login if name is None else name
    return next((x.id for x in context.logins() if x.name.lower() == wanted.lower()), None)


def _user_name(context: ServerContext, id_: int | None = None) -> Value:
    if id_ is None:
        return context.user.name
    return next((user.name for user in context.users() if user.id == id_), None)


def _user_id(context: ServerContext, name: str | None = None) -> Value:
    if name is None:
        return context.user.id
    return next((u.id for u in context.users() if u.name.lower() == name.lower()), None)


def _in_server_role(context: ServerContext, role: str, login: str | None = None) -> Value:
    wanted = role.strip().lower()
    if wanted == "public":
        return 1
    if wanted not in SERVER_ROLES:
        return None
    roles = context.server_roles
    if login is not None:
        found = next((x for x in context.logins() if x.name.lower() == login.lower()), None)
        if found is None:
            return None
        roles = found.roles
    return int(wanted in roles or "sysadmin" in roles)


def _in_database_role(context: ServerContext, role: str, user: str | None = None) -> Value:
    wanted = role.strip().lower()
    known = {u.name.lower() for u in context.users() if u.kind == "R"} | set(DATABASE_ROLES) | {"public"}
    if wanted not in known:
        return None
    if wanted == "public":
        return 1
    member = context.user
    if user is not None:
        found = next((u for u in context.users() if u.name.lower() == user.lower()), None)
        if found is None:
            return None
        member = found
    if member.name == "dbo":
        return int(wanted in ("db_owner", *DATABASE_ROLES[:7]))
    by_role = {u.name.lower(): u.roles for u in context.users() if u.kind == "R"}
    reached: set[str] = set()
    waiting = set(member.roles)
    while waiting:
        through = waiting.pop()
        reached.add(through)
        waiting |= by_role.get(through, frozenset()) - reached
    return int(wanted in reached)


def _has_permission(
    context: ServerContext,
    securable: str | None,
    kind: str | None,
    permission: str,
    _sub: str | None = None,
    _sub_kind: str | None = None,
) -> Value:
    """HAS_PERMS_BY_NAME by roles: everything for sysadmin, a database's for its owner."""
    if permission is None:
        return None
    if "sysadmin" in context.server_roles:
        return 1
    wanted = permission.strip().upper()
    scope = (kind or "").strip().upper()
    if scope in ("", "SERVER"):
        return int(wanted in ("VIEW ANY DATABASE", "CONNECT SQL", "CONNECT ANY DATABASE"))
    user = context.user
    if scope == "DATABASE" and securable and securable.strip("[]").lower() != context.database_name.lower():
        return int(wanted in ("CONNECT", "ANY") and context.may_use(securable.strip("[]")))
    if user.name == "dbo" or "db_owner" in user.roles:
        return 1
    by_role = {
        "SELECT": "db_datareader",
        "INSERT": "db_datawriter",
        "UPDATE": "db_datawriter",
        "DELETE": "db_datawriter",
        "BACKUP DATABASE": "db_backupoperator",
        "BACKUP LOG": "db_backupoperator",
    }
    if wanted in ("CONNECT", "ANY"):
        return 1
    return int(by_role.get(wanted, "") in user.roles)


_NAME: Final = t.nvarchar(128)


def _policies_are_on(context: ServerContext) -> Value:
    """Policy-based management, which there is not."""
    del context
    return 0


def _account_sid(context: ServerContext, name: Value) -> Value:
    """The sid of an account of Windows, of which there are none."""
    del context, name
    return None


FUNCTIONS: Final[tuple[FunctionDef, ...]] = (
    asks("SUSER_SNAME", 0, 1, _NAME, _login_name),
    asks("SUSER_NAME", 0, 1, _NAME, _login_name_of_id),
    asks("SUSER_SID", 0, 2, t.varbinary(85), _login_sid),
    asks("FN_SYSPOLICY_IS_AUTOMATION_ENABLED", 0, 0, t.BIT, _policies_are_on),
    asks("SID_BINARY", 1, 1, t.varbinary(85), _account_sid),
    asks("SUSER_ID", 0, 1, t.INT, _login_id),
    asks("SYSTEM_USER", 0, 0, _NAME, _login_name),
    asks("ORIGINAL_LOGIN", 0, 0, _NAME, lambda context: context.session.original_login),
    asks("USER_NAME", 0, 1, _NAME, _user_name),
    asks("USER", 0, 0, _NAME, _user_name),
    asks("CURRENT_USER", 0, 0, _NAME, _user_name),
    asks("SESSION_USER", 0, 0, _NAME, _user_name),
    asks("USER_ID", 0, 1, t.INT, _user_id),
    asks("DATABASE_PRINCIPAL_ID", 0, 1, t.INT, _user_id),
    asks("IS_SRVROLEMEMBER", 1, 2, t.INT, _in_server_role),
    asks("IS_MEMBER", 1, 1, t.INT, _in_database_role),
    asks("IS_ROLEMEMBER", 1, 2, t.INT, _in_database_role),
    asks("HAS_PERMS_BY_NAME", 3, 5, t.INT, _has_permission, strict=False),
)
