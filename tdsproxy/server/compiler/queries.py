"""SELECT, set operations and their tails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from tdsproxy.server.compiler.aggregates import AggregateCompiler
from tdsproxy.server.compiler.common_tables import CommonTableCompiler
from tdsproxy.server.compiler.compiled import CompiledQuery, Output
from tdsproxy.server.compiler.context import Context
from tdsproxy.server.compiler.expressions import ExpressionCompiler
from tdsproxy.server.compiler.inspect import contains_aggregate, expressions_of
from tdsproxy.server.compiler.json_format import checked_names
from tdsproxy.server.compiler.rewrite import with_windows
from tdsproxy.server.compiler.sources import SourceCompiler
from tdsproxy.server.compiler.typed import Scope, Typed, error
from tdsproxy.server.compiler.xml_format import text_frame
from tdsproxy.server.workspace import text_literal
from tdsproxy.tsql import ast, operators
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType

_DISTINCT_OPERATORS: Final = frozenset({"UNION", "EXCEPT", "INTERSECT"})


class QueryCompiler:
    """Compiles queries; owns the compilers of the parts."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.expressions = ExpressionCompiler(context, self)
        self.aggregates = AggregateCompiler(self.expressions)
        self.sources = SourceCompiler(context, self)
        self.common = CommonTableCompiler(context, self)

    # ------------------------------------------------------------------ entry points

    def query(self, query: ast.Query, parent: Scope | None = None) -> CompiledQuery:
        """A whole query with its CTEs, order and limits."""
        self.context.depth += 1
        if self.context.depth > 64:
            raise error(191, "Some part of your SQL statement is nested too deeply.", query.line, severity=15)
        try:
            if query.with_:
                scope = Scope(parent=parent)
                prefix = self.common.compile(query.with_, scope)
                inner = self.body(query, scope)
                return replace(inner, sql=f"{prefix} {inner.sql}")
            return self.body(query, parent)
        finally:
            self.context.depth -= 1

    def subquery(self, query: ast.Query, scope: Scope) -> CompiledQuery:
        """A query inside an expression of ``scope``."""
        with self.context.without_keys():
            return self.query(query, scope)

    def scalar_subquery(self, query: ast.Query, scope: Scope) -> Typed:
        """A query as a value: NULL for no row, error 512 for two."""
        inner = self.subquery(query, scope)
        if query.for_ is not None:
            return self._rows_as_text(inner, query.for_, main_source(query))
        if len(inner.columns) != 1:
            raise error(
                116,
                "Only one expression can be specified in the select list when the subquery is not"
                " introduced with EXISTS.",
                query.line,
            )
        column = inner.columns[0]
        if inner.single:
            sql = f"({inner.sql})"
        else:
            fail = self.context.binder.too_many_rows()
            alias = self.context.alias()
            sql = (
                f"(SELECT CASE WHEN count(*) > 1 THEN {fail}() ELSE max({alias}.c1) END"
                f" FROM (SELECT * FROM ({inner.sql}) LIMIT 2) AS {alias})"
            )
        return Typed(sql, column.type, True, collation=column.typed.collation)

    def _rows_as_text(self, inner: CompiledQuery, clause: ast.XmlClause, table: str) -> Typed:
        """A subquery with FOR XML or FOR JSON: all its rows as one text, NULL when there is none."""
        names = tuple(output.name for output in inner.columns)
        types = tuple(output.described().type for output in inner.columns)
        raw = tuple(output.typed.json for output in inner.columns)
        if clause.kind == "JSON":
            checked_names(names, 1)
        row = self.context.binder.row_text(names, types, raw, clause, table)
        whole, alias = self.context.alias(), self.context.alias()
        columns = ", ".join(f"{alias}.c{number}" for number in range(1, len(names) + 1))
        separator = "" if clause.kind == "XML" else ","
        before, after = text_frame(clause)
        sql = (
            f"(SELECT {text_literal(before)} || group_concat({whole}.x, '{separator}' ORDER BY {whole}.n)"
            f" || {text_literal(after)} FROM (SELECT {row}({columns}) AS x, row_number() OVER () AS n"
            f" FROM ({inner.sql}) AS {alias}) AS {whole})"
        )
        type_ = t.XML if "TYPE" in clause.options else t.nvarchar(t.MAX)
        return Typed(sql, type_, True, json=clause.kind == "JSON")

    @staticmethod
    def column_names(names: tuple[str, ...], outputs: Sequence[Output], table: str, line: int) -> list[str]:
        """The names of a table expression's columns: those given after its alias, or the query's own."""
        if names:
            if len(names) != len(outputs):
                few = len(names) < len(outputs)
                raise error(
                    8158 if few else 8159,
                    f"'{table}' has {'more' if few else 'fewer'} columns than were specified in the"
                    " column list.",
                    line,
                )
            return list(names)
        for number, output in enumerate(outputs, 1):
            if not output.name:
                raise error(8155, f"No column name was specified for column {number} of '{table}'.", line)
        return [output.name for output in outputs]

    # ------------------------------------------------------------------ bodies

    def body(self, query: ast.Query, parent: Scope | None) -> CompiledQuery:
        if isinstance(query, ast.Select):
            if query.grouping is not None:
                return self._grouping_sets(query, query.grouping, parent)
            return self._select(query, parent)
        if isinstance(query, ast.SetOperation):
            return self._set_operation(query, parent)
        raise error(102, "Incorrect syntax near the query.", query.line, severity=15)

    def _set_operation(self, query: ast.SetOperation, parent: Scope | None) -> CompiledQuery:
        with self.context.without_keys():
            left = self.query(query.left, parent)
            right = self.query(query.right, parent)
        self.same_width(left.columns, right.columns, query.line)
        types = []
        for a, b in zip(left.columns, right.columns, strict=True):
            known = [item.type for item in (a, b) if item.type.name != "null"]
            types.append(operators.common_type(known) if known else t.INT)
        distinct = query.op in _DISTINCT_OPERATORS
        first = self.as_types(left, types, collate=distinct)
        second = self.as_types(right, types, collate=distinct)
        outputs = tuple(
            Output(
                a.name,
                Typed(
                    "",
                    type_,
                    a.nullable or (b.nullable and query.op.startswith("UNION")),
                    collation=a.typed.collation,
                ),
            )
            for a, b, type_ in zip(left.columns, right.columns, types, strict=True)
        )
        sql = f"{_operand(first.sql)} {query.op} {_operand(second.sql)}"
        made = CompiledQuery(sql, outputs)
        if not query.order and query.offset is None:
            return made
        alias = self.context.alias()
        scope = Scope(parent=parent)
        return self._ordered_outside(query, made, alias, scope)

    def _ordered_outside(
        self, query: ast.Query, made: CompiledQuery, alias: str, scope: Scope
    ) -> CompiledQuery:
        """ORDER BY over a finished query: by ordinal or by output name."""
        keys, positions = [], []
        for item in query.order:
            position = self._ordinal(item.expr, len(made.columns))
            if position is None and isinstance(item.expr, ast.ColumnRef):
                name = item.expr.parts[-1].lower()
                position = next(
                    (n for n, output in enumerate(made.columns, 1) if output.name.lower() == name), None
                )
            if position is None:
                raise error(
                    104,
                    "ORDER BY items must appear in the select list if the statement contains a UNION,"
                    " INTERSECT or EXCEPT operator.",
                    query.line,
                )
            output = made.columns[position - 1]
            key = self.expressions.sort_key(replace(output.typed, sql=f"{alias}.c{position}"))
            keys.append(f"{key}{' DESC' if item.descending else ''}")
            positions.append(position)
        order = f" ORDER BY {', '.join(keys)}" if keys else ""
        limit = self._offset(query, scope)
        return replace(
            made, sql=f"SELECT * FROM ({made.sql}) AS {alias}{order}{limit}", order=tuple(positions)
        )

    def as_types(
        self, query: CompiledQuery, types: Sequence[SqlType], *, collate: bool = False
    ) -> CompiledQuery:
        """The query with its columns converted."""
        alias = self.context.alias()
        items = []
        changed = collate and any(type_.is_character for type_ in types)
        for number, (output, type_) in enumerate(zip(query.columns, types, strict=True), 1):
            made = self.expressions.converted(
                Typed(f"{alias}.c{number}", output.type, output.nullable, collation=output.typed.collation),
                type_,
            )
            changed = changed or made.sql != f"{alias}.c{number}"
            sql = self._collated(made) if collate else made.sql
            items.append(f"{sql} AS c{number}")
        if not changed:
            return query
        return replace(query, sql=f"SELECT {', '.join(items)} FROM ({query.sql}) AS {alias}")

    @staticmethod
    def _collated(item: Typed) -> str:
        return f"{item.sql} COLLATE {item.collation}" if item.type.is_character else item.sql

    @staticmethod
    def same_width(left: Sequence[Output], right: Sequence[Output], line: int) -> None:
        if len(left) != len(right):
            raise error(
                205,
                "All queries combined using a UNION, INTERSECT or EXCEPT operator must have an equal number"
                " of expressions in their target lists.",
                line,
            )

    # ------------------------------------------------------------------ SELECT

    def _select(
        self, query: ast.Select, parent: Scope | None, among: tuple[ast.Expr, ...] | None = None
    ) -> CompiledQuery:
        """``among`` are the expressions that one of several grouping sets groups by."""
        query = with_windows(query)
        scope = Scope(parent=parent)
        source = self.sources.compile(query.sources, scope) if query.sources else ""
        where = [self.expressions.predicate(query.where, scope)] if query.where is not None else []
        grouped = self._grouped(query)
        group_sql = self._group_by(query, scope, among) if grouped else ""
        if among == () and not any(contains_aggregate(item.expr) for item in query.items):
            group_sql = " GROUP BY NULL"  # one row of all
        outputs, variables = self.select_list(query, scope)
        having = ""
        if query.having is not None:
            having = f" HAVING {self.expressions.predicate(query.having, scope)}"
        order, positions = self._order_by(query, outputs, scope)
        items = ", ".join(
            f"{self._collated(output.typed) if query.distinct else output.typed.sql} AS c{number}"
            for number, output in enumerate(outputs, 1)
        )
        table, keys = self._row_keys(query, scope, grouped)
        items += "".join(f", {key} AS k{number}" for number, key in enumerate(keys, 1))
        sql = f"SELECT {'DISTINCT ' if query.distinct else ''}{items}"
        if source:
            sql += f" FROM {source}"
        if where:
            sql += f" WHERE {' AND '.join(where)}"
        sql += group_sql + having
        single = (grouped and not query.group) or not query.sources
        made = CompiledQuery(
            sql, tuple(outputs), single, tuple(variables), table, len(keys), tuple(positions)
        )
        if query.top is not None:
            return self._top(query, made, order, scope)
        tail = f" ORDER BY {', '.join(order)}" if order else ""
        return replace(made, sql=sql + tail + self._offset(query, scope))

    def _grouping_sets(
        self, query: ast.Select, sets: tuple[tuple[ast.Expr, ...], ...], parent: Scope | None
    ) -> CompiledQuery:
        """One query for each set, put together; ORDER BY's expressions are columns behind the others."""
        extra = tuple(
            ast.SelectItem(item.expr) for item in query.order if not self._names_output(item, query)
        )
        plain = ast.replace(
            query,
            items=(*query.items, *extra),
            order=(),
            top=None,
            distinct=False,
            grouping=None,
            offset=None,
            fetch=None,
        )
        with self.context.without_keys():
            parts = [self._select(plain, parent, one) for one in sets]
        whole = self.context.alias()
        width = len(parts[0].columns) - len(extra)
        first = parts[0].columns
        columns = tuple(
            Output(
                output.name, Typed(f"{whole}.c{number}", output.type, True, collation=output.typed.collation)
            )
            for number, output in enumerate(first[:width], 1)
        )
        keys: list[str] = []
        positions: list[int] = []
        behind = width
        for item in query.order:
            position = self._output_position(item, query, columns)
            if position is None:
                behind += 1
                position = behind
            else:
                positions.append(position)
            typed = replace(first[position - 1].typed, sql=f"{whole}.c{position}")
            keys.append(self.expressions.sort_key(typed) + (" DESC" if item.descending else ""))
        names = ", ".join(f"{whole}.c{number} AS c{number}" for number in range(1, width + 1))
        union = " UNION ALL ".join(part.sql for part in parts)
        sql = f"SELECT {'DISTINCT ' if query.distinct else ''}{names} FROM ({union}) AS {whole}"
        scope = Scope(parent=parent)
        made = CompiledQuery(
            sql, columns, order=tuple(positions) if len(positions) == len(query.order) else ()
        )
        if query.top is not None:
            return self._top(query, made, keys, scope)
        tail = f" ORDER BY {', '.join(keys)}" if keys else ""
        return replace(made, sql=sql + tail + self._offset(query, scope))

    @staticmethod
    def _names_output(item: ast.OrderItem, query: ast.Select) -> bool:
        expr = item.expr
        if isinstance(expr, ast.Literal):
            return True
        if not isinstance(expr, ast.ColumnRef):
            return any(other.expr == expr for other in query.items)
        name = expr.parts[-1].lower()
        return any(
            (other.alias or "").lower() == name
            or (isinstance(other.expr, ast.ColumnRef) and other.expr.parts[-1].lower() == name)
            for other in query.items
        )

    def _output_position(
        self, item: ast.OrderItem, query: ast.Select, columns: Sequence[Output]
    ) -> int | None:
        if not self._names_output(item, query):
            return None
        position = self._ordinal(item.expr, len(columns))
        if position is not None:
            return position
        for number, other in enumerate(query.items, 1):
            if other.expr == item.expr:
                return number
        name = item.expr.parts[-1].lower() if isinstance(item.expr, ast.ColumnRef) else ""
        return next((n for n, output in enumerate(columns, 1) if output.name.lower() == name), None)

    def _row_keys(
        self, query: ast.Select, scope: Scope, grouped: bool
    ) -> tuple[object | None, tuple[str, ...]]:
        """The row keys of the table that an UPDATE or DELETE through this query writes."""
        if not self.context.keys_wanted or grouped or query.distinct or not scope.relations:
            return None, ()
        first = scope.relations[0]
        return (first.table, first.row_key) if first.table is not None else (None, ())

    def _grouped(self, query: ast.Select) -> bool:
        if query.group or query.having is not None:
            return True
        if any(contains_aggregate(item.expr) for item in query.items):
            return True
        return any(contains_aggregate(item.expr) for item in query.order)

    def _group_by(self, query: ast.Select, scope: Scope, among: tuple[ast.Expr, ...] | None = None) -> str:
        keys, groups = [], {}
        absent = set()
        for expr in query.group:
            if contains_aggregate(expr) or any(isinstance(e, ast.Subquery) for e in expressions_of(expr)):
                raise error(
                    144,
                    "Cannot use an aggregate or a subquery in an expression used for the group by list of a"
                    " GROUP BY clause.",
                    expr.line,
                    severity=15,
                )
            made = self.expressions.value(expr, scope)
            if among is not None and expr not in among:
                groups[made.sql] = Typed("NULL", made.type, True, collation=made.collation)
                absent.add(made.sql)
                continue
            groups[made.sql] = made
            keys.append(self._collated(made))
        scope.groups = groups
        scope.absent = frozenset(absent)
        return f" GROUP BY {', '.join(keys)}" if keys else ""

    def select_list(self, query: ast.Select, scope: Scope) -> tuple[list[Output], list[ast.SelectItem]]:
        outputs: list[Output] = []
        variables: list[ast.SelectItem] = []
        for item in query.items:
            if isinstance(item.expr, ast.Star):
                outputs.extend(self._star(item.expr, scope))
                continue
            made = self.expressions.value(item.expr, scope)
            if item.variable is not None:
                variables.append(item)
            name = item.alias
            if name is None:
                name = made.column.name if isinstance(item.expr, ast.ColumnRef) and made.column else ""
                if not name and isinstance(item.expr, ast.ColumnRef):
                    name = item.expr.parts[-1]
            outputs.append(Output(name, made))
        if variables and len(variables) != len(query.items):
            raise error(
                141,
                "A SELECT statement that assigns a value to a variable must not be combined with"
                " data-retrieval operations.",
                query.line,
                severity=15,
            )
        return outputs, variables

    def _star(self, star: ast.Star, scope: Scope) -> list[Output]:
        outputs = []
        matched = False
        for relation in scope.relations:
            if star.qualifier and not relation.matches(star.qualifier):
                continue
            matched = True
            for column in relation.columns:
                reference = ast.ColumnRef(
                    parts=(relation.name, column.name) if relation.name else (column.name,),
                    line=star.line,
                )
                if scope.groups is not None:
                    outputs.append(Output(column.name, self.expressions.value(reference, scope)))
                else:
                    made = Typed(column.sql, column.type, column.nullable, column, collation=column.collation)
                    outputs.append(Output(column.name, made))
        if not matched:
            if star.qualifier:
                raise error(
                    107,
                    f"The column prefix '{star.qualifier[-1]}' does not match with a table name or alias"
                    " name used in the query.",
                    star.line,
                    severity=15,
                )
            raise error(263, "Must specify table to select from.", star.line)
        return outputs

    # ------------------------------------------------------------------ order and limits

    @staticmethod
    def _ordinal(expr: ast.Expr, count: int) -> int | None:
        if isinstance(expr, ast.Literal) and isinstance(expr.value, int):
            if not 1 <= expr.value <= count:
                raise error(
                    108,
                    f"The ORDER BY position number {expr.value} is out of range of the number of items in"
                    " the select list.",
                    expr.line,
                )
            return expr.value
        return None

    def _order_by(
        self, query: ast.Select, outputs: list[Output], scope: Scope
    ) -> tuple[list[str], list[int]]:
        keys: list[str] = []
        positions: list[int] = []
        for item in query.order:
            expr = item.expr
            position = self._ordinal(expr, len(outputs))
            if position is None and isinstance(expr, ast.ColumnRef) and len(expr.parts) == 1:
                name = expr.parts[0].lower()
                hits = [n for n, output in enumerate(outputs, 1) if output.name.lower() == name]
                if len({outputs[n - 1].typed.sql for n in hits}) > 1:
                    raise error(209, f"Ambiguous column name '{expr.parts[0]}'.", expr.line)
                position = hits[0] if hits else None
            if position is not None:
                made = outputs[position - 1].typed
            else:
                made = self.expressions.value(expr, scope)
                hits = [n for n, output in enumerate(outputs, 1) if output.typed.sql == made.sql]
                if hits:
                    position = hits[0]
                elif query.distinct:
                    raise error(
                        145,
                        "ORDER BY items must appear in the select list if SELECT DISTINCT is specified.",
                        expr.line,
                        severity=15,
                    )
            if position is not None:
                positions.append(position)
            direction = " DESC" if item.descending else ""
            if made.literal is not None or made.sql.startswith(":p"):
                continue
            keys.append(self.expressions.sort_key(made) + direction)
        return keys, positions if len(positions) == len(query.order) else []

    def _offset(self, query: ast.Query, scope: Scope) -> str:
        if query.offset is None:
            return ""
        offset = self._count(query.offset, scope)
        fetch = self._count(query.fetch, scope) if query.fetch is not None else "-1"
        return f" LIMIT {fetch} OFFSET {offset}"

    def _count(self, expr: ast.Expr, scope: Scope) -> str:
        return self.expressions.converted(
            self.expressions.value(expr, Scope(parent=scope.parent)), t.BIGINT
        ).sql

    def _top(self, query: ast.Select, made: CompiledQuery, order: list[str], scope: Scope) -> CompiledQuery:
        top = query.top
        if top is None:
            return made
        single = (
            isinstance(top.count, ast.Literal)
            and top.count.value == 1
            and not top.percent
            and not top.with_ties
        )
        keys = f" ORDER BY {', '.join(order)}" if order else ""
        if not top.percent and not top.with_ties:
            count = self._count(top.count, scope)
            return replace(made, sql=f"{made.sql}{keys} LIMIT max({count}, 0)", single=made.single or single)
        if top.with_ties and not order:
            raise error(
                1062,
                "The TOP N WITH TIES clause is not allowed without a corresponding ORDER BY clause.",
                query.line,
            )
        listed = [f"c{number}" for number in range(1, len(made.columns) + 1)]
        names = ", ".join(listed + [f"k{number}" for number in range(1, made.keys + 1)])
        rank = "rank" if top.with_ties else "row_number"
        alias, body = self.context.alias(), made.sql
        if query.distinct or scope.groups is not None:
            # The window runs over the finished rows, so it can only see output columns.
            whole = self.context.alias()
            order = [
                self.expressions.sort_key(
                    replace(made.columns[position - 1].typed, sql=f"{whole}.c{position}")
                )
                + (" DESC" if item.descending else "")
                for position, item in zip(made.order, query.order, strict=False)
            ]
            keys = f" ORDER BY {', '.join(order)}" if order else ""
            body = f"SELECT * FROM ({made.sql}) AS {whole}"
        head = f"SELECT {rank}() OVER ({keys.strip()}) AS tn, count(*) OVER () AS tc, "
        inner = head + body.removeprefix("SELECT ")
        if top.percent:
            share = self.expressions.converted(
                self.expressions.value(top.count, Scope(parent=scope.parent)), t.FLOAT
            ).sql
            limit = f"{alias}.tn <= ceil({alias}.tc * {share} / 100.0)"
        else:
            limit = f"{alias}.tn <= {self._count(top.count, scope)}"
        sql = f"SELECT {names} FROM ({inner}) AS {alias} WHERE {limit} ORDER BY {alias}.tn"
        return replace(made, sql=sql)


def main_source(query: ast.Query) -> str:
    """The name of the first table of a query: FOR XML AUTO names its elements so."""
    if not isinstance(query, ast.Select) or not query.sources:
        return "row"
    source = query.sources[0]
    while isinstance(source, ast.Join):
        source = source.left
    if source.alias is not None:
        return source.alias
    return source.name.object if isinstance(source, ast.TableSource) else "row"


def _operand(sql: str) -> str:
    """A member of a compound select, which may not have ORDER BY, LIMIT, WITH or a compound of its own."""
    return f"SELECT * FROM ({sql})"
