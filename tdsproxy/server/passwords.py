"""Passwords of logins, kept as salted scrypt hashes (RFC 7914)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

_COST: Final = 2**14
_BLOCK: Final = 8
_SALT_BYTES: Final = 16


def hash_password(password: str, salt: bytes | None = None) -> str:
    """``scrypt$n$r$salt$hash``, the last two in base64. The password may be empty."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    digest = _derive(password, salt, _COST, _BLOCK)
    return f"scrypt${_COST}${_BLOCK}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def verify_password(password: str, stored: str) -> bool:
    """Whether ``password`` is the one that was hashed to ``stored``; False for a hash of unknown form."""
    parts = stored.split("$")
    if len(parts) != 5 or parts[0] != "scrypt":
        return False
    try:
        cost, block = int(parts[1]), int(parts[2])
        salt, expected = base64.b64decode(parts[3]), base64.b64decode(parts[4])
    except ValueError:
        return False
    return hmac.compare_digest(_derive(password, salt, cost, block), expected)


def waste_time(password: str) -> None:
    """Does the work of a verification, so that an unknown login takes as long as a wrong password."""
    _derive(password, b"\0" * _SALT_BYTES, _COST, _BLOCK)


def _derive(password: str, salt: bytes, cost: int, block: int) -> bytes:
    return hashlib.scrypt(
        password.encode("utf-16-le", "surrogatepass"), salt=salt, n=cost, r=block, p=1, dklen=32
    )
