"""Logins, users and roles as views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.server.grants import type_code
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import EPOCH, LoginFacts, Scope, UserFacts
from tdsproxy.tsql.values import Value

SERVER_ROLE_IDS: Final = {
    "public": 2,
    "sysadmin": 3,
    "securityadmin": 4,
    "serveradmin": 5,
    "setupadmin": 6,
    "processadmin": 7,
    "diskadmin": 8,
    "dbcreator": 9,
    "bulkadmin": 10,
}
DATABASE_ROLE_IDS: Final = {
    "public": 0,
    "db_owner": 16384,
    "db_accessadmin": 16385,
    "db_securityadmin": 16386,
    "db_ddladmin": 16387,
    "db_backupoperator": 16389,
    "db_datareader": 16390,
    "db_datawriter": 16391,
    "db_denydatareader": 16392,
    "db_denydatawriter": 16393,
}


def _login(login: LoginFacts) -> dict[str, Value]:
    return {
        "name": login.name,
        "principal_id": login.id,
        "sid": login.sid,
        "type": "S",
        "type_desc": "SQL_LOGIN",
        "is_disabled": int(login.disabled),
        "create_date": login.created,
        "modify_date": login.created,
        "default_database_name": login.default_database,
        "default_language_name": "us_english",
        "is_fixed_role": 0,
    }


def _server_principals(scope: Scope) -> Iterator[Row]:
    for login in scope.logins():
        yield _login(login)
    for name, id_ in SERVER_ROLE_IDS.items():
        yield {
            "name": name,
            "principal_id": id_,
            "sid": bytes([id_]),
            "type": "R",
            "type_desc": "SERVER_ROLE",
            "create_date": EPOCH,
            "modify_date": EPOCH,
            "owning_principal_id": 1,
            "is_fixed_role": int(name != "public"),
        }


def _sql_logins(scope: Scope) -> Iterator[Row]:
    for login in scope.logins():
        yield _login(login) | {
            "is_policy_checked": int(login.check_policy),
            "is_expiration_checked": 0,
            "password_hash": None,
        }


def _server_members(scope: Scope) -> Iterator[Row]:
    for login in scope.logins():
        for role in sorted(login.roles):
            if role in SERVER_ROLE_IDS:
                yield {"role_principal_id": SERVER_ROLE_IDS[role], "member_principal_id": login.id}


def _user(user: UserFacts) -> Row:
    return {
        "name": user.name,
        "principal_id": user.id,
        "type": user.kind,
        "type_desc": "SQL_USER" if user.kind == "S" else "DATABASE_ROLE",
        "default_schema_name": user.default_schema,
        "create_date": user.created,
        "modify_date": user.created,
        "owning_principal_id": 1 if user.kind == "R" else None,
        "sid": user.sid,
        "is_fixed_role": int(user.fixed_role),
        "authentication_type": 1 if user.kind == "S" and user.sid not in (None, b"\x00") else 0,
        "authentication_type_desc": "INSTANCE" if user.kind == "S" and user.sid else "NONE",
    }


def _database_principals(scope: Scope) -> Iterator[Row]:
    for user in scope.users():
        yield _user(user)


def _database_members(scope: Scope) -> Iterator[Row]:
    ids = {user.name.lower(): user.id for user in scope.users() if user.kind == "R"}
    for user in scope.users():
        for role in sorted(user.roles):
            if role in ids:
                yield {"role_principal_id": ids[role], "member_principal_id": user.id}


_LOGIN_COLUMNS: Final = """
name sysname!, principal_id int!, sid varbinary(85), type char(1)!, type_desc nvarchar(60), is_disabled bit,
create_date datetime!, modify_date datetime!, default_database_name sysname, default_language_name sysname,
credential_id int
"""


def _database_permissions(scope: Scope) -> Iterator[Row]:
    ids = {user.name.lower(): user.id for user in scope.users()}
    for grant in scope.grants():
        whole = grant.object_id == 0
        yield {
            "class": 0 if whole else 1,
            "class_desc": "DATABASE" if whole else "OBJECT_OR_COLUMN",
            "major_id": grant.object_id,
            "minor_id": 0,
            "grantee_principal_id": ids.get(grant.grantee.lower(), 0),
            "grantor_principal_id": 1,
            "type": type_code(grant.permission),
            "permission_name": grant.permission,
            "state": grant.state,
            "state_desc": "GRANT" if grant.state == "G" else "DENY",
        }


_TOKEN: Final = (
    "principal_id int, sid varbinary(85), name nvarchar(128), type nvarchar(128), usage nvarchar(128)"
)


def _token(number: int, sid: bytes | None, name: str, kind: str) -> Row:
    return {"principal_id": number, "sid": sid, "name": name, "type": kind, "usage": "GRANT OR DENY"}


def _login_token(scope: Scope) -> Iterator[Row]:
    """The session's login, and the server roles that it has."""
    own = next((found for found in scope.sessions() if found.spid == scope.spid), None)
    for login in scope.logins():
        if own is not None and login.name.lower() == own.login.lower():
            yield _token(login.id, login.sid, login.name, "SQL LOGIN")
            for name, id_ in SERVER_ROLE_IDS.items():
                if name == "public" or name in login.roles:
                    yield _token(id_, bytes([id_]), name, "SERVER ROLE")


def _user_token(scope: Scope) -> Iterator[Row]:
    """The session's user in the database, and the roles that it has there."""
    user = scope.user
    users = {found.name.lower(): found for found in scope.users()}
    yield _token(user.id, users.get(user.name.lower(), user).sid, user.name, "SQL USER")
    for name in ("public", *sorted(user.roles - {"public"})):
        role = users.get(name.lower())
        if role is not None:
            yield _token(role.id, role.sid or None, role.name, "ROLE")


VIEWS: Final[tuple[View, ...]] = (
    view("sys.login_token", _TOKEN, _login_token),
    view("sys.user_token", _TOKEN, _user_token),
    view(
        "sys.database_permissions",
        "class tinyint!, class_desc nvarchar(60), major_id int!, minor_id int!, grantee_principal_id int!,"
        "grantor_principal_id int!, type char(4)!, permission_name nvarchar(128), state char(1)!,"
        "state_desc nvarchar(60)",
        _database_permissions,
    ),
    view(
        "sys.server_principals",
        f"{_LOGIN_COLUMNS}, owning_principal_id int, is_fixed_role bit!",
        _server_principals,
    ),
    view(
        "sys.sql_logins",
        f"{_LOGIN_COLUMNS}, is_policy_checked bit, is_expiration_checked bit, password_hash varbinary(256)",
        _sql_logins,
    ),
    view(
        "sys.server_role_members",
        "role_principal_id int!, member_principal_id int!",
        _server_members,
    ),
    view(
        "sys.database_principals",
        "name sysname!, principal_id int!, type char(1)!, type_desc nvarchar(60),"
        " default_schema_name sysname,"
        "create_date datetime!, modify_date datetime!, owning_principal_id int, sid varbinary(85),"
        "is_fixed_role bit!, authentication_type int!, authentication_type_desc nvarchar(60),"
        "default_language_name sysname, default_language_lcid int, allow_encrypted_value_modifications bit!",
        _database_principals,
    ),
    view(
        "sys.database_role_members",
        "role_principal_id int!, member_principal_id int!",
        _database_members,
    ),
    view(
        "sys.syslogins",
        "sid varbinary(85), status smallint, createdate datetime!, updatedate datetime!, name sysname!,"
        "dbname sysname, language sysname, denylogin int, hasaccess int, isntname int, sysadmin int,"
        "loginname sysname!",
        lambda scope: (
            {
                "sid": login.sid,
                "status": 9,
                "createdate": login.created,
                "updatedate": login.created,
                "name": login.name,
                "dbname": login.default_database,
                "language": "us_english",
                "denylogin": 0,
                "hasaccess": 1,
                "isntname": 0,
                "sysadmin": int("sysadmin" in login.roles),
                "loginname": login.name,
            }
            for login in scope.logins()
        ),
    ),
)
