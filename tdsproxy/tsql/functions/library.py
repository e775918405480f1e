"""All functions of this package in one table."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql.functions.registry import FunctionDef, Functions

_ALL: tuple[FunctionDef, ...] = ()

LIBRARY: Final = Functions().with_extras(_ALL)
