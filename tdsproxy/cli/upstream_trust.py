"""How far an upstream is trusted when nothing is said: as today's clients of SQL Server trust a server.

ODBC 18, SqlClient and go-mssqldb encrypt always and verify the certificate. Over loopback, where nobody can
stand in between, whatever the upstream offers is taken.
"""

from __future__ import annotations

import ipaddress
from typing import Final

ANY: Final = "any"
"""Trust any certificate."""
_UNVERIFIED: Final = frozenset({"off", "login", "wanted"})
"""Modes that an attacker could talk the upstream out of: a certificate would prove nothing."""


def upstream_trust(host: str, mode: str | None, authorities: str | None) -> tuple[str, str | None]:
    """The mode of TLS, and the authorities (a file, ``system``, None: any certificate) that hold for an
    upstream at ``host``, from what was said."""
    if authorities == ANY:
        return mode or "wanted", None
    if authorities is not None:
        return mode or "required", authorities
    near = is_loopback(host)
    chosen = mode or ("wanted" if near else "required")
    return chosen, None if near or chosen in _UNVERIFIED else "system"


def is_loopback(host: str) -> bool:
    """Whether the name or address is this machine's own loopback."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
