"""The password of ``sa``: given, or made once and written down."""

from __future__ import annotations

import os
import secrets
import string
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tdsproxy.cli.options import OptionError

if TYPE_CHECKING:
    from tdsproxy.catalog.catalog import Catalog

PASSWORD_VARIABLE: Final = "TDSPROXY_SA_PASSWORD"
PASSWORD_FILE: Final = "sa_password"
PASSWORD_LENGTH: Final = 24
_ALPHABET: Final = string.ascii_letters + string.digits


def given_password(file: Path | None, environment: Mapping[str, str]) -> str | None:
    """The password that the user has set, None when none was. A line end behind it in the file is no part of
    it. Raises OptionError."""
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise OptionError(f"The password file '{file}' can't be read: {reason}.") from error
    elif PASSWORD_VARIABLE in environment:
        text = environment[PASSWORD_VARIABLE]
    else:
        return None
    if not text or len(text) > 128:
        raise OptionError("The password of sa has 1 to 128 characters.")
    return text


def ensure_sa(catalog: Catalog, password: str | None) -> Path | None:
    """See that there is a login ``sa`` with ``password``, where one is given.

    Without one, and while the store has no login at all, a password is made and written to
    ``STORE/sa_password`` (mode 0600): that path is the result, else None. Raises OSError.
    """
    # Imported here: a server reads the given password before it loads the catalog.
    from tdsproxy.catalog.logins import SA
    from tdsproxy.server.passwords import hash_password, verify_password

    sa = catalog.logins.find(SA)
    if password is not None:
        if sa is None:
            catalog.logins.create(SA, hash_password(password))
        elif not verify_password(password, sa.password_hash):
            catalog.logins.update(SA, password_hash=hash_password(password))
        return None
    if sa is not None or catalog.logins.all():
        return None
    made = _make_password()
    path = catalog.store / PASSWORD_FILE
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as out:
        out.write(made + "\n")
    catalog.logins.create(SA, hash_password(made))
    return path


def _make_password() -> str:
    """Letters and digits, with each kind that a password policy asks for."""
    while True:
        text = "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))
        if (
            any(c.isupper() for c in text)
            and any(c.islower() for c in text)
            and any(c.isdigit() for c in text)
        ):
            return text
