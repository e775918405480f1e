"""What a built-in function is, and the table of them that the evaluator and the compiler share.

The library itself is in the sibling modules; ``library.py`` gathers them. Functions that need a catalog or
a session (DB_NAME, OBJECT_ID, SERVERPROPERTY ...) come from whoever has one, as a second table: see
``Functions``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tdsproxy.tsql import ast
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import DateTimeOffset, Value

ResultRule = Callable[[Sequence[SqlType], Sequence[ast.Expr]], SqlType]
"""The static type of a call from the static types of its arguments and their syntax. A ``DatePart``
argument has the type ``null``."""


@dataclass(frozen=True, slots=True)
class CaughtError:
    """The error of the CATCH block that runs: what ERROR_NUMBER() and its kin answer."""

    number: int
    severity: int
    state: int
    message: str
    line: int
    procedure: str | None = None


class FunctionContext(Protocol):
    """What a function may ask of the session that runs it."""

    def now(self) -> DateTimeOffset:
        """The statement's time with the machine's offset; one value throughout a statement."""

    @property
    def date_first(self) -> int:
        """SET DATEFIRST: 1 (Monday) .. 7 (Sunday, the default of us_english)."""

    @property
    def caught(self) -> CaughtError | None:
        """The error being handled by the innermost CATCH block."""

    def random(self, seed: int | None) -> float:
        """RAND: 0 <= x < 1; a seed restarts the session's sequence."""

    def transaction_state(self) -> int:
        """XACT_STATE: 1 in a transaction that can be committed, 0 without one, -1 in a doomed one."""


@dataclass(frozen=True, slots=True)
class FunctionDef:
    """One scalar function.

    ``impl`` gets the argument values (a DatePart as its lower-case str), after the ``FunctionContext`` when
    ``needs_context``, with ``arg_types=[SqlType, ...]`` and ``result_type=SqlType`` as keywords when
    ``wants_types``. It returns a value of the result type (the caller does not convert). ``strict``
    functions answer NULL when any argument is NULL, without a call. ``max_args`` None means any number.
    """

    name: str
    min_args: int
    max_args: int | None
    result: ResultRule
    impl: Callable[..., Value]
    strict: bool = True
    needs_context: bool = False
    deterministic: bool = True
    wants_types: bool = False


@dataclass(frozen=True, slots=True)
class Functions:
    """A table of functions: a base one with extras that win over it."""

    table: Mapping[str, FunctionDef] = field(default_factory=dict)

    def lookup(self, name: str) -> FunctionDef | None:
        """The function called ``name``, whatever its case."""
        return self.table.get(name.upper())

    def with_extras(self, extras: Iterable[FunctionDef]) -> Functions:
        """A new table that also has ``extras``."""
        return Functions({**self.table, **{f.name.upper(): f for f in extras}})


def call(
    function: FunctionDef,
    args: Sequence[Value],
    arg_types: Sequence[SqlType],
    result_type: SqlType,
    context: FunctionContext,
) -> Value:
    """Call ``function`` by its own conventions."""
    if function.strict and any(arg is None for arg in args):
        return None
    first: tuple[object, ...] = (context,) if function.needs_context else ()
    if function.wants_types:
        return function.impl(*first, *args, arg_types=arg_types, result_type=result_type)
    return function.impl(*first, *args)


def lookup(name: str) -> FunctionDef | None:
    """A function of the built-in library (``library.LIBRARY``), whatever its case."""
    from tdsproxy.tsql.functions.library import LIBRARY

    return LIBRARY.lookup(name)


def constant(type_: SqlType) -> ResultRule:
    """A result rule: always ``type_``."""
    return lambda types, exprs: type_


def like_argument(index: int) -> ResultRule:
    """A result rule: the type of one argument."""
    return lambda types, exprs: types[index]
