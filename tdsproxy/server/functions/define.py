"""Short spellings for the tables of functions in this package."""

from __future__ import annotations

from collections.abc import Callable

from tdsproxy.tsql import types as t
from tdsproxy.tsql.functions.registry import FunctionDef, constant
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value, Variant


def asks(
    name: str,
    least: int,
    most: int,
    result: SqlType,
    impl: Callable[..., Value],
    *,
    strict: bool = True,
) -> FunctionDef:
    """A function that gets the session's ``ServerContext`` first."""
    return FunctionDef(
        name, least, most, constant(result), impl, strict=strict, needs_context=True, deterministic=False
    )


def text(value: str | None) -> Variant | None:
    """sql_variant holding nvarchar(128), what most property functions answer."""
    return None if value is None else Variant(t.nvarchar(128), value)


def whole(value: int | bool | None) -> Variant | None:
    """sql_variant holding int."""
    return None if value is None else Variant(t.INT, int(value))
