"""Who may connect: checking a login's password, and the first password of sa."""

from __future__ import annotations

import secrets
import string
from typing import Final

from tdsproxy.catalog.catalog import Catalog
from tdsproxy.catalog.logins import SA, Login
from tdsproxy.server.passwords import hash_password, verify_password, waste_time
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message

_PASSWORD_LENGTH: Final = 20


def login_failed(user: str) -> Message:
    return Message(18456, 14, 1, f"Login failed for user '{user}'.")


def authenticate(catalog: Catalog, user: str, password: str | None) -> Login:
    """The login of ``user``. Raises SqlError 18456 with the same words whatever was wrong, 18452 when
    integrated security was asked for, 18470 for a disabled login whose password was right."""
    if password is None:
        raise SqlError(
            Message(
                18452,
                14,
                1,
                "Login failed. The login is from an untrusted domain and cannot be used with Integrated"
                " authentication.",
            )
        )
    login = catalog.logins.find(user)
    if login is None:
        waste_time(password)
        raise SqlError(login_failed(user))
    if not verify_password(password, login.password_hash):
        raise SqlError(login_failed(user))
    if login.disabled:
        raise SqlError(
            Message(18470, 14, 1, f"Login failed for user '{user}'. Reason: The account is disabled.")
        )
    return login


def needs_sa_password(catalog: Catalog) -> bool:
    """Whether nobody can log in yet."""
    return not catalog.logins.all()


def set_sa_password(catalog: Catalog, password: str) -> None:
    """Gives sa this password, and makes the login when there is none. Does nothing when it is the same."""
    login = catalog.logins.find(SA)
    if login is None:
        try:
            catalog.logins.create(SA, hash_password(password), roles=frozenset({"sysadmin"}))
        except KeyError:
            catalog.logins.update(SA, password_hash=hash_password(password))
    elif not verify_password(password, login.password_hash):
        catalog.logins.update(SA, password_hash=hash_password(password))


def make_password() -> str:
    """A random password that satisfies SQL Server's policy: upper and lower case, digits, a sign."""
    letters = string.ascii_letters + string.digits
    while True:
        password = "".join(secrets.choice(letters) for _ in range(_PASSWORD_LENGTH)) + "-7aZ"
        if not password.startswith(("-", "/")):
            return password
