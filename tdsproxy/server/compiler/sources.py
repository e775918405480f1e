"""The FROM clause: tables, views, derived tables, joins, APPLY."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tdsproxy.server.compiler.collations import collation_of
from tdsproxy.server.compiler.compiled import CompiledQuery, Output
from tdsproxy.server.compiler.context import Context, FoundTable
from tdsproxy.server.compiler.pivot import pivot_query, unpivot_query
from tdsproxy.server.compiler.rewrite import with_variables
from tdsproxy.server.compiler.rowsets import RowsetCompiler
from tdsproxy.server.compiler.typed import BoundColumn, Given, Relation, Scope, Typed, error
from tdsproxy.server.schema import ColumnInfo, ModuleInfo
from tdsproxy.server.user_functions import InlineFunction, TableFunction
from tdsproxy.server.workspace import TEMP, is_temporary, quoted
from tdsproxy.store.encoding import parse_declared
from tdsproxy.tsql import ast, operators
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.compiler.queries import QueryCompiler

_SYSTEM_SCHEMAS: Final = frozenset({"sys", "information_schema"})
_LOCKING_HINTS: Final = frozenset(
    {"UPDLOCK", "XLOCK", "TABLOCKX", "HOLDLOCK", "SERIALIZABLE", "REPEATABLEREAD"}
)
"""Table hints by which rows stay as they were read until the end of the transaction."""


class SourceCompiler:
    """Compiles sources into SQL and adds their relations to a scope."""

    def __init__(self, context: Context, queries: QueryCompiler) -> None:
        self.context = context
        self.queries = queries

    def compile(self, sources: Sequence[ast.Source], scope: Scope) -> str:
        """The comma list of FROM."""
        return " CROSS JOIN ".join(self._source(source, scope) for source in sources)

    def _source(self, source: ast.Source, scope: Scope) -> str:
        match source:
            case ast.TableSource():
                return self._table(source, scope)
            case ast.DerivedTable():
                inner = self.queries.query(source.query, _outside(scope))
                return self._derived(inner, source, scope)
            case ast.ValuesSource():
                return self._derived(self._values(source, scope), source, scope)
            case ast.FunctionSource():
                return self._function(source, scope)
            case ast.Join():
                return self._join(source, scope)
            case ast.Pivot() | ast.Unpivot():
                with self.context.without_keys():
                    outer = _outside(scope)
                    query = (
                        pivot_query(source, self, outer)
                        if isinstance(source, ast.Pivot)
                        else unpivot_query(source, self, outer)
                    )
                    return self._derived(self.queries.query(query, outer), source, scope)
        raise error(102, "Incorrect syntax near the table source.", source.line, severity=15)

    # ------------------------------------------------------------------ names

    def find_table(self, name: ast.Name) -> FoundTable | ModuleInfo | None:
        """The table or view that ``name`` means; None when there is none."""
        plain = name.object
        if plain.startswith(("@", "#")):
            self.context.bound_to_frame = True
        if plain.startswith("@"):
            table = self.context.names.table_variable(plain)
            if table is None:
                raise error(
                    1087, f'Must declare the table variable "{plain}".', name.line, severity=15, state=2
                )
            return FoundTable(table, TEMP, "tempdb")
        if plain.startswith("#"):
            if name.database and name.database.lower() == "tempdb":
                self.context.notices.append(
                    (2701, 99, "Database name 'tempdb' ignored, referencing object in tempdb.")
                )
            return self._temp_table(plain)
        if name.schema is None and name.database is None:
            pseudo = self.context.names.pseudo_table(plain)
            if pseudo is not None:
                self.context.bound_to_frame = True
                return pseudo
        database = name.database or self.context.database
        file = self.context.workspace.find_database(database)
        if file is None:
            self.context.bound_to_frame = True
            return None
        self.context.files.add(file.name)
        schema = self.context.workspace.attach(file)
        objects = self.context.schema(schema)
        table = objects.table(name.schema or "dbo", plain)
        if table is not None:
            return FoundTable(table, schema, file.name)
        return objects.module(name.schema or "dbo", plain)

    def _temp_table(self, name: str) -> FoundTable | None:
        extra = self.context.extra_tables.get(name.lower())
        if extra is not None:
            return extra()
        if name.startswith("##"):
            schema = self.context.workspace.global_temp()
            table = self.context.schema(schema).table("#0", name)
            return None if table is None else FoundTable(table, schema, "tempdb")
        objects = self.context.schema(TEMP)
        for scope in self.context.names.temp_scopes:
            table = objects.table(scope, name)
            if table is not None:
                return FoundTable(table, TEMP, "tempdb")
        return None

    def invalid_object(self, name: ast.Name) -> Exception:
        parts = [part for part in (name.server, name.database, name.schema, name.object) if part]
        if name.database and not name.schema:
            parts = [name.database, "", name.object]
        state = 0 if name.object.startswith("#") else 1
        return error(208, f"Invalid object name '{'.'.join(parts)}'.", name.line, state=state)

    # ------------------------------------------------------------------ tables and views

    def _table(self, source: ast.TableSource, scope: Scope) -> str:
        name = source.name
        if name.server:
            raise error(
                7202,
                f"Could not find server '{name.server}' in sys.servers. Verify that the correct server name"
                " was specified. If necessary, execute the stored procedure sp_addlinkedserver to add the"
                " server to sys.servers.",
                name.line,
                severity=11,
                state=2,
            )
        if name.schema is None and name.database is None:
            common = scope.common_table(name.object)
            if common is not None:
                alias = self.context.alias()
                columns = tuple(replace(c, sql=f"{alias}.{c.sql}") for c in common.columns)
                relation = Relation(source.alias or name.object, columns, table=common.table)
                relation.row_key = tuple(f"{alias}.k{number}" for number in range(1, common.keys + 1))
                scope.relations.append(relation)
                return f"{common.sql_name} AS {alias}"
        if (name.schema or "").lower() in _SYSTEM_SCHEMAS:
            made = self._system_view(source, scope, name.schema or "sys")
            if made is not None:
                return made
            raise self.invalid_object(name)
        found = self.find_table(name)
        if found is not None and not _LOCKING_HINTS.isdisjoint(source.hints):
            self._keep(found, name)
        if isinstance(found, FoundTable):
            return self._plain_table(source, found, scope)
        if isinstance(found, ModuleInfo) and found.kind == "V":
            return self._view(source, found, scope)
        if isinstance(found, ModuleInfo) and found.kind == "SN":
            return self._synonym(source, found, scope)
        made = self._system_view(source, scope, name.schema or "dbo")
        if made is not None:
            return made
        raise self.invalid_object(name)

    def _keep(self, found: FoundTable | ModuleInfo, name: ast.Name) -> None:
        """Notes that nobody may change the rows before the transaction ends."""
        if isinstance(found, FoundTable) and is_temporary(found.schema):
            return
        file = self.context.workspace.find_database(name.database or self.context.database)
        if file is not None and not file.read_only:
            self.context.locked.add(self.context.workspace.attach(file))

    def _system_view(self, source: ast.TableSource, scope: Scope, schema: str) -> str | None:
        name = source.name
        database = name.database or self.context.database
        if name.database and self.context.workspace.find_database(database) is None:
            return None
        view = self.context.catalog.view(schema, name.object, database)
        if view is None:
            return None
        alias = self.context.alias()
        columns = tuple(
            BoundColumn(c.name, f"{alias}.{quoted(c.name)}", c.type, c.nullable, updatable=True)
            for c in view.columns
        )
        qualifiers = () if source.alias else (database, schema)
        scope.relations.append(Relation(source.alias or name.object, columns, qualifiers))
        return f"{view.source} AS {alias}"

    def _plain_table(self, source: ast.TableSource, found: FoundTable, scope: Scope) -> str:
        if source.system_time:
            full = f"{found.database}.{source.name.schema or 'dbo'}.{found.table.name}"
            raise error(
                13544,
                "Temporal FOR SYSTEM_TIME clause can only be used with system-versioned tables."
                f" '{full}' is not a system-versioned table.",
                source.line,
                state=2,
            )
        alias = self.context.alias()
        relation = self.relation(found, alias, source.alias or source.name.object)
        if not source.alias:
            relation.qualifiers = (found.database, source.name.schema or "dbo")
        scope.relations.append(relation)
        return f"{found.schema}.{quoted(found.table.sqlite_name)} AS {alias}"

    def relation(self, found: FoundTable, alias: str, name: str) -> Relation:
        """A table's relation, read through the SQL alias ``alias``."""
        table = found.table
        columns: list[BoundColumn] = []
        row_key = tuple(f"{alias}.{key if key == 'rowid' else quoted(key)}" for key in table.row_key)
        relation = Relation(name, (), row_key=row_key, table=found)
        for column in table.columns:
            if column.computed is None:
                columns.append(bound_column(column, alias))
        relation.columns = tuple(columns)
        computed = [column for column in table.columns if column.computed is not None]
        if computed:
            scope = Scope(relations=[relation])
            by_name = {column.name: column for column in columns}
            for column in computed:
                expr = self.context.names.parse_expression(column.computed or "NULL")
                made = self.queries.expressions.converted(
                    self.queries.expressions.value(expr, scope), column.type
                )
                by_name[column.name] = BoundColumn(
                    column.name, made.sql, column.type, column.nullable, collation=made.collation
                )
            relation.columns = tuple(by_name[column.name] for column in table.columns)
        return relation

    def _view(self, source: ast.TableSource, view: ModuleInfo, scope: Scope) -> str:
        name = source.name
        database = name.database or self.context.database
        if view.foreign:
            return self._foreign_view(source, view, database, scope)
        query, names = self.context.names.view_query(view)
        outer, self.context.database = self.context.database, database
        try:
            inner = self.queries.query(query)
        finally:
            self.context.database = outer
        columns = tuple(
            given or output.name
            for given, output in zip(names or ("",) * len(inner.columns), inner.columns, strict=True)
        )
        made = self._derived(
            inner, ast.replace(source, alias=source.alias or name.object, columns=columns), scope
        )
        if not source.alias:
            scope.relations[-1].qualifiers = (database, name.schema or "dbo")
        return made

    def _foreign_view(self, source: ast.TableSource, view: ModuleInfo, database: str, scope: Scope) -> str:
        """A view that another SQLite tool made: its columns have the types that SQLite declares."""
        work = self.context.workspace
        schema = work.schema_of(database)
        stored = view.name if view.schema == "dbo" else f"{view.schema}.{view.name}"
        alias = self.context.alias()
        columns = tuple(
            BoundColumn(
                str(column), f"{alias}.{quoted(str(column))}", parse_declared(str(declared)), updatable=True
            )
            for column, declared in work.run(
                "SELECT name, type FROM pragma_table_xinfo(?, ?) ORDER BY cid", (stored, schema)
            )
        )
        scope.relations.append(Relation(source.alias or source.name.object, columns))
        return f"{schema}.{quoted(stored)} AS {alias}"

    def _synonym(self, source: ast.TableSource, synonym: ModuleInfo, scope: Scope) -> str:
        parts = synonym.text.split("\0")
        target = ast.Name(
            parts[-1],
            parts[-2] if len(parts) > 1 and parts[-2] else None,
            parts[-3] if len(parts) > 2 and parts[-3] else None,
            line=source.name.line,
        )
        return self._table(ast.replace(source, name=target, alias=source.alias or source.name.object), scope)

    # ------------------------------------------------------------------ derived tables

    def _derived(self, inner: CompiledQuery, source: ast.Source, scope: Scope) -> str:
        alias = self.context.alias()
        name = source.alias or ""
        names = self.queries.column_names(source.columns, inner.columns, name, source.line)
        columns = tuple(
            BoundColumn(
                column,
                f"{alias}.c{number}",
                output.type if output.type.name != "null" else t.INT,
                output.nullable,
                identity=output.described().identity,
                updatable=output.described().updatable_unknown,
                aggregate=output.typed.aggregate,
                collation=output.typed.collation,
                base=output.base,
            )
            for number, (column, output) in enumerate(zip(names, inner.columns, strict=True), 1)
        )
        relation = Relation(name, columns, table=inner.table)
        relation.row_key = tuple(f"{alias}.k{number}" for number in range(1, inner.keys + 1))
        scope.relations.append(relation)
        return f"({inner.sql}) AS {alias}"

    def _values(self, source: ast.ValuesSource, scope: Scope) -> CompiledQuery:
        outer = _outside(scope)
        rows = [[self.queries.expressions.value(item, outer) for item in row] for row in source.rows]
        width = len(rows[0])
        if any(len(row) != width for row in rows):
            raise error(
                10709,
                "The number of columns for each row in a table value constructor must be the same.",
                source.line,
                severity=15,
            )
        types: list[SqlType] = []
        for index in range(width):
            known = [row[index].type for row in rows if row[index].type.name != "null"]
            types.append(operators.common_type(known) if known else t.INT)
        parts = []
        for row in rows:
            items = [
                f"{self.queries.expressions.converted(item, type_).sql} AS c{number}"
                for number, (item, type_) in enumerate(zip(row, types, strict=True), 1)
            ]
            parts.append(f"SELECT {', '.join(items)}")
        outputs = tuple(
            Output("", Typed("", type_, any(row[index].nullable for row in rows)))
            for index, type_ in enumerate(types)
        )
        return CompiledQuery(_union_all(parts), outputs)

    def _function(self, source: ast.FunctionSource, scope: Scope) -> str:
        call = source.call
        name = call.name
        rowset = RowsetCompiler(self.context, self.queries).compile(source, scope)
        if rowset is not None:
            return rowset
        function = self.context.catalog.function(
            name.schema, name.object, name.database or self.context.database
        )
        self.context.bound_to_frame = True
        if function is None or not self._is_system(name):
            own = self.context.names.table_function(name)
            if isinstance(own, InlineFunction):
                outer = _outside(scope)
                return self._in_database(
                    own.database, lambda: self._derived(self._inline(source, own, outer), source, scope)
                )
            if own is not None:
                return self._table_function(source, own, scope)
        if function is None:
            raise self.invalid_object(name)
        args = []
        for index, parameter in enumerate(function.parameters):
            if index < len(call.args) and not isinstance(call.args[index], ast.Default):
                made = self.queries.expressions.value(call.args[index], scope)
                args.append(self.queries.expressions.converted(made, parameter).sql)
            else:
                args.append("NULL")
        alias = self.context.alias()
        names = source.columns or tuple(column.name for column in function.columns)
        columns = tuple(
            BoundColumn(given, f"{alias}.{quoted(c.name)}", c.type, c.nullable)
            for given, c in zip(names, function.columns, strict=False)
        )
        scope.relations.append(Relation(source.alias or name.object, columns))
        return f"{function.source}({', '.join(args)}) AS {alias}"

    @staticmethod
    def _is_system(name: ast.Name) -> bool:
        return name.schema is None or name.schema.lower() in ("sys", "")

    def inline_function(self, source: ast.FunctionSource) -> InlineFunction | None:
        """The inline function that ``source`` calls."""
        name = source.call.name
        if name.object.upper() in ("OPENJSON", "NODES"):
            return None
        if self.context.catalog.function(
            name.schema, name.object, name.database or self.context.database
        ) is not None and self._is_system(name):
            return None
        own = self.context.names.table_function(name)
        return own if isinstance(own, InlineFunction) else None

    def inline_query(self, source: ast.FunctionSource, function: InlineFunction, scope: Scope) -> ast.Query:
        """The query of an inline function with the arguments, compiled in ``scope``, in place of its
        parameters."""
        args = self.queries.expressions.arguments(source.call, function.shown, function.parameters, scope)
        given: dict[str, ast.Expr] = {}
        for parameter, arg in zip(function.parameters, args, strict=True):
            plain = Typed(arg.sql, arg.type, arg.nullable, collation=arg.collation)
            given[parameter.name.lower()] = Given(typed=plain)
        made: ast.Query = with_variables(function.query, given)
        return made

    def _inline(self, source: ast.FunctionSource, function: InlineFunction, scope: Scope) -> CompiledQuery:
        query = self.inline_query(source, function, scope)
        with self.context.without_keys():
            return self.queries.query(query)

    def _in_database(self, database: str, make: Callable[[], str]) -> str:
        """Compiles with another database as the current one."""
        outer, self.context.database = self.context.database, database
        try:
            return make()
        finally:
            self.context.database = outer

    def _table_function(self, source: ast.FunctionSource, function: TableFunction, scope: Scope) -> str:
        args = self.queries.expressions.arguments(source.call, function.shown, function.parameters, scope)
        alias = self.context.alias()
        given = source.columns or tuple(column.name for column in function.source.columns)
        columns = tuple(
            BoundColumn(name, f"{alias}.{quoted(c.name)}", c.type, c.nullable)
            for name, c in zip(given, function.source.columns, strict=False)
        )
        scope.relations.append(Relation(source.alias or source.call.name.object, columns))
        return f"{function.source.source}({', '.join(arg.sql for arg in args)}) AS {alias}"

    # ------------------------------------------------------------------ joins

    def _join(self, join: ast.Join, scope: Scope) -> str:
        if join.kind in ("CROSS APPLY", "OUTER APPLY"):
            return self._apply(join, scope)
        start = len(scope.relations)
        left = self._source(join.left, scope)
        middle = len(scope.relations)
        right = self._source(join.right, scope)
        if isinstance(join.right, ast.Join):
            right = f"({right})"
        condition = ""
        if join.on is not None:
            condition = f" ON {self.queries.expressions.predicate(join.on, scope)}"
        if join.kind in ("LEFT", "FULL"):
            scope.relations[middle:] = [item.made_nullable() for item in scope.relations[middle:]]
        if join.kind in ("RIGHT", "FULL"):
            scope.relations[start:middle] = [item.made_nullable() for item in scope.relations[start:middle]]
        self._unique_names(scope, join.line)
        return f"{left} {join.kind} JOIN {right}{condition}"

    @staticmethod
    def _unique_names(scope: Scope, line: int) -> None:
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for relation in scope.relations:
            key = (relation.name.lower(), tuple(part.lower() for part in relation.qualifiers))
            if relation.name and key in seen:
                raise error(
                    1011 if not relation.qualifiers else 1013,
                    f"The correlation name '{relation.name}' is specified multiple times in a FROM clause."
                    if not relation.qualifiers
                    else f'The objects "{relation.name}" and "{relation.name}" in the FROM clause have the'
                    " same exposed names. Use correlation names to distinguish them.",
                    line,
                )
            seen.add(key)

    def _apply(self, join: ast.Join, scope: Scope) -> str:
        left = self._source(join.left, scope)
        outer = join.kind == "OUTER APPLY"
        right = join.right
        database = self.context.database
        inline = self.inline_function(right) if isinstance(right, ast.FunctionSource) else None
        if inline is not None and isinstance(right, ast.FunctionSource):
            query = self.inline_query(right, inline, scope)
            name = right.alias or right.call.name.object
            right = ast.DerivedTable(query=query, alias=name, columns=right.columns, line=right.line)
            database = inline.database
        if isinstance(right, ast.FunctionSource):
            made = self._source(right, scope)
            return f"{left} {'LEFT' if outer else 'CROSS'} JOIN {made}{' ON 1' if outer else ''}"
        if isinstance(right, ast.ValuesSource):
            right = _values_as_query(right)
        if not isinstance(right, ast.DerivedTable):
            made = self._source(right, scope)
            return f"{left} {'LEFT' if outer else 'CROSS'} JOIN {made}{' ON 1' if outer else ''}"
        from tdsproxy.server.compiler.apply import ApplyCompiler

        derived = right
        return self._in_database(
            database,
            lambda: ApplyCompiler(self.context, self.queries, self).compile(left, derived, outer, scope),
        )


def bound_column(column: ColumnInfo, alias: str) -> BoundColumn:
    return BoundColumn(
        column.name,
        f"{alias}.{quoted(column.name)}",
        column.type,
        column.nullable,
        identity=column.identity is not None,
        updatable=True,
        base=column.name,
        collation=collation_of(column.collation) if column.collation else "ts_ci",
    )


def _union_all(parts: list[str]) -> str:
    """UNION ALL of any number of selects: SQLite takes at most 500 in one compound."""
    if len(parts) <= 400:
        return " UNION ALL ".join(parts)
    halves = [_union_all(parts[start : start + 400]) for start in range(0, len(parts), 400)]
    return _union_all([f"SELECT * FROM ({half})" for half in halves])


def _values_as_query(source: ast.ValuesSource) -> ast.DerivedTable:
    """VALUES rows as UNION ALL of selects, so that APPLY can treat them as a query."""
    query: ast.Query | None = None
    for row in source.rows:
        items = tuple(ast.SelectItem(item, f"c{n}") for n, item in enumerate(row, 1))
        select = ast.Select(items=items, line=source.line)
        query = select if query is None else ast.SetOperation(op="UNION ALL", left=query, right=select)
    if query is None:
        raise error(102, "Incorrect syntax near 'VALUES'.", source.line, severity=15)
    return ast.DerivedTable(query=query, alias=source.alias, columns=source.columns, line=source.line)


def _outside(scope: Scope) -> Scope:
    """What a derived table sees of the query around it: its CTEs and the queries further out, not its
    siblings in FROM."""
    return Scope(parent=scope.parent, common=scope.common)
