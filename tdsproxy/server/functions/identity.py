"""The last identity values: SCOPE_IDENTITY, IDENT_CURRENT and their kin."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.functions.define import asks
from tdsproxy.tsql import types as t
from tdsproxy.tsql.functions.registry import FunctionDef

_NUMBER: Final = t.numeric(38, 0)

FUNCTIONS: Final[tuple[FunctionDef, ...]] = (
    asks("SCOPE_IDENTITY", 0, 0, _NUMBER, lambda c: c.identity_scope),
    asks("IDENT_CURRENT", 1, 1, _NUMBER, lambda c, table: c.identity_of(table, "CURRENT")),
    asks("IDENT_SEED", 1, 1, _NUMBER, lambda c, table: c.identity_of(table, "SEED")),
    asks("IDENT_INCR", 1, 1, _NUMBER, lambda c, table: c.identity_of(table, "INCREMENT")),
)
