"""What is wrong with a batch before anything of it runs: variables, labels, loops, RETURN.

SQL Server finds these when it compiles the batch, so nothing of it runs. A DECLARE counts from its place in
the text on, whether or not it is reached.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.replies import Message

_INNER: Final = (tuple, ast.Node)
_NAMING: Final = (
    ast.Variable,
    ast.SetVariable,
    ast.SelectItem,
    ast.SetColumn,
    ast.Execute,
    ast.Fetch,
    ast.Operand,
)
"""The nodes that may name a variable."""


def check(
    statements: Sequence[ast.Statement], declared: Iterable[str] = (), *, may_return_value: bool = False
) -> None:
    """Raises SyntaxError_ 137, 134, 178, 132, 133, 135, 136, 10704, 2714."""
    checker = _Checker({name.lower() for name in declared}, may_return_value)
    checker.labels = _labels(statements)
    for statement in statements:
        checker.statement(statement, in_loop=False, in_catch=False)


def contains_label(statement: ast.Statement, label: str) -> bool:
    """Whether ``label`` (lower case) stands in ``statement``, itself or deeper; not inside TRY or CATCH."""
    if isinstance(statement, ast.Label):
        return statement.name.lower() == label
    return any(contains_label(child, label) for child in _children(statement) if _may_enter(statement))


def _may_enter(statement: ast.Statement) -> bool:
    return not isinstance(statement, ast.TryCatch)


def _children(statement: ast.Statement) -> Iterator[ast.Statement]:
    match statement:
        case ast.Block():
            yield from statement.statements
        case ast.If():
            yield statement.then
            if statement.otherwise is not None:
                yield statement.otherwise
        case ast.While():
            yield statement.body
        case ast.TryCatch():
            yield from statement.try_
            yield from statement.catch


def inner_tables(statements: Sequence[ast.Statement]) -> Iterator[ast.Declare]:
    """The declarations of table variables inside of control flow."""
    waiting = [child for statement in statements for child in _children(statement)]
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.Declare) and any(item.type is None for item in statement.items):
            yield statement
        waiting.extend(_children(statement))


def _labels(statements: Sequence[ast.Statement]) -> set[str]:
    found: set[str] = set()
    waiting = list(statements)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.Label):
            name = statement.name.lower()
            if name in found:
                text = (
                    f"The label '{statement.name}' has already been declared. Label names must be "
                    "unique within a query batch or stored procedure."
                )
                raise _error(132, 1, text, statement.line)
            found.add(name)
        waiting.extend(_children(statement))
    return found


def _error(number: int, state: int, text: str, line: int) -> SyntaxError_:
    return SyntaxError_(Message(number, 15, state, text, line))


@lru_cache(maxsize=512)
def _field_names(kind: type[ast.Node]) -> tuple[str, ...]:
    return tuple(name for name in ast.field_names(kind) if name not in ("pos", "end", "line", "text"))


def _check_module(module: ast.CreateProcedure | ast.CreateFunction | ast.CreateTrigger) -> None:
    """The body of a module is compiled on its own, with its parameters."""
    if isinstance(module, ast.CreateTrigger):
        check(module.body)
        return
    names: set[str] = set()
    for parameter in module.parameters:
        if parameter.name.lower() in names:
            raise _declared_twice(parameter.name, module.line)
        names.add(parameter.name.lower())
    check(module.body, names, may_return_value=True)


def _declared_twice(name: str, line: int) -> SyntaxError_:
    text = (
        f"The variable name '{name}' has already been declared. Variable names must be unique within a query "
        "batch or stored procedure."
    )
    return _error(134, 1, text, line)


class _Checker:
    def __init__(self, declared: set[str], may_return_value: bool) -> None:
        self.declared = declared
        self.may_return_value = may_return_value
        self.labels: set[str] = set()
        self.created: set[str] = set()

    def statement(self, statement: ast.Statement, *, in_loop: bool, in_catch: bool) -> None:
        match statement:
            case ast.Declare():
                self._declare(statement)
            case ast.While():
                self._walk(statement.condition, statement.line)
                self.statement(statement.body, in_loop=True, in_catch=in_catch)
            case ast.If():
                self._walk(statement.condition, statement.line)
                for child in _children(statement):
                    self.statement(child, in_loop=in_loop, in_catch=in_catch)
            case ast.Block():
                for child in statement.statements:
                    self.statement(child, in_loop=in_loop, in_catch=in_catch)
            case ast.TryCatch():
                for child in statement.try_:
                    self.statement(child, in_loop=in_loop, in_catch=in_catch)
                for child in statement.catch:
                    self.statement(child, in_loop=in_loop, in_catch=True)
            case ast.Break() | ast.Continue():
                if not in_loop:
                    self._outside_loop(statement)
            case ast.Goto():
                if statement.label.lower() not in self.labels:
                    text = (
                        f"A GOTO statement references the label '{statement.label}' but the label has "
                        "not been declared."
                    )
                    raise _error(133, 1, text, statement.line)
            case ast.Return():
                self._return(statement)
            case ast.Throw():
                if statement.number is None and not in_catch:
                    text = (
                        "To rethrow an error, a THROW statement must be used inside a CATCH block. "
                        "Insert the "
                        "THROW statement inside a CATCH block, or add error parameters to the THROW "
                        "statement."
                    )
                    raise _error(10704, 1, text, statement.line)
                self._walk(statement, statement.line)
            case ast.CreateProcedure() | ast.CreateFunction() | ast.CreateTrigger():
                _check_module(statement)
            case ast.CreateView():
                pass
            case ast.QueryStatement(query=ast.Select(into=ast.Name() as name)):
                self._create(name, statement.line)
                self._walk(statement, statement.line)
            case ast.CreateTable():
                self._create(statement.name, statement.line)
                self._walk(statement, statement.line)
            case _:
                self._walk(statement, statement.line)

    def _outside_loop(self, statement: ast.Statement) -> None:
        if isinstance(statement, ast.Break):
            text = "Cannot use a BREAK statement outside the scope of a WHILE statement."
            raise _error(135, 1, text, statement.line)
        text = "Cannot use a CONTINUE statement outside the scope of a WHILE statement."
        raise _error(136, 1, text, statement.line)

    def _return(self, statement: ast.Return) -> None:
        if statement.value is None:
            return
        if not self.may_return_value:
            text = "A RETURN statement with a return value cannot be used in this context."
            raise _error(178, 1, text, statement.line)
        self._walk(statement.value, statement.line)

    def _create(self, name: ast.Name, line: int) -> None:
        """A batch makes a temporary table of a name once, whichever way it goes (captured)."""
        if not name.object.startswith("#"):
            return
        if name.object.lower() in self.created:
            text = f"There is already an object named '{name.object}' in the database."
            raise SyntaxError_(Message(2714, 16, 1, text, line))
        self.created.add(name.object.lower())

    def _declare(self, statement: ast.Declare) -> None:
        for item in statement.items:
            if item.value is not None:
                self._walk(item.value, statement.line)
            if item.name.lower() in self.declared:
                raise _declared_twice(item.name, statement.line)
            self.declared.add(item.name.lower())

    def _use(self, name: str, line: int, state: int = 2) -> None:
        if name.lower() not in self.declared:
            raise _error(137, state, f'Must declare the scalar variable "{name}".', line)

    def _walk(self, node: object, line: int) -> None:
        if isinstance(node, tuple):
            for item in node:
                self._walk(item, line)
            return
        if not isinstance(node, ast.Node):
            return
        line = getattr(node, "line", line) or line
        if isinstance(node, _NAMING):
            self._named(node, line)
        for name in _field_names(type(node)):
            value = getattr(node, name)
            if isinstance(value, _INNER):
                self._walk(value, line)

    def _named(self, node: ast.Node, line: int) -> None:
        """The variables that a node itself names."""
        match node:
            case ast.Variable():
                self._use(node.name, line)
            case ast.SetVariable():
                self._use(node.name, line, 1)
            case ast.SelectItem(variable=str(name)) | ast.SetColumn(variable=str(name)):
                self._use(name, line, 1)
            case ast.Execute(result=str(name)):
                self._use(name, line, 1)
            case ast.Fetch():
                for name in node.into:
                    self._use(name, line, 1)
            case ast.Operand(variable=str(name)):
                self._use(name, line)
