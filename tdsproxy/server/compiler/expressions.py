"""T-SQL expressions and predicates as SQLite SQL, each with its static type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tdsproxy.server.compiler.aggregates import AGGREGATES, WINDOW_FUNCTIONS
from tdsproxy.server.compiler.collations import collation_of, stronger
from tdsproxy.server.compiler.context import Context
from tdsproxy.server.compiler.predicates import PredicateCompiler
from tdsproxy.server.compiler.storage_rules import fits, same_storage
from tdsproxy.server.compiler.typed import CASE_INSENSITIVE, Given, Scope, Typed, error
from tdsproxy.server.workspace import text_literal
from tdsproxy.store.encoding import Stored, to_storage
from tdsproxy.tsql import ast, operators
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.json_functions import JSON_RESULTS
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.scalar import NeedsQuery, evaluate
from tdsproxy.tsql.types import MAX, SqlType

if TYPE_CHECKING:
    from tdsproxy.server.compiler.queries import QueryCompiler
    from tdsproxy.server.user_functions import FunctionParameter, ScalarFunction

_SQL_NAMES: Final = re.compile(r"""sql:(?:variable|column)\(\s*["']([^"']+)["']\s*\)""")
_PER_ROW: Final = frozenset({"NEWID", "NEWSEQUENTIALID"})
_SWAPPED: Final = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def sql_literal(value: Stored) -> str | None:
    """A stored value as SQLite literal; None when it has to be a parameter."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value) if value > -(2**63) else None
    if isinstance(value, float):
        text = repr(value)
        return text if text.lstrip("-")[0].isdigit() else None
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return None if "\0" in value or len(value) > 4000 else text_literal(value)


class ExpressionCompiler:
    """Compiles expressions within a scope. ``queries`` compiles the subqueries in them."""

    def __init__(self, context: Context, queries: QueryCompiler) -> None:
        self.context = context
        self.queries = queries
        self.binder = context.binder
        self.predicates = PredicateCompiler(self)

    # ------------------------------------------------------------------ values

    def value(self, expr: ast.Expr, scope: Scope) -> Typed:
        """``expr`` as SQL. Raises SqlError for names and types that don't fit."""
        if scope.groups is not None and not scope.in_aggregate:
            grouped = self._grouping(expr, scope)
            if grouped is not None:
                return grouped
        method = getattr(self, "_" + type(expr).__name__.lower(), None)
        if method is None:
            raise error(102, f"Incorrect syntax near '{type(expr).__name__}'.", expr.line, severity=15)
        made: Typed = method(expr, scope)
        return made

    def _grouping(self, expr: ast.Expr, scope: Scope) -> Typed | None:
        """The grouping expression that ``expr`` repeats, if it does."""
        groups = scope.groups
        if not groups or isinstance(expr, ast.Literal | ast.Variable | ast.Subquery):
            return None
        scope.groups = None
        try:
            sql = self.value(expr, scope).sql
        except SqlError:
            return None
        finally:
            scope.groups = groups
        return groups.get(sql)

    def _literal(self, expr: ast.Literal, scope: Scope) -> Typed:
        raw = to_storage(expr.value, expr.type)
        sql = sql_literal(raw)
        if sql is None:
            sql = self.context.parameters.constant(raw)
        return Typed(sql, expr.type, expr.value is None, literal=expr, source=expr)

    def _variable(self, expr: ast.Variable, scope: Scope) -> Typed:
        type_ = self.context.names.environment.variable(expr.name).type
        return Typed(self.context.parameters.bind(expr, type_), type_, True, source=expr)

    def _globalvariable(self, expr: ast.GlobalVariable, scope: Scope) -> Typed:
        type_ = self.context.names.environment.global_variable(expr.name).type
        nullable = type_ != t.INT and expr.name.upper() != "@@SPID"
        return Typed(self.context.parameters.bind(expr, type_), type_, nullable, source=expr)

    def _columnref(self, expr: ast.ColumnRef, scope: Scope) -> Typed:
        column, owner = scope.resolve(expr)
        if owner.groups is not None and not owner.in_aggregate and column.sql not in owner.groups:
            text = ".".join(expr.parts)
            if len(expr.parts) == 1:
                relation = next((r for r in owner.relations if r.find(column.name) is column), None)
                text = f"{relation.name}.{column.name}" if relation and relation.name else column.name
            raise error(
                8120,
                f"Column '{text}' is invalid in the select list because it is not contained in either an"
                " aggregate function or the GROUP BY clause.",
                expr.line,
            )
        return Typed(column.sql, column.type, column.nullable, column=column, collation=column.collation)

    def _star(self, expr: ast.Star, scope: Scope) -> Typed:
        raise error(102, "Incorrect syntax near '*'.", expr.line, severity=15)

    def _collate(self, expr: ast.Collate, scope: Scope) -> Typed:
        inner = self.value(expr.operand, scope)
        collation = collation_of(expr.collation)
        if not inner.type.is_character and inner.type.name != "null":
            raise error(447, f"Expression type {inner.type.name} is invalid for COLLATE clause.", expr.line)
        return replace(inner, column=None, collation=collation, explicit=True)

    def _unary(self, expr: ast.Unary, scope: Scope) -> Typed:
        operand = self.value(expr.operand, scope)
        result = operators.unary_type(expr.op, operand.type)
        literal = operand.literal
        if literal is not None and literal.value is not None:
            folded = self._folded(expr, result)
            if folded is not None:
                return folded
        if expr.op == "+":
            return Typed(operand.sql, result, operand.nullable, source=_whole(expr, operand))
        if operand.source is not None:
            return self._bound(expr, result)
        name = self.binder.unary(expr.op, operand.type, result)
        return Typed(f"{name}({operand.sql})", result, True)

    def _folded(self, expr: ast.Expr, result: SqlType) -> Typed | None:
        """A constant expression as literal; None when it fails (then it fails where it is evaluated)."""
        try:
            value = evaluate(expr, self.context.names.environment)
        except (SqlError, NeedsQuery):
            return None
        sql = sql_literal(to_storage(value.value, value.type))
        if sql is None or isinstance(value.value, tuple):
            return None
        plain = value.value
        if plain is not None and not isinstance(plain, int | Decimal | float | str | bytes):
            return None
        made = ast.Literal(value=plain, type=result, pos=expr.pos, line=expr.line)
        return Typed(f"({sql})", result, plain is None, literal=made, source=expr)

    def _bound(self, expr: ast.Expr, type_: SqlType, nullable: bool = True) -> Typed:
        """An expression without columns: computed before the query runs, when that succeeds now."""
        return Typed(self.context.parameters.bind(expr, type_), type_, nullable, source=expr)

    def _evaluates(self, expr: ast.Expr) -> bool:
        """Whether ``expr`` can be computed outside of the query. One that fails stays in the query: it may
        stand in a branch that no row takes."""
        try:
            evaluate(expr, self.context.names.environment)
        except (SqlError, NeedsQuery):
            return False
        return True

    def _binary(self, expr: ast.Binary, scope: Scope) -> Typed:
        left = self.value(expr.left, scope)
        right = self.value(expr.right, scope)
        left, right = _exact_literal(left, right), _exact_literal(right, left)
        result = operators.binary_type(expr.op, left.type, right.type)
        if left.source is not None and right.source is not None and self._evaluates(expr):
            return self._bound(expr, result, left.nullable or right.nullable)
        collation = stronger(left, right)
        if expr.op == "+" and left.type.is_character and right.type.is_character:
            nullable = left.nullable or right.nullable
            if fits(left.type, right.type, result):
                return Typed(f"({left.sql} || {right.sql})", result, nullable, collation=collation)
            name = self.binder.binary("+", left.type, right.type, result)
            return Typed(f"{name}({left.sql}, {right.sql})", result, nullable, collation=collation)
        fast = self._integer_arithmetic(expr.op, left, right, result)
        if fast is not None:
            return fast
        name = self.binder.binary(expr.op, left.type, right.type, result)
        return Typed(f"{name}({left.sql}, {right.sql})", result, True, collation=collation)

    def _integer_arithmetic(self, op: str, left: Typed, right: Typed, result: SqlType) -> Typed | None:
        if not (left.type.is_integer and right.type.is_integer and result.is_integer):
            return None
        if op in ("&", "|"):
            return Typed(f"({left.sql} {op} {right.sql})", result, True)
        if op in ("/", "%"):
            divisor = right.literal.value if right.literal is not None else None
            if isinstance(divisor, int) and divisor > 0:
                return Typed(f"({left.sql} {op} {right.sql})", result, True)
            return None
        if op in ("+", "-", "*") and result.name != "bigint":
            check = self.binder.int_check(result)
            return Typed(f"{check}({left.sql} {op} {right.sql})", result, True)
        return None

    def _cast(self, expr: ast.Cast, scope: Scope) -> Typed:
        operand = self.value(expr.operand, scope)
        target = expr.type.type or self.context.names.resolve_type(expr.type)
        fallible = operand.type.is_character and not target.is_character and not target.is_binary
        if operand.source is not None and expr.style is None and self._evaluates(expr):
            return self._bound(expr, target, operand.nullable or expr.try_ or fallible)
        style: int | None = None
        if expr.style is not None:
            if not isinstance(expr.style, ast.Literal):
                self.context.bound_to_frame = True
            made = self.value(expr.style, scope)
            if made.source is None:
                raise error(
                    8116, "Argument data type is invalid for argument 3 of convert function.", expr.line
                )
            number = evaluate(expr.style, self.context.names.environment).value
            style = number if isinstance(number, int) else None
        return self.converted(operand, target, style, try_=expr.try_, explicit=True)

    def converted(
        self,
        operand: Typed,
        target: SqlType,
        style: int | None = None,
        *,
        try_: bool = False,
        explicit: bool = False,
    ) -> Typed:
        """``operand`` as a value of ``target``."""
        source = operand.type
        if source == target and style is None:
            return operand
        if source.name == "null":
            return Typed("NULL", target, True, source=operand.source)
        fallible = source.is_character and not target.is_character and not target.is_binary
        nullable = operand.nullable or try_ or (explicit and fallible)
        if style is None and not try_ and same_storage(source, target):
            return Typed(operand.sql, target, nullable, source=operand.source, collation=operand.collation)
        if operand.literal is not None and style is None and not try_:
            made = self._converted_literal(operand, target)
            if made is not None:
                return made
        name = self.binder.conversion(source, target, style, try_=try_)
        return Typed(f"{name}({operand.sql})", target, nullable, collation=operand.collation)

    def _converted_literal(self, operand: Typed, target: SqlType) -> Typed | None:
        """A literal in another type; None when the conversion fails (then it fails where a row needs it)."""
        if operand.literal is None:
            return None
        try:
            raw = to_storage(convert(operand.literal.value, operand.type, target), target)
        except SqlError:
            return None
        sql = sql_literal(raw)
        if sql is None:
            sql = self.context.parameters.constant(raw)
        return Typed(sql, target, operand.nullable, collation=operand.collation)

    def _case(self, expr: ast.Case, scope: Scope) -> Typed:
        conditions: list[str] = []
        results: list[Typed] = []
        for when, then in expr.whens:
            if expr.operand is not None:
                conditions.append(self.compare("=", self.value(expr.operand, scope), self.value(when, scope)))
            else:
                conditions.append(self.predicate(when, scope))
            results.append(self.value(then, scope))
        other = self.value(expr.otherwise, scope) if expr.otherwise is not None else None
        everything = [*results, other] if other is not None else results
        type_ = self._common(everything)
        parts = [
            f"WHEN {condition} THEN {self.converted(result, type_).sql}"
            for condition, result in zip(conditions, results, strict=True)
        ]
        tail = f" ELSE {self.converted(other, type_).sql}" if other is not None else ""
        nullable = other is None or any(item.nullable for item in everything)
        return Typed(
            f"(CASE {' '.join(parts)}{tail} END)", type_, nullable, collation=_common_collation(everything)
        )

    def _common(self, items: Sequence[Typed]) -> SqlType:
        types = [item.type for item in items if item.type.name != "null"]
        return operators.common_type(types) if types else t.INT

    def _subquery(self, expr: ast.Subquery, scope: Scope) -> Typed:
        return self.queries.scalar_subquery(expr.query, scope)

    def _methodcall(self, expr: ast.MethodCall, scope: Scope) -> Typed:
        operand = self.value(expr.operand, scope)
        method = expr.method.lower()
        words = [arg.value for arg in expr.args if isinstance(arg, ast.Literal)]
        if operand.type.name == "xml" and words and isinstance(words[0], str):
            target = None
            if method == "value" and len(words) == 2:
                target = parse_type(str(words[1]))
            elif method in ("query", "exist"):
                target = t.XML if method == "query" else t.BIT
            if target is not None:
                names = tuple(dict.fromkeys(_SQL_NAMES.findall(words[0])))
                given = [self._named_in_xquery(name, expr, scope) for name in names]
                function = self.binder.xml_method(method, words[0], target, names)
                return Typed(f"{function}({', '.join([operand.sql, *given])})", target, True)
        raise error(
            258,
            f"Cannot call methods on {operand.type.name}.",
            expr.line,
            severity=15,
        )

    def _named_in_xquery(self, name: str, expr: ast.Expr, scope: Scope) -> str:
        """The value of sql:variable("@v") or sql:column("t.c") as text."""
        inner: ast.Expr
        if name.startswith("@"):
            inner = ast.Variable(name=name, line=expr.line)
        else:
            parts = tuple(part.strip("[]") for part in name.split("."))
            inner = ast.ColumnRef(parts=parts, line=expr.line)
        return self.converted(self.value(inner, scope), t.nvarchar(MAX)).sql

    def _nextvalue(self, expr: ast.NextValue, scope: Scope) -> Typed:
        self.context.bound_to_frame = True
        type_, key, step = self.context.names.next_value(expr.sequence)
        name = self.binder.scalar(("next", key), lambda: step, deterministic=False)
        return Typed(f"{name}()", type_, True)

    # ------------------------------------------------------------------ calls

    def _functioncall(self, expr: ast.FunctionCall, scope: Scope) -> Typed:
        name = expr.name.object.upper()
        if expr.name.schema is None:
            if name in WINDOW_FUNCTIONS or (expr.over is not None and name in AGGREGATES):
                return self.queries.aggregates.windowed(expr, scope)
            if name in AGGREGATES:
                return self.queries.aggregates.aggregate(expr, scope)
            special = getattr(self, f"_call_{name.lower()}", None)
            if special is not None:
                made: Typed = special(expr, scope)
                return made
            definition = self.context.names.environment.functions.lookup(name)
        else:
            own = self.context.names.user_function(expr.name)
            self.context.bound_to_frame = True
            if own is not None:
                return self._user_call(expr, own, scope)
            definition = None
            if (expr.name.database or "msdb").lower() in ("master", "msdb"):
                definition = self.context.names.environment.functions.lookup(name)
                if definition is not None and expr.name.schema.lower() not in ("sys", "dbo"):
                    definition = None
        if definition is None:
            if expr.name.schema is None:
                raise error(
                    195,
                    f"'{expr.name.object}' is not a recognized built-in function name.",
                    expr.line,
                    severity=15,
                    state=10,
                )
            qualified = f"{expr.name.schema}.{expr.name.object}"
            raise error(
                4121,
                f'Cannot find either column "{expr.name.schema}" or the user-defined function or aggregate'
                f' "{qualified}", or the name is ambiguous.',
                expr.line,
            )
        return self._call(expr, definition, scope)

    def _call(self, expr: ast.FunctionCall, definition: FunctionDef, scope: Scope) -> Typed:
        count = len(expr.args)
        if count < definition.min_args or (definition.max_args is not None and count > definition.max_args):
            raise error(
                174,
                f"The {definition.name.lower()} function requires {definition.min_args} argument(s).",
                expr.line,
                severity=15,
            )
        words = tuple(arg.name if isinstance(arg, ast.DatePart) else None for arg in expr.args)
        args = [None if isinstance(arg, ast.DatePart) else self.value(arg, scope) for arg in expr.args]
        types = [t.NULL if arg is None else arg.type for arg in args]
        result = definition.result(types, expr.args)
        constant = all(arg is None or arg.source is not None for arg in args)
        is_json = definition.name in JSON_RESULTS
        if definition.name.startswith("JSON_") and all(arg is None or arg.literal for arg in args):
            evaluate(expr, self.context.names.environment)  # of literals it fails before there are columns
        if constant and definition.name.upper() not in _PER_ROW and self._evaluates(expr):
            return replace(self._bound(expr, result), json=is_json)
        name = self.binder.function(definition, types, result, words)
        inner = ", ".join(arg.sql for arg in args if arg is not None)
        return Typed(f"{name}({inner})", result, True, json=is_json)

    def _user_call(self, expr: ast.FunctionCall, function: ScalarFunction, scope: Scope) -> Typed:
        args = self.arguments(expr, function.shown, function.parameters, scope)
        types = [arg.type for arg in args]
        result = function.definition.result(types, expr.args)
        name = self.binder.function(function.definition, types, result, (None,) * len(args))
        return Typed(f"{name}({', '.join(arg.sql for arg in args)})", result, True)

    def arguments(
        self,
        expr: ast.FunctionCall,
        shown: str,
        parameters: Sequence[FunctionParameter],
        scope: Scope,
    ) -> list[Typed]:
        """The arguments of a user-defined function in its parameters' types. Raises SqlError 313, 8144."""
        if len(expr.args) > len(parameters):
            text = f"Procedure or function {shown} has too many arguments specified."
            raise error(8144, text, expr.line, state=3)
        if len(expr.args) < len(parameters):
            text = f"An insufficient number of arguments were supplied for the procedure or function {shown}."
            raise error(313, text, expr.line, state=3)
        made = []
        for arg, parameter in zip(expr.args, parameters, strict=True):
            if isinstance(arg, ast.Default):
                default = self.context.names.default_argument(parameter)
                raw = to_storage(convert(default.value, default.type, parameter.type), parameter.type)
                made.append(Typed(self.context.parameters.constant(raw), parameter.type))
            else:
                made.append(self.converted(self.value(arg, scope), parameter.type))
        return made

    def _given(self, expr: Given, scope: Scope) -> Typed:
        return expr.typed

    def _call_grouping(self, expr: ast.FunctionCall, scope: Scope) -> Typed:
        """GROUPING(column): 1 where the row sums up over all of its values."""
        return Typed(str(self._is_absent(expr.args[0], scope)), t.TINYINT, False)

    def _call_grouping_id(self, expr: ast.FunctionCall, scope: Scope) -> Typed:
        number = 0
        for arg in expr.args:
            number = number * 2 + self._is_absent(arg, scope)
        return Typed(str(number), t.INT, False)

    def _is_absent(self, expr: ast.Expr, scope: Scope) -> int:
        groups, scope.groups = scope.groups, None
        try:
            sql = self.value(expr, scope).sql
        finally:
            scope.groups = groups
        if groups is None or sql not in groups:
            text = "Argument 1 of the GROUPING function does not match any of the expressions in the GROUP BY"
            raise error(8161, f"{text} clause.", expr.line)
        return int(sql in scope.absent)

    def _call_coalesce(self, expr: ast.FunctionCall, scope: Scope) -> Typed:
        items = [self.value(arg, scope) for arg in expr.args]
        type_ = self._common(items)
        parts = [self.converted(item, type_) for item in items]
        if len(parts) == 1:
            return parts[0]
        inner = ", ".join(part.sql for part in parts)
        nullable = all(item.nullable for item in items)
        return Typed(f"coalesce({inner})", type_, nullable, collation=_common_collation(items))

    def _call_isnull(self, expr: ast.FunctionCall, scope: Scope) -> Typed:
        if len(expr.args) != 2:
            raise error(174, "The isnull function requires 2 argument(s).", expr.line, severity=15)
        first, second = (self.value(arg, scope) for arg in expr.args)
        type_ = first.type if first.type.name != "null" else second.type
        if type_.name == "null":
            type_ = t.INT
        first, second = self.converted(first, type_), self.converted(second, type_)
        nullable = first.nullable and second.nullable
        return Typed(f"ifnull({first.sql}, {second.sql})", type_, nullable, collation=first.collation)

    def _call_nullif(self, expr: ast.FunctionCall, scope: Scope) -> Typed:
        if len(expr.args) != 2:
            raise error(174, "The nullif function requires 2 argument(s).", expr.line, severity=15)
        first, second = (self.value(arg, scope) for arg in expr.args)
        type_ = first.type if first.type.name != "null" else t.INT
        condition = self.compare("=", first, second)
        return Typed(f"(CASE WHEN {condition} THEN NULL ELSE {first.sql} END)", type_, True)

    def _call_iif(self, expr: ast.FunctionCall, scope: Scope) -> Typed:
        if len(expr.args) != 3:
            raise error(174, "The iif function requires 3 argument(s).", expr.line, severity=15)
        case = ast.Case(operand=None, whens=((expr.args[0], expr.args[1]),), otherwise=expr.args[2])
        return self._case(case, scope)

    def _call_choose(self, expr: ast.FunctionCall, scope: Scope) -> Typed:
        index = self.converted(self.value(expr.args[0], scope), t.INT)
        items = [self.value(arg, scope) for arg in expr.args[1:]]
        type_ = self._common(items)
        parts = " ".join(
            f"WHEN {number} THEN {self.converted(item, type_).sql}" for number, item in enumerate(items, 1)
        )
        return Typed(f"(CASE {index.sql} {parts} END)", type_, True)

    # ------------------------------------------------------------------ predicates and order

    def predicate(self, expr: ast.Expr, scope: Scope) -> str:
        """A condition as SQLite boolean: 1, 0 or NULL for UNKNOWN."""
        return self.predicates.predicate(expr, scope)

    def compare(self, op: str, left: Typed, right: Typed, line: int = 1) -> str:
        """``left op right`` under T-SQL's rules of types and collation."""
        return self.predicates.compare(op, left, right, line)

    def sort_key(self, item: Typed) -> str:
        """What to sort or group by, so that SQLite's order is T-SQL's."""
        if item.type.is_character:
            return f"{item.sql} COLLATE {item.collation}"
        if item.type.name == "uniqueidentifier":
            return f"{self.binder.guid_order()}({item.sql})"
        if item.type.name == "datetimeoffset":
            return f"{self.binder.instant()}({item.sql})"
        return item.sql


def parse_type(text: str) -> SqlType:
    """The type in ``.value(path, 'nvarchar(max)')``."""
    statement = parse(f"DECLARE @x {text}").statements[0]
    if isinstance(statement, ast.Declare):
        declared = statement.items[0].type
        if declared is not None and declared.type is not None:
            return declared.type
    return t.nvarchar(MAX)


def _whole(expr: ast.Expr, operand: Typed) -> ast.Expr | None:
    return expr if operand.source is not None else None


def _exact_literal(item: Typed, other: Typed) -> Typed:
    """An integer literal beside a decimal counts with the digits it has, not with the ten of int."""
    literal = item.literal
    if (
        literal is None
        or other.type.name != "decimal"
        or not item.type.is_integer
        or not isinstance(literal.value, int)
    ):
        return item
    type_ = t.decimal(max(1, len(str(abs(literal.value)))), 0, numeric=other.type.numeric)
    return replace(item, type=type_)


def _common_collation(items: Sequence[Typed]) -> str:
    return next((item.collation for item in items if item.collation != CASE_INSENSITIVE), CASE_INSENSITIVE)
