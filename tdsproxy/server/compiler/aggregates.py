"""Aggregates and window functions."""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, Context, Decimal
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tdsproxy.server.compiler.typed import Scope, Typed, error
from tdsproxy.store.encoding import Stored, from_storage, to_storage
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.compiler.binder import Aggregate
    from tdsproxy.server.compiler.expressions import ExpressionCompiler

AGGREGATES: Final = frozenset(
    {
        "COUNT",
        "COUNT_BIG",
        "SUM",
        "AVG",
        "MIN",
        "MAX",
        "STRING_AGG",
        "STDEV",
        "STDEVP",
        "VAR",
        "VARP",
        "CHECKSUM_AGG",
        "APPROX_COUNT_DISTINCT",
    }
)
WINDOW_FUNCTIONS: Final = frozenset(
    {
        "ROW_NUMBER",
        "RANK",
        "DENSE_RANK",
        "NTILE",
        "LAG",
        "LEAD",
        "FIRST_VALUE",
        "LAST_VALUE",
        "PERCENT_RANK",
        "CUME_DIST",
        "PERCENTILE_CONT",
        "PERCENTILE_DISC",
    }
)
_EXACT: Final = Context(prec=60)


class DecimalSum:
    """SUM or AVG of exact numbers, also over a sliding window."""

    def __init__(self, source: SqlType, result: SqlType, *, average: bool) -> None:
        self._source = source
        self._result = result
        self._average = average
        self._total = Decimal(0)
        self._count = 0

    def step(self, *raw: Stored) -> None:
        if raw[0] is not None:
            self._total = _EXACT.add(self._total, self._number(raw[0]))
            self._count += 1

    def inverse(self, *raw: Stored) -> None:
        if raw[0] is not None:
            self._total = _EXACT.subtract(self._total, self._number(raw[0]))
            self._count -= 1

    def _number(self, raw: Stored) -> Decimal:
        value = from_storage(raw, self._source)
        return value if isinstance(value, Decimal) else Decimal(str(value))

    def value(self) -> Stored:
        if not self._count:
            return None
        total = self._total
        if self._average:
            total = _EXACT.divide(total, Decimal(self._count))
        scale = self._result.scale or 0
        total = total.quantize(Decimal(1).scaleb(-scale), ROUND_DOWN, _EXACT)
        precision = self._result.precision or 38
        if abs(total) >= Decimal(10) ** (precision - scale):
            raise _overflow(self._result)
        return to_storage(total, self._result)


class Spread:
    """STDEV, STDEVP, VAR, VARP."""

    def __init__(self, source: SqlType, *, population: bool, root: bool) -> None:
        self._source = source
        self._population = population
        self._root = root
        self._values: list[float] = []

    def step(self, *raw: Stored) -> None:
        if raw[0] is not None:
            self._values.append(float(str(from_storage(raw[0], self._source))))

    def inverse(self, *raw: Stored) -> None:
        if raw[0] is not None:
            self._values.remove(float(str(from_storage(raw[0], self._source))))

    def value(self) -> Stored:
        count = len(self._values)
        divisor = count if self._population else count - 1
        if divisor < 1:
            return None
        mean = math.fsum(self._values) / count
        variance = math.fsum((value - mean) ** 2 for value in self._values) / divisor
        return math.sqrt(variance) if self._root else variance


class Percentile:
    """PERCENTILE_CONT and PERCENTILE_DISC: of each row a value and the fraction that is wanted."""

    def __init__(self, source: SqlType, *, continuous: bool, descending: bool) -> None:
        self._source = source
        self._continuous = continuous
        self._descending = descending
        self._values: list[Stored] = []
        self._fraction = 0.0

    def step(self, *raw: Stored) -> None:
        if isinstance(raw[1], float):
            self._fraction = raw[1]
        if raw[0] is not None:
            self._values.append(raw[0])

    def inverse(self, *raw: Stored) -> None:
        if raw[0] is not None:
            self._values.remove(raw[0])

    def value(self) -> Stored:
        if not 0 <= self._fraction <= 1:
            raise SqlError.of(10755, 16, 1, "The percentile value must be between 0 and 1.")
        found = sorted(self._values, key=self._number, reverse=self._descending)
        if not found:
            return None
        if not self._continuous:
            return found[max(math.ceil(self._fraction * len(found)), 1) - 1]
        place = self._fraction * (len(found) - 1)
        low, high = self._number(found[math.floor(place)]), self._number(found[math.ceil(place)])
        return low + (high - low) * (place - math.floor(place))

    def _number(self, raw: Stored) -> float:
        return float(str(from_storage(raw, self._source)))


class Known:
    """FIRST_VALUE and LAST_VALUE with IGNORE NULLS."""

    def __init__(self, *, last: bool) -> None:
        self._last = last
        self._values: list[Stored] = []

    def step(self, *raw: Stored) -> None:
        if raw[0] is not None:
            self._values.append(raw[0])

    def inverse(self, *raw: Stored) -> None:
        if raw[0] is not None:  # rows leave a window in the order in which they came
            self._values.pop(0)

    def value(self) -> Stored:
        return self._values[-1 if self._last else 0] if self._values else None


class ChecksumAggregate:
    """CHECKSUM_AGG: the values' exclusive or."""

    def __init__(self) -> None:
        self._value: int | None = None

    def step(self, *raw: Stored) -> None:
        if isinstance(raw[0], int):
            self._value = (self._value or 0) ^ raw[0]

    def inverse(self, *raw: Stored) -> None:
        self.step(*raw)

    def value(self) -> Stored:
        return self._value


def _overflow(type_: SqlType) -> SqlError:
    name = "numeric" if type_.name == "decimal" else type_.name
    return SqlError.of(8115, 16, 2, f"Arithmetic overflow error converting expression to data type {name}.")


class AggregateCompiler:
    """Compiles calls of aggregates, with or without OVER."""

    def __init__(self, expressions: ExpressionCompiler) -> None:
        self._expressions = expressions
        self._binder = expressions.binder

    def aggregate(self, expr: ast.FunctionCall, scope: Scope) -> Typed:
        """An aggregate of the query's groups."""
        owner = scope
        if owner.groups is None and owner.parent is not None and owner.parent.groups is not None:
            owner = owner.parent
        owner.in_aggregate += 1
        try:
            return self._call(expr, scope, "")
        finally:
            owner.in_aggregate -= 1

    def windowed(self, expr: ast.FunctionCall, scope: Scope) -> Typed:
        """An aggregate or ranking function with OVER."""
        if expr.over is None:
            raise error(
                10753, f"The function '{expr.name.object}' must have an OVER clause.", expr.line, severity=15
            )
        name = expr.name.object.upper()
        over = expr.over
        if over.ignore_nulls and name not in ("FIRST_VALUE", "LAST_VALUE"):
            raise error(102, "Incorrect syntax near 'NULLS'.", expr.line, severity=15)
        window = self._window(over, scope)
        if name in AGGREGATES:
            return replace(self._call(expr, scope, window), aggregate=False)
        if name in ("ROW_NUMBER", "RANK", "DENSE_RANK"):
            if not over.order:
                raise error(
                    4112,
                    f"The function '{expr.name.object}' must have an OVER clause with ORDER BY.",
                    expr.line,
                )
            return Typed(f"{name.lower()}(){window}", t.BIGINT, True)
        if name in ("PERCENT_RANK", "CUME_DIST"):
            return Typed(f"{name.lower()}(){window}", t.FLOAT, True)
        if name in ("PERCENTILE_CONT", "PERCENTILE_DISC"):
            return self._percentile(expr, scope, window)
        args = [self._expressions.value(arg, scope) for arg in expr.args]
        if over.ignore_nulls:
            last = name == "LAST_VALUE"
            function = self._binder.aggregate((name, "without nulls"), lambda: Known(last=last))
            return Typed(f"{function}({args[0].sql}){window}", args[0].type, True)
        if name == "NTILE":
            return Typed(f"ntile({args[0].sql}){window}", t.BIGINT, True)
        inner = [args[0].sql]
        if name in ("LAG", "LEAD") and len(args) > 1:
            inner.append(args[1].sql)
            if len(args) > 2:
                inner.append(self._expressions.converted(args[2], args[0].type).sql)
        return Typed(f"{name.lower()}({', '.join(inner)}){window}", args[0].type, True)

    def _percentile(self, expr: ast.FunctionCall, scope: Scope, window: str) -> Typed:
        name = expr.name.object.upper()
        if len(expr.args) != 1:
            text = f"The {name.lower()} function requires 1 argument(s)."
            raise error(174, text, expr.line, severity=15)
        if len(expr.within_group) != 1:
            text = f"The function '{name.lower()}' must have a WITHIN GROUP clause."
            raise error(10754, text, expr.line, severity=15)
        if expr.over is not None and expr.over.order:
            text = f"The function '{name.lower()}' may not have ORDER BY in OVER clause."
            raise error(10758, text, expr.line, severity=15)
        item = expr.within_group[0]
        fraction = self._expressions.converted(self._expressions.value(expr.args[0], scope), t.FLOAT)
        key = self._expressions.value(item.expr, scope)
        if not key.type.is_number:
            raise _invalid(key.type, name, expr.line)
        continuous, descending, source = name == "PERCENTILE_CONT", item.descending, key.type

        def made() -> Aggregate:
            return Percentile(source, continuous=continuous, descending=descending)

        function = self._binder.aggregate((name, source, descending), made)
        return Typed(
            f"{function}({key.sql}, {fraction.sql}){window}", t.FLOAT if continuous else source, True
        )

    def _window(self, over: ast.Over, scope: Scope) -> str:
        parts = []
        if over.partition:
            keys = [
                self._expressions.sort_key(self._expressions.value(item, scope)) for item in over.partition
            ]
            parts.append("PARTITION BY " + ", ".join(keys))
        if over.order:
            parts.append("ORDER BY " + ", ".join(self._order_item(item, scope) for item in over.order))
        if over.frame:
            parts.append(over.frame)
        return f" OVER ({' '.join(parts)})"

    def _order_item(self, item: ast.OrderItem, scope: Scope) -> str:
        if isinstance(item.expr, ast.Subquery):
            return "NULL"
        key = self._expressions.sort_key(self._expressions.value(item.expr, scope))
        return f"{key}{' DESC' if item.descending else ''}"

    def _call(self, expr: ast.FunctionCall, scope: Scope, window: str) -> Typed:
        name = expr.name.object.upper()
        wanted = 2 if name == "STRING_AGG" else 1
        if len(expr.args) != wanted:
            text = f"The {name.lower()} function requires {wanted} argument(s)."
            raise error(174, text, expr.line, severity=15)
        distinct = "DISTINCT " if expr.distinct else ""
        if name in ("COUNT", "COUNT_BIG", "APPROX_COUNT_DISTINCT"):
            type_ = t.INT if name == "COUNT" else t.BIGINT
            if isinstance(expr.args[0], ast.Star):
                return Typed(f"count(*){window}", type_, True, aggregate=True)
            arg = self._expressions.value(expr.args[0], scope)
            if name == "APPROX_COUNT_DISTINCT":
                distinct = "DISTINCT "
            inner = self._expressions.sort_key(arg) if distinct else arg.sql
            return Typed(f"count({distinct}{inner}){window}", type_, True, aggregate=True)
        arg = self._expressions.value(expr.args[0], scope)
        if name in ("MIN", "MAX"):
            if arg.type.name in ("bit", "text", "ntext", "image", "xml"):
                raise _invalid(arg.type, name, expr.line)
            inner = arg.sql
            if arg.type.is_character:
                inner = f"{arg.sql} COLLATE {arg.collation}"
            return Typed(
                f"{name.lower()}({inner}){window}", arg.type, True, aggregate=True, collation=arg.collation
            )
        if name == "STRING_AGG":
            return self._string_agg(expr, arg, scope, window)
        if name == "CHECKSUM_AGG":
            function = self._binder.aggregate("checksum_agg", ChecksumAggregate)
            return Typed(f"{function}({distinct}{arg.sql}){window}", t.INT, True, aggregate=True)
        if arg.type.name == "null":
            raise error(8117, f"Operand data type NULL is invalid for {name.lower()} operator.", expr.line)
        if not arg.type.is_number or arg.type.name == "bit":
            raise _invalid(arg.type, name, expr.line)
        if name in ("SUM", "AVG"):
            return self._sum(arg, distinct, window, average=name == "AVG")
        population, root = name.endswith("P"), name.startswith("STDEV")
        source = arg.type

        def spread() -> Aggregate:
            return Spread(source, population=population, root=root)

        function = self._binder.aggregate((name, source), spread)
        return Typed(f"{function}({distinct}{arg.sql}){window}", t.FLOAT, True, aggregate=True)

    def _sum(self, arg: Typed, distinct: str, window: str, *, average: bool) -> Typed:
        source = arg.type
        if source.name in t.APPROXIMATE_TYPES:
            function = "avg" if average else "sum"
            return Typed(f"{function}({distinct}{arg.sql}){window}", t.FLOAT, True, aggregate=True)
        if source.name in ("tinyint", "smallint", "int"):
            total = f"sum({distinct}{arg.sql}){window}"
            if average:
                return Typed(f"({total} / count({distinct}{arg.sql}){window})", t.INT, True, aggregate=True)
            check = self._binder.int_check(t.INT)
            return Typed(f"{check}({total})", t.INT, True, aggregate=True)
        result = sum_type(source, average=average)

        def total_of() -> Aggregate:
            return DecimalSum(source, result, average=average)

        function = self._binder.aggregate(("sum", source, average), total_of)
        return Typed(f"{function}({distinct}{arg.sql}){window}", result, True, aggregate=True)

    def _string_agg(self, expr: ast.FunctionCall, arg: Typed, scope: Scope, window: str) -> Typed:
        value = arg
        if not arg.type.is_character:
            value = self._expressions.converted(arg, t.nvarchar(4000))
        separator = self._expressions.converted(
            self._expressions.value(expr.args[1], scope), t.nvarchar(4000)
        )
        order = ""
        if expr.within_group:
            order = " ORDER BY " + ", ".join(self._order_item(item, scope) for item in expr.within_group)
        if value.type.length == t.MAX:
            type_ = value.type
        else:
            type_ = t.nvarchar(4000) if value.type.is_unicode else t.varchar(8000)
        sql = f"group_concat({value.sql}, {separator.sql}{order}){window}"
        return Typed(sql, type_, True, aggregate=True, collation=arg.collation)


def sum_type(source: SqlType, *, average: bool) -> SqlType:
    """The type of SUM and AVG (documentation of SUM and AVG, "Return Types")."""
    if source.name in ("tinyint", "smallint", "int"):
        return t.INT
    if source.name == "bigint":
        return t.BIGINT
    if source.name in ("money", "smallmoney"):
        return t.MONEY
    if source.name == "decimal":
        scale = source.scale or 0
        if average:
            scale = max(scale, 6)
        return t.decimal(38, scale, numeric=source.numeric)
    return t.FLOAT


def _invalid(type_: SqlType, name: str, line: int) -> SqlError:
    return error(8117, f"Operand data type {type_.name} is invalid for {name.lower()} operator.", line)
