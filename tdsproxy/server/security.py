"""CREATE, ALTER and DROP of logins, users and roles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tdsproxy.catalog.logins import SA, SERVER_ROLES, Login
from tdsproxy.server.grants import run_permission
from tdsproxy.server.impersonation import new_sid
from tdsproxy.server.passwords import hash_password, verify_password
from tdsproxy.server.sysviews.security import DATABASE_ROLE_IDS
from tdsproxy.server.users import Users
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Command, Done, Reply

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_BUILT_IN_USERS: Final = frozenset({"dbo", "guest", "sys", "information_schema"})

SecurityStatement = (
    ast.CreateLogin | ast.DropLogin | ast.CreateUser | ast.DropUser | ast.AlterRole | ast.Permission
)


def run_security(session: Session, statement: SecurityStatement) -> Iterator[Reply]:
    """Runs one statement on principals. Raises SqlError with SQL Server's numbers."""
    if isinstance(statement, ast.CreateLogin):
        _alter_login(session, statement) if statement.alter else _create_login(session, statement)
    elif isinstance(statement, ast.DropLogin):
        _drop_login(session, statement.name)
    elif isinstance(statement, ast.CreateUser):
        _create_user(session, statement)
    elif isinstance(statement, ast.DropUser):
        _drop_user(session, statement)
    elif isinstance(statement, ast.AlterRole):
        _server_role(session, statement) if statement.server else _database_role(session, statement)
    else:
        run_permission(session, statement)
    yield Done(Command.NONE)


# --------------------------------------------------------------------------- logins


def _missing(kind: str, verb: str, name: str) -> SqlError:
    return SqlError.of(
        15151,
        16,
        1,
        f"Cannot {verb} the {kind} '{name}', because it does not exist or you do not have permission.",
    )


def _fixed(kind: str, verb: str, name: str) -> SqlError:
    """A principal that every database has."""
    return SqlError.of(15150, 16, 1, f"Cannot {verb} the {kind} '{name}'.")


def _check_password(password: str, name: str) -> None:
    if not password:
        raise SqlError.of(
            15116,
            16,
            1,
            "Password validation failed. The password does not meet the operating system policy"
            " requirements because it is too short.",
        )
    del name


def _options(statement: ast.CreateLogin) -> dict[str, str]:
    return {word.upper(): text for word, text in statement.options}


def _create_login(session: Session, statement: ast.CreateLogin) -> None:
    session.rights.require_server_role("securityadmin")
    options = _options(statement)
    if statement.password is None:
        raise SqlError.of(
            15401,
            16,
            1,
            f"Windows NT user or group '{statement.name}' not found. Check the name again.",
        )
    _check_password(statement.password, statement.name)
    sid = options.get("SID", "")
    try:
        session.engine.catalog.logins.create(
            statement.name,
            hash_password(statement.password),
            default_database=options.get("DEFAULT_DATABASE", "master"),
            sid=bytes.fromhex(sid[2:]) if sid.lower().startswith("0x") else None,
        )
    except KeyError:
        raise SqlError.of(15025, 16, 1, f"The server principal '{statement.name}' already exists.") from None


def _alter_login(session: Session, statement: ast.CreateLogin) -> None:
    logins = session.engine.catalog.logins
    login = logins.find(statement.name)
    if login is None:
        raise _missing("login", "alter", statement.name)
    own = login.id == session.rights.login.id
    if own and statement.old_password is not None:
        if not verify_password(statement.old_password, login.password_hash):
            raise _missing("login", "alter", statement.name)
    else:
        session.rights.require_server_role("securityadmin")
        _guard_sysadmin(session, login, "alter")
    changes: dict[str, object] = {}
    options = _options(statement)
    if statement.password is not None:
        _check_password(statement.password, statement.name)
        changes["password_hash"] = hash_password(statement.password)
    if statement.disable is not None:
        changes["disabled"] = statement.disable
    if "DEFAULT_DATABASE" in options:
        changes["default_database"] = options["DEFAULT_DATABASE"]
    if "NAME" in options:
        changes["name"] = options["NAME"]
    if changes:
        try:
            logins.update(statement.name, **changes)
        except KeyError:
            raise SqlError.of(
                15025, 16, 2, f"The server principal '{options['NAME']}' already exists."
            ) from None


def _guard_sysadmin(session: Session, login: Login, verb: str) -> None:
    """securityadmin may not touch a sysadmin: that would make it one."""
    if "sysadmin" in login.roles and not session.rights.is_sysadmin:
        raise _missing("login", verb, login.name)


def _drop_login(session: Session, name: str) -> None:
    session.rights.require_server_role("securityadmin")
    login = session.engine.catalog.logins.find(name)
    if login is None:
        raise _missing("login", "drop", name)
    _guard_sysadmin(session, login, "drop")
    if login.name.lower() == SA:
        raise SqlError.of(15405, 16, 1, f"Cannot use the special principal '{login.name}'.")
    if session.engine.is_connected(login.name):
        raise SqlError.of(
            15434, 16, 1, f"Could not drop login '{login.name}' as the user is currently logged in."
        )
    owned = [d for d in session.engine.catalog.databases.all() if d.owner.lower() == name.lower()]
    if owned:
        raise SqlError.of(
            15174,
            16,
            1,
            f"Login '{login.name}' owns one or more database(s). Change the owner of the database(s)"
            " before dropping the login.",
        )
    session.engine.catalog.logins.drop(name)


# --------------------------------------------------------------------------- users


def _users(session: Session) -> Users:
    return session.users_table(session.database)


def _create_user(session: Session, statement: ast.CreateUser) -> None:
    session.rights.require_owner(session.database, "User does not have permission to perform this action.")
    users = _users(session)
    existing = users.find(statement.name)
    if statement.alter:
        if existing is None:
            raise _missing("user", "alter", statement.name)
        login = _login_for(session, statement.login) if statement.login else None
        users.change(
            statement.name, sid=login.sid if login else None, default_schema=statement.default_schema
        )
        return
    taken = existing is not None or statement.name.lower() in (*_BUILT_IN_USERS, *DATABASE_ROLE_IDS)
    if taken:
        raise SqlError.of(
            15023,
            16,
            1,
            f"User, group, or role '{statement.name}' already exists in the current database.",
        )
    if statement.without_login:
        users.create(statement.name, "S", new_sid(), statement.default_schema or "dbo")
        return
    login = _login_for(session, statement.login or statement.name)
    if any(user.sid == login.sid for user in users.made()):
        raise SqlError.of(15063, 16, 1, "The login already has an account under a different user name.")
    users.create(statement.name, "S", login.sid, statement.default_schema or "dbo")


def _login_for(session: Session, name: str) -> Login:
    login = session.engine.catalog.logins.find(name)
    if login is None:
        raise SqlError.of(15007, 16, 1, f"'{name}' is not a valid login or you do not have permission.")
    return login


def _drop_user(session: Session, statement: ast.DropUser) -> None:
    session.rights.require_owner(session.database, "User does not have permission to perform this action.")
    if statement.name.lower() in _BUILT_IN_USERS - {"guest"}:
        raise _fixed("user", "drop", statement.name)
    if _users(session).find(statement.name) is None:
        if statement.if_exists:
            return
        raise _missing("user", "drop", statement.name)
    _users(session).drop(statement.name)


# --------------------------------------------------------------------------- roles


def _server_role(session: Session, statement: ast.AlterRole) -> None:
    session.rights.require_server_role("securityadmin")
    role = statement.role.lower()
    if role not in SERVER_ROLES or statement.member is None:
        raise _missing("server role", "alter", statement.role)
    if role == "sysadmin" and not session.rights.is_sysadmin:
        raise _missing("server role", "alter", statement.role)
    logins = session.engine.catalog.logins
    login = logins.find(statement.member)
    if login is None:
        verb = "add" if statement.action == "ADD MEMBER" else "drop"
        raise _missing("server principal", verb, statement.member)
    if login.name.lower() == SA:
        raise SqlError.of(15405, 16, 1, f"Cannot use the special principal '{login.name}'.")
    roles = login.roles | {role} if statement.action == "ADD MEMBER" else login.roles - {role}
    logins.update(login.name, roles=roles)


def _database_role(session: Session, statement: ast.AlterRole) -> None:
    session.rights.require_owner(session.database, "User does not have permission to perform this action.")
    users = _users(session)
    made = {user.name.lower(): user for user in users.made()}
    role = statement.role.lower()
    if statement.action == "CREATE":
        if role in made or role in DATABASE_ROLE_IDS or role in _BUILT_IN_USERS:
            raise SqlError.of(
                15023,
                16,
                1,
                f"User, group, or role '{statement.role}' already exists in the current database.",
            )
        users.create(statement.role, "R", None, None)
        return
    known = role in DATABASE_ROLE_IDS or (role in made and made[role].kind == "R")
    if not known:
        raise _missing(
            "role", "drop" if statement.action == "DROP" and not statement.member else "alter", statement.role
        )
    if statement.action == "RENAME":
        raise SqlError.of(
            40510, 16, 1, "Statement 'ALTER ROLE' is not supported in this version of SQL Server."
        )
    if statement.member is None:
        if role in DATABASE_ROLE_IDS:
            raise _fixed("role", "drop", statement.role)
        users.drop(statement.role)
        return
    if statement.member.lower() == "dbo":
        raise SqlError.of(15405, 16, 1, "Cannot use the special principal 'dbo'.")
    if statement.member.lower() not in made:
        raise _missing("principal", statement.action.split()[0].lower(), statement.member)
    if statement.action == "ADD MEMBER":
        users.add_member(role, statement.member)
    else:
        users.drop_member(role, statement.member)
