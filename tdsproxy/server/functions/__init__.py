"""The built-in functions that ask about the server, the session, databases and objects."""

from __future__ import annotations

from tdsproxy.server.functions.databases import FUNCTIONS as DATABASES
from tdsproxy.server.functions.identity import FUNCTIONS as IDENTITY
from tdsproxy.server.functions.objects import FUNCTIONS as OBJECTS
from tdsproxy.server.functions.properties import FUNCTIONS as PROPERTIES
from tdsproxy.server.functions.security import FUNCTIONS as SECURITY
from tdsproxy.server.functions.session import FUNCTIONS as SESSION
from tdsproxy.tsql.functions.library import LIBRARY
from tdsproxy.tsql.functions.registry import Functions

__all__ = ["FUNCTIONS"]

FUNCTIONS: Functions = LIBRARY.with_extras(
    (
        *SESSION,
        *IDENTITY,
        *DATABASES,
        *OBJECTS,
        *PROPERTIES,
        *SECURITY,
    )
)
