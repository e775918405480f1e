"""Functions that CREATE FUNCTION made: found by name, called from expressions and from FROM clauses.

A scalar function's body is run by the interpreter in a frame of its own, called back by SQLite for each row.
An inline table function is compiled into the query that names it, like a view; a multi-statement one becomes
a virtual table whose hidden columns take the arguments.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from tdsproxy.server.catalogview import SystemFunction
from tdsproxy.server.schema import ModuleInfo, object_id_of
from tdsproxy.server.sysviews.virtual import register
from tdsproxy.server.workspace import TEMP, quoted
from tdsproxy.store.encoding import Stored, from_storage
from tdsproxy.tsql import ast, binding
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import BatchAborted, SqlError
from tdsproxy.tsql.evaluator import Argument, PythonProcedure
from tdsproxy.tsql.functions.registry import FunctionDef, constant
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Column, Message, Reply
from tdsproxy.tsql.scalar import NeedsQuery, TypedValue, evaluate
from tdsproxy.tsql.signals import BatchEnded, Caught, Returned, ScopeEnded
from tdsproxy.tsql.state import Frame, FrameKind, SessionState, TableVariable
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

KINDS: Final = ("FN", "IF", "TF")
_OF_MSDB: Final = {
    name.lower(): ModuleInfo(
        "dbo",
        name,
        object_id_of("FN", "dbo", name),
        "FN",
        f"CREATE FUNCTION dbo.{name}({parameters}) RETURNS {type_} AS BEGIN RETURN {body} END",
    )
    for name, parameters, type_, body in (
        (
            "agent_datetime",
            "@date int, @time int",
            "datetime",
            "DATETIMEFROMPARTS(@date / 10000, @date / 100 % 100, @date % 100,"
            " @time / 10000, @time / 100 % 100, @time % 100, 0)",
        ),
        ("SQLAGENT_SUSER_SNAME", "@user_sid varbinary(85)", "sysname", "SUSER_SNAME(@user_sid)"),
        ("fn_syspolicy_is_automation_enabled", "", "bit", "CAST(0 AS bit)"),
    )
}
"""Functions of msdb: the dates of jobs, their owners; policy-based management is off."""
MAX_NESTING: Final = 32


@dataclass(frozen=True, slots=True)
class FunctionParameter:
    name: str
    type: SqlType
    default: ast.Expr | None = None


@dataclass(frozen=True, slots=True)
class ScalarFunction:
    """A scalar function as the compiler calls it: ``definition`` takes values of exactly the parameters'
    types."""

    shown: str
    parameters: tuple[FunctionParameter, ...]
    definition: FunctionDef


@dataclass(frozen=True, slots=True)
class InlineFunction:
    """A table function that is one query over its parameters, in its own database."""

    shown: str
    parameters: tuple[FunctionParameter, ...]
    query: ast.Query
    database: str


@dataclass(frozen=True, slots=True)
class TableFunction:
    """A table function with a body: a virtual table."""

    shown: str
    parameters: tuple[FunctionParameter, ...]
    source: SystemFunction


TableValued = InlineFunction | TableFunction


class UserFunctions:
    """The user-defined functions that one session can reach."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._scalars: dict[tuple[str, int, str], ScalarFunction] = {}
        self._tables: dict[tuple[str, int, str], TableFunction] = {}

    # ------------------------------------------------------------------ names

    def _module(self, name: ast.Name) -> tuple[str, ModuleInfo] | None:
        session = self._session
        database = name.database or session.database
        objects = session.find_objects(database)
        if objects is None:
            return None
        own = session.rights.user(database).default_schema or "dbo"
        found = objects.module(name.schema or own, name.object)
        if found is None and name.schema is None:
            found = objects.module("dbo", name.object)
        if found is None and database.lower() == "msdb":
            found = _OF_MSDB.get(name.object.lower())
        if found is not None and found.kind == "SN":
            parts = [part or None for part in found.text.split("\0")]
            padded = [None, None, *parts][-3:]
            return self._module(ast.Name(padded[2] or "", padded[1], padded[0], line=name.line))
        if found is None or found.kind not in KINDS:
            return None
        return database, found

    def scalar(self, name: ast.Name, frame: Frame) -> ScalarFunction | None:
        """The scalar function called ``name``."""
        found = self._module(name) if name.schema or name.database else None
        if found is None or found[1].kind != "FN":
            return None
        database, module = found
        self._session.rights.require("EXECUTE", database, module.schema, module.name)
        key = (database.lower(), module.object_id, module.text)
        known = self._scalars.get(key)
        if known is None:
            known = self._scalars[key] = self._make_scalar(database, module, frame)
        return known

    def table(self, name: ast.Name, frame: Frame) -> TableValued | None:
        """The table function called ``name``."""
        found = self._module(name)
        if found is None or found[1].kind == "FN":
            return None
        database, module = found
        self._session.rights.require("SELECT", database, module.schema, module.name)
        parsed = parsed_function(module.text, module.quoted_identifier)
        parameters = self._parameters(parsed, frame)
        shown = f"{module.schema}.{module.name}"
        if parsed.query is not None:
            return InlineFunction(shown, parameters, parsed.query, database)
        key = (database.lower(), module.object_id, module.text)
        known = self._tables.get(key)
        if known is None:
            known = self._tables[key] = self._make_table(database, module, parsed, parameters, frame)
        return known

    def _parameters(self, parsed: ast.CreateFunction, frame: Frame) -> tuple[FunctionParameter, ...]:
        resolve = self._session.evaluator.resolve_type
        return tuple(FunctionParameter(p.name, resolve(p.type, frame), p.default) for p in parsed.parameters)

    # ------------------------------------------------------------------ scalar functions

    def _make_scalar(self, database: str, module: ModuleInfo, frame: Frame) -> ScalarFunction:
        parsed = parsed_function(module.text, module.quoted_identifier)
        if parsed.returns is None:
            raise TypeError(f"{module.name} is stored as a scalar function and returns none")
        returns = self._session.evaluator.resolve_type(parsed.returns, frame)
        parameters = self._parameters(parsed, frame)
        shown = f"{module.schema}.{module.name}"

        def run(context: Any, *values: Value) -> Value:
            inner = self._frame(module, parsed, database, context.frame)
            for parameter, value in zip(parameters, values, strict=True):
                inner.declare(parameter.name, parameter.type, value)
            self._run_body(parsed, inner)
            made = inner.storage.get("returned")
            if not isinstance(made, TypedValue):
                return None
            return convert(made.value, made.type, returns)

        definition = FunctionDef(
            shown,
            len(parameters),
            len(parameters),
            constant(returns),
            run,
            strict=False,
            needs_context=True,
            deterministic=False,
        )
        return ScalarFunction(shown, parameters, definition)

    def as_procedure(self, name: ast.Name, frame: Frame) -> PythonProcedure | None:
        """A scalar function as EXEC calls it: the status is the function's value."""
        schema = name.schema or self._session.rights.user(name.database or self._session.database)
        if isinstance(schema, str):
            function = self.scalar(name, frame)
        else:
            function = self.scalar(ast.replace(name, schema=schema.default_schema or "dbo"), frame)
        if function is None:
            return None
        found = function

        def run(
            inner: Frame, arguments: Sequence[Argument]
        ) -> Generator[Reply, None, int | TypedValue | None]:
            yield from ()
            return self._call(found, arguments, inner)

        return PythonProcedure(name.object, run)

    def _call(self, function: ScalarFunction, arguments: Sequence[Argument], frame: Frame) -> TypedValue:
        if len(arguments) > len(function.parameters):
            text = f"Procedure or function {function.shown} has too many arguments specified."
            raise SqlError.of(8144, 16, 2, text)
        named = {(a.name or "").lower(): a for a in arguments if a.name is not None}
        placed = [a for a in arguments if a.name is None]
        values: list[Value] = []
        for place, parameter in enumerate(function.parameters):
            argument = placed[place] if place < len(placed) else named.get(parameter.name.lower())
            given = None if argument is None else argument.value
            if given is None:
                if parameter.default is None:
                    text = (
                        f"Procedure or function '{function.shown}' expects parameter '{parameter.name}',"
                        " which was not supplied."
                    )
                    raise SqlError.of(201, 16, 4, text)
                given = self.default(parameter, frame)
            values.append(convert(given.value, given.type, parameter.type))
        made = function.definition.impl(self._session.evaluator.context(frame), *values)
        return TypedValue(made, function.definition.result((), ()))

    # ------------------------------------------------------------------ table functions with a body

    def _make_table(
        self,
        database: str,
        module: ModuleInfo,
        parsed: ast.CreateFunction,
        parameters: tuple[FunctionParameter, ...],
        frame: Frame,
    ) -> TableFunction:
        builder = self._session.evaluator.sql.table_builder("dbo", module.name, module.name, frame, 1)
        builder.columns(parsed.table)
        columns = tuple(Column(c.name, c.type, c.nullable) for c in builder.table.columns)
        source = f"tu_{len(self._tables) + 1}"

        def rows(*arguments: Stored) -> Iterable[tuple[Stored, ...]]:
            caller = self._session.evaluator.sql.running_frame
            inner = self._frame(module, parsed, database, caller)
            for parameter, raw in zip(parameters, arguments, strict=True):
                value = None if raw is None else from_storage(raw, parameter.type)
                inner.declare(parameter.name, parameter.type, value)
            name = parsed.table_variable or "@"
            inner.tables[name.lower()] = TableVariable(name, parsed.table, parsed.table_constraints)
            return self._run_body(parsed, inner, name)

        register(
            self._session.workspace.connection,
            source,
            rows,
            [column.name for column in columns],
            [f"__a{number}" for number in range(len(parameters))],
        )
        made = SystemFunction(module.name, columns, source, tuple(p.type for p in parameters))
        return TableFunction(f"{module.schema}.{module.name}", parameters, made)

    # ------------------------------------------------------------------ running

    def _frame(
        self, module: ModuleInfo, parsed: ast.CreateFunction, database: str, caller: Frame | None
    ) -> Frame:
        if caller is None:
            raise SqlError.of(8630, 16, 1, "Internal Query Processor Error: no statement is running.")
        if caller.nest_level >= MAX_NESTING:
            raise BatchAborted.of(
                217,
                16,
                1,
                "Maximum stored procedure, function, trigger, or view nesting level exceeded"
                f" (limit {MAX_NESTING}).",
            )
        options = caller.options.copy()
        options.quoted_identifier = module.quoted_identifier
        options.others.pop("ROWCOUNT", None)
        return Frame(
            SessionState(caught=list(caller.session.caught)),
            options,
            FrameKind.FUNCTION,
            nest_level=caller.nest_level + 1,
            procedure=module.name,
            procedure_id=module.object_id,
            database=database if database.lower() != self._session.database.lower() else None,
            text=module.text,
            parent=caller,
            try_depth=1,
        )

    def _run_body(
        self, parsed: ast.CreateFunction, inner: Frame, table: str | None = None
    ) -> list[tuple[Stored, ...]]:
        """Runs the body; the rows of the table variable ``table`` at its end. Raises SqlError."""
        session = self._session
        evaluator, interpreter = session.evaluator, session.interpreter
        with evaluator.sql.nested(inner):
            evaluator.enter(inner)
            try:
                for _reply in interpreter.declare_tables_within(parsed.body, inner):
                    continue
                try:
                    for _reply in interpreter.statements(parsed.body, inner):
                        continue
                except Returned:
                    pass
                return [] if table is None else self._rows(table, inner)
            except Caught as caught:
                raise _failed(caught.messages) from None
            except (ScopeEnded, BatchEnded):
                raise BatchAborted.of(inner.session.error or 8630, 16, 1, "A function failed.") from None
            finally:
                for _reply in evaluator.leave(inner):
                    continue

    def _rows(self, table: str, inner: Frame) -> list[tuple[Stored, ...]]:
        sql = self._session.evaluator.sql
        found = sql.table_variables.table(table, inner)
        if found is None:
            return []
        if any(column.computed is not None for column in found.columns):
            query = ast.Select(items=(ast.SelectItem(ast.Star()),), sources=(_source(table),))
            compiled = sql.selects.compile(query, inner)
            return list(compiled.stored_rows(sql.environment(inner)))
        names = ", ".join(quoted(column.name) for column in found.columns)
        rows = session_rows(
            self._session.workspace.run(
                f"SELECT {names} FROM {TEMP}.{quoted(found.sqlite_name)} ORDER BY rowid"
            )
        )
        return list(rows)

    # ------------------------------------------------------------------ defaults

    def default(self, parameter: FunctionParameter, frame: Frame) -> TypedValue:
        """The value of the word DEFAULT for a parameter. Raises SqlError 201 when it has none."""
        if parameter.default is None:
            return TypedValue(None, parameter.type)
        try:
            return evaluate(parameter.default, self._session.evaluator.sql.environment(frame))
        except NeedsQuery:
            return TypedValue(None, parameter.type)


def session_rows(rows: Iterable[tuple[object, ...]]) -> Iterator[tuple[Stored, ...]]:
    """SQLite's rows, which hold nothing but stored values."""
    yield from rows  # type: ignore[misc]


def _source(table: str) -> ast.Source:
    return ast.TableSource(name=ast.Name(table))


def _failed(messages: tuple[Message, ...]) -> SqlError:
    return SqlError(*messages) if messages else BatchAborted.of(8630, 16, 1, "A function failed.")


@lru_cache(maxsize=256)
def parsed_function(text: str, quoted_identifier: bool) -> ast.CreateFunction:
    """The definition that ``text`` holds."""
    statement = parse(text, quoted_identifier=quoted_identifier).statements[0]
    if not isinstance(statement, ast.CreateFunction):
        raise TypeError("a function's text holds another statement")
    binding.check((statement,))
    return statement
