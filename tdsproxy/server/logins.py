"""Who may connect: checking a login's password."""

from __future__ import annotations

from tdsproxy.catalog.catalog import Catalog
from tdsproxy.catalog.logins import Login
from tdsproxy.server.passwords import verify_password, waste_time
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message


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
