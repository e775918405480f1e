"""The built-in functions that ask about the server, the session, databases and objects."""

from __future__ import annotations

from tdsproxy.server.functions import databases, identity, objects, properties, security, session
from tdsproxy.tsql.functions.library import LIBRARY
from tdsproxy.tsql.functions.registry import Functions

__all__ = ["FUNCTIONS"]

FUNCTIONS: Functions = LIBRARY.with_extras(
    (
        *session.FUNCTIONS,
        *identity.FUNCTIONS,
        *databases.FUNCTIONS,
        *objects.FUNCTIONS,
        *properties.FUNCTIONS,
        *security.FUNCTIONS,
    )
)
