"""Python functions as SQLite functions: one per signature, registered when first needed.

SQLite hands over storage forms; a wrapper turns them into T-SQL values, calls, and turns the result back.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Protocol, cast

import apsw

from tdsproxy.server.compiler.typed import stored
from tdsproxy.server.compiler.xml_format import escaped, row_text
from tdsproxy.server.compiler.xpath import Place, select, serialized, text_of
from tdsproxy.server.sysviews.virtual import register
from tdsproxy.store.encoding import Stored, from_storage, instant_key
from tdsproxy.tsql import ast, operators
from tdsproxy.tsql.collation import like
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.registry import FunctionContext, FunctionDef, call
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import Value

Load = Callable[[Stored], Value]


def loader(type_: SqlType) -> Load:
    """How a stored value of ``type_`` becomes a T-SQL value."""
    if type_.is_integer:
        return lambda raw: raw if type(raw) is int else from_storage(raw, type_)
    if type_.is_character:
        return lambda raw: raw if type(raw) is str else from_storage(raw, type_)
    return lambda raw: from_storage(raw, type_)


class ContextSource(Protocol):
    """Who knows the function context of the statement that runs now."""

    def __call__(self) -> FunctionContext: ...


class Aggregate(Protocol):
    """An aggregate's state: values come in storage form and so does the result."""

    def step(self, *raw: Stored) -> None: ...

    def inverse(self, *raw: Stored) -> None: ...

    def value(self) -> Stored: ...


class FunctionBinder:
    """Registers functions on one connection and remembers them by what they do."""

    def __init__(self, connection: apsw.Connection, context: ContextSource) -> None:
        self._connection = connection
        self._context = context
        self._names: dict[Hashable, str] = {}
        self.impure: set[str] = set()
        """The SQLite names of functions whose value depends on more than their arguments."""

    def scalar(
        self, key: Hashable, make: Callable[[], Callable[..., Stored]], *, deterministic: bool = True
    ) -> str:
        """The SQLite name of the function ``key``; ``make`` builds it when it is new."""
        name = self._names.get(key)
        if name is None:
            name = f"ts_f{len(self._names) + 1}"
            self._connection.create_scalar_function(name, make(), -1, deterministic=deterministic)
            if not deterministic:
                self.impure.add(name)
            self._names[key] = name
        return name

    def aggregate(self, key: Hashable, make: Callable[[], Aggregate]) -> str:
        """The SQLite name of an aggregate (also a window function)."""
        name = self._names.get(key)
        if name is None:
            name = f"ts_a{len(self._names) + 1}"

            def factory() -> tuple[object, object, object, object, object]:
                state = make()
                return (
                    state,
                    lambda s, *raw: s.step(*raw),
                    lambda s: s.value(),
                    lambda s: s.value(),
                    lambda s, *raw: s.inverse(*raw),
                )

            self._connection.create_window_function(name, cast("apsw.WindowFactory", factory))
            self._names[key] = name
        return name

    # ------------------------------------------------------------------ the usual ones

    def conversion(
        self, source: SqlType, target: SqlType, style: int | None = None, *, try_: bool = False
    ) -> str:
        def make() -> Callable[..., Stored]:
            load = loader(source)

            def run(raw: Stored) -> Stored:
                if raw is None:
                    return None
                if not try_:
                    return stored(convert(load(raw), source, target, style), target)
                try:
                    return stored(convert(load(raw), source, target, style), target)
                except SqlError:
                    return None

            return run

        return self.scalar(("convert", source, target, style, try_), make)

    def binary(self, op: str, left: SqlType, right: SqlType, result: SqlType) -> str:
        def make() -> Callable[..., Stored]:
            load_left, load_right = loader(left), loader(right)

            def run(a: Stored, b: Stored) -> Stored:
                if a is None or b is None:
                    return None
                return stored(operators.binary(op, load_left(a), left, load_right(b), right), result)

            return run

        return self.scalar(("binary", op, left, right, result), make)

    def unary(self, op: str, operand: SqlType, result: SqlType) -> str:
        def make() -> Callable[..., Stored]:
            load = loader(operand)

            def run(raw: Stored) -> Stored:
                return None if raw is None else stored(operators.unary(op, load(raw), operand), result)

            return run

        return self.scalar(("unary", op, operand, result), make)

    def comparison(self, left: SqlType, right: SqlType) -> str:
        """A function of two values: -1, 0, 1 or NULL."""

        def make() -> Callable[..., Stored]:
            load_left, load_right = loader(left), loader(right)

            def run(a: Stored, b: Stored) -> Stored:
                return operators.compare(
                    None if a is None else load_left(a),
                    left,
                    None if b is None else load_right(b),
                    right,
                )

            return run

        return self.scalar(("compare", left, right), make)

    def like(self, collation: str | None = None) -> str:
        def make() -> Callable[..., Stored]:
            def run(value: Stored, pattern: Stored, escape: Stored = None, escaped: Stored = 0) -> Stored:
                if value is None or pattern is None or (escaped and escape is None):
                    return None
                mark = None if escape is None else str(escape)
                return int(like(str(value), str(pattern), mark, collation))

            return run

        return self.scalar(("like", collation), make)

    def int_check(self, type_: SqlType) -> str:
        """Passes an integer that fits ``type_``; raises 8115 otherwise."""

        def make() -> Callable[..., Stored]:
            low, high = INTEGER_RANGES[type_.name]

            def run(raw: Stored) -> Stored:
                if raw is None:
                    return None
                if not isinstance(raw, int) or not low <= raw <= high:
                    raise overflow(type_)
                return raw

            return run

        return self.scalar(("int", type_.name), make)

    def instant(self) -> str:
        return self.scalar("instant", lambda: instant_key)

    def guid_order(self) -> str:
        """A key that sorts uniqueidentifiers as T-SQL does: by the last group first."""

        def make() -> Callable[..., Stored]:
            def run(raw: Stored) -> Stored:
                if raw is None:
                    return None
                text = str(raw).upper()
                first, second, third, fourth, last = [*text.split("-"), "", "", "", ""][:5]
                return last + fourth + _swapped(third) + _swapped(second) + _swapped(first)

            return run

        return self.scalar("guid", make)

    def too_many_rows(self) -> str:
        """Raises 512: a scalar subquery gave more than one row."""

        def make() -> Callable[..., Stored]:
            def run() -> Stored:
                raise SqlError.of(
                    512,
                    16,
                    1,
                    "Subquery returned more than 1 value. This is not permitted when the subquery follows"
                    " =, !=, <, <= , >, >= or when the subquery is used as an expression.",
                )

            return run

        return self.scalar("512", make, deterministic=False)

    def table(
        self,
        key: Hashable,
        rows: Callable[..., Iterable[tuple[Stored, ...]]],
        columns: list[str],
        parameters: list[str],
    ) -> str:
        """The SQLite name of a virtual table."""
        name = self._names.get(key)
        if name is None:
            name = self._names[key] = f"ts_t{len(self._names) + 1}"
            register(self._connection, name, rows, columns, parameters)
        return name

    def row_text(
        self,
        names: tuple[str, ...],
        types: tuple[SqlType, ...],
        raw: tuple[bool, ...],
        clause: ast.XmlClause,
        table: str,
    ) -> str:
        """One row as an XML element or a JSON object."""

        def make() -> Callable[..., Stored]:
            loads = [loader(type_) for type_ in types]

            def run(*given: Stored) -> Stored:
                row = tuple(None if r is None else load(r) for r, load in zip(given, loads, strict=True))
                return row_text(names, types, raw, row, clause, table)

            return run

        return self.scalar(("row", names, types, raw, clause, table), make)

    def xml_method(self, method: str, path: str, target: SqlType, names: tuple[str, ...] = ()) -> str:
        """``.value``, ``.query`` and ``.exist`` with a constant path; the values of the ``names`` in it, of
        sql:variable and sql:column, come as text behind the xml."""

        def make() -> Callable[..., Stored]:
            def run(raw: Stored, *given: Stored) -> Stored:
                if raw is None:
                    return None
                texts = {
                    name: None if value is None else str(value)
                    for name, value in zip(names, given, strict=True)
                }
                found = select(str(raw), path, texts.get)
                if method == "exist":
                    return int(bool(found) and found[0] is not False)
                if method == "query":
                    return "".join(
                        serialized(item) if isinstance(item, Place) else escaped(text_of(item))
                        for item in found
                    )
                if not found:
                    return None
                return stored(convert(text_of(found[0]), _MAX_TEXT, target), target)

            return run

        return self.scalar(("xml", method, path, target, names), make)

    def function(
        self,
        definition: FunctionDef,
        arg_types: Sequence[SqlType],
        result: SqlType,
        words: tuple[str | None, ...],
    ) -> str:
        """A function of the library for arguments of these types. ``words`` holds the DatePart at each place
        that has one: those are not passed through SQLite."""
        types = tuple(arg_types)

        def make() -> Callable[..., Stored]:
            loads = [loader(type_) for type_ in types]
            context = self._context

            def run(*raw: Stored) -> Stored:
                given = iter(raw)
                values: list[Value] = []
                for word, load in zip(words, loads, strict=True):
                    if word is not None:
                        values.append(word)
                    else:
                        item = next(given)
                        values.append(None if item is None else load(item))
                return stored(call(definition, values, types, result, context()), result)

            return run

        return self.scalar(
            ("function", definition, types, result, words), make, deterministic=definition.deterministic
        )


_MAX_TEXT = SqlType("nvarchar", MAX)
INTEGER_RANGES = {
    "tinyint": (0, 255),
    "smallint": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
}


def overflow(type_: SqlType) -> SqlError:
    name = "numeric" if type_.name == "decimal" else type_.name
    return SqlError.of(8115, 16, 2, f"Arithmetic overflow error converting expression to data type {name}.")


def _swapped(group: str) -> str:
    return "".join(reversed([group[i : i + 2] for i in range(0, len(group), 2)]))


def is_plain_text(type_: SqlType) -> bool:
    """Whether values of the type are compared as SQLite TEXT."""
    return type_.is_character and type_.name not in ("text", "ntext", "xml")
