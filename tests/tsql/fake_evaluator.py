"""An Evaluator without a database: SELECT of scalars, procedures in a dictionary, a transaction counter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tdsproxy.tsql import ast, binding
from tdsproxy.tsql import types as t
from tdsproxy.tsql.environment import FrameEnvironment
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.evaluator import Procedure, ResultRows, StoredMessage, StoredProcedure
from tdsproxy.tsql.functions.library import LIBRARY
from tdsproxy.tsql.functions.registry import CaughtError, Functions
from tdsproxy.tsql.interpreter import Interpreter, converted
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Column, Command, Done, Message, Reply, ResultSet, Rows
from tdsproxy.tsql.scalar import NeedsQuery, TypedValue, evaluate, test
from tdsproxy.tsql.state import CursorRows, Frame, Options, SessionState
from tdsproxy.tsql.values import DateTimeOffset


@dataclass(frozen=True)
class FakeContext:
    frame: Frame
    transactions: int = 0
    date_first: int = 7

    def now(self) -> DateTimeOffset:
        return DateTimeOffset(738915, 360_001_234_567, 0)

    @property
    def caught(self) -> CaughtError | None:
        return self.frame.session.caught[-1] if self.frame.session.caught else None

    def random(self, seed: int | None) -> float:
        return 0.5 if seed is None else seed / 1000

    def transaction_state(self) -> int:
        if not self.transactions:
            return 0
        return -1 if self.frame.session.doomed else 1


@dataclass
class FakeEvaluator:
    procedures: dict[str, Procedure] = field(default_factory=dict)
    tables: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)
    transactions: int = 0
    functions: Functions = LIBRARY
    left: list[Frame] = field(default_factory=list)

    def context(self, frame: Frame) -> FakeContext:
        return FakeContext(frame, self.transactions)

    def statement_begins(self, frame: Frame) -> None:
        return

    def execute(self, statement: ast.Statement, frame: Frame) -> Iterator[Reply]:
        match statement:
            case ast.QueryStatement(query=ast.Select() as select):
                yield from self._select(select, frame)
            case ast.QueryStatement(query=ast.SetOperation() as union):
                yield from self._union(union, frame)
            case ast.Insert(target=target, rows=rows) if rows is not None:
                made = tuple(self._scalar(item, frame).value for item in rows[0] if item is not None)
                table = self.tables.setdefault(target.object.lower(), [])
                if made in table:
                    raise SqlError.of(
                        2627, 14, 1, f"Violation of PRIMARY KEY. The duplicate key value is {made}."
                    )
                table.append(made)
                yield Done(Command.INSERT, 1)
            case ast.Transaction(action="BEGIN"):
                self.transactions += 1
                yield Done(Command.BEGIN_TRANSACTION)
            case ast.Transaction(action="ROLLBACK"):
                self.transactions = 0
                yield Done(Command.ROLLBACK)
            case ast.CreateProcedure():
                binding.check(statement.body, [p.name for p in statement.parameters], may_return_value=True)
                name = statement.name.object
                self.procedures[name.lower()] = StoredProcedure(
                    name, statement.parameters, statement.body, 100 + len(self.procedures), statement.text
                )
                yield Done(222)
            case _:
                raise AssertionError(f"the fake does not run {type(statement).__name__}")

    def _scalar(self, expr: ast.Expr, frame: Frame) -> TypedValue:
        return evaluate(expr, FrameEnvironment(self, frame))

    def _select(self, select: ast.Select, frame: Frame) -> Iterator[Reply]:
        if select.sources:
            source = select.sources[0]
            assert isinstance(source, ast.TableSource)
            if source.name.object.lower() not in self.tables:
                raise SqlError.of(208, 16, 1, f"Invalid object name '{source.name.object}'.")
            yield ResultSet((Column("a", t.INT),))
            rows = self.tables[source.name.object.lower()]
            yield Rows(rows)  # type: ignore[arg-type]
            yield Done(Command.SELECT, len(rows))
            return
        if select.items[0].variable is not None:
            for item in select.items:
                made = self._scalar(item.expr, frame)
                cell = frame.variables[str(item.variable).lower()]
                cell.value = converted(made, cell.type).value
            yield Done(Command.SELECT, 1)
            return
        environment = FrameEnvironment(self, frame)
        types = [_type_of(item.expr, environment) for item in select.items]
        names = [item.alias or "" for item in select.items]
        yield ResultSet(tuple(Column(name, type_) for name, type_ in zip(names, types, strict=True)))
        keep = select.where is None or test(select.where, environment)
        if keep:
            yield Rows([tuple(self._scalar(item.expr, frame).value for item in select.items)])
        yield Done(Command.SELECT, int(bool(keep)))

    def _union(self, union: ast.SetOperation, frame: Frame) -> Iterator[Reply]:
        assert isinstance(union.left, ast.Select)
        assert isinstance(union.right, ast.Select)
        rows = [
            tuple(self._scalar(item.expr, frame).value for item in side.items)
            for side in (union.left, union.right)
        ]
        yield ResultSet((Column("a", t.INT),))
        yield Rows(rows)
        yield Done(Command.SELECT, len(rows))

    def cursor_rows(self, statement: ast.QueryStatement, frame: Frame) -> CursorRows:
        replies = list(self.execute(statement, frame))
        columns = next(reply.columns for reply in replies if isinstance(reply, ResultSet))
        return CursorRows(
            columns, [r for reply in replies if isinstance(reply, Rows) for r in reply.rows], []
        )

    def insert_rows(self, statement: ast.Insert, results: list[ResultRows], frame: Frame) -> Iterator[Reply]:
        table = self.tables.setdefault(statement.target.object.lower(), [])
        count = 0
        for _, rows in results:
            table.extend(rows)
            count += len(rows)
        yield Done(Command.INSERT, count)

    def scalar(self, expr: ast.Expr, frame: Frame) -> TypedValue:
        raise AssertionError(f"a query: {expr}")

    def predicate(self, predicate: ast.Predicate, frame: Frame) -> bool | None:
        raise AssertionError(f"a query: {predicate}")

    def global_variable(self, name: str, frame: Frame) -> TypedValue:
        if name == "@@SERVERNAME":
            return TypedValue("HERE", t.SYSNAME)
        raise SqlError.of(137, 15, 2, f'Must declare the scalar variable "{name}".')

    def procedure(self, name: ast.Name, frame: Frame) -> Procedure | None:
        return self.procedures.get(name.object.lower())

    def resolve_type(self, type_name: ast.TypeName, frame: Frame) -> t.SqlType:
        assert type_name.type is not None
        return type_name.type

    def parse(self, text: str, frame: Frame) -> ast.Batch:
        return parse(text)

    def enter(self, frame: Frame) -> None:
        pass

    def leave(self, frame: Frame) -> Iterator[Reply]:
        self.left.append(frame)
        return iter(())

    def transaction_count(self) -> int:
        return self.transactions

    def rollback(self, frame: Frame) -> Iterator[Reply]:
        self.transactions = 0
        return iter(())

    def stored_message(self, number: int, frame: Frame) -> StoredMessage | None:
        return None

    def may_log(self, frame: Frame) -> bool:
        return True

    def log(self, message: Message, statement: ast.Statement | None, frame: Frame, *, demanded: bool) -> None:
        return


def _type_of(expr: ast.Expr, environment: FrameEnvironment) -> t.SqlType:
    from tdsproxy.tsql.scalar import static_type

    try:
        return static_type(expr, environment)
    except NeedsQuery:
        return t.INT


class Session:
    """One connection of the fake server: batches share variables of the session, not of the batch."""

    def __init__(self, evaluator: FakeEvaluator | None = None) -> None:
        self.evaluator = evaluator or FakeEvaluator()
        self.interpreter = Interpreter(self.evaluator)
        self.state = SessionState()
        self.options = Options()

    def frame(self) -> Frame:
        return Frame(self.state, self.options)

    def run(self, text: str) -> list[Reply]:
        try:
            batch = parse(text)
        except SyntaxError_ as error:
            return [*error.messages, Done(Command.PARSE_ERROR, error=True)]
        return list(self.interpreter.run(batch, self.frame()))
