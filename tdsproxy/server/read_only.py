"""Table parameters are READONLY: what a module that is made may not do with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tdsproxy.server.compiler.inspect import expressions_of
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError


def check_table_parameters(
    parameters: Sequence[ast.Parameter],
    body: Sequence[ast.Statement],
    is_table: Callable[[ast.TypeName], bool],
) -> None:
    """Raises SqlError 346, 352, 10700."""
    tables: set[str] = set()
    for parameter in parameters:
        table = parameter.type.type is None and is_table(parameter.type)
        if table and not parameter.readonly:
            text = f'The table-valued parameter "{parameter.name}" must be declared with the READONLY option.'
            raise SqlError.of(352, 15, 1, text, parameter.type.name.line)
        if parameter.readonly and not table:
            text = (
                f'The parameter "{parameter.name}" can not be declared READONLY since it is not a'
                " table-valued parameter."
            )
            raise SqlError.of(346, 15, 1, text, parameter.type.name.line)
        if table:
            tables.add(parameter.name.lower())
    if not tables:
        return
    for node in expressions_of(tuple(body)):
        if isinstance(node, ast.Insert | ast.Update | ast.Delete | ast.Merge):
            for name in _written(node) & tables:
                raise read_only(name, node.line)


def _written(statement: ast.Insert | ast.Update | ast.Delete | ast.Merge) -> set[str]:
    """The target's name, and of an UPDATE or DELETE by alias that of the table behind it."""
    target = statement.target.object.lower()
    found = {target}
    if isinstance(statement, ast.Update | ast.Delete):
        for source in expressions_of(statement.sources):
            if isinstance(source, ast.TableSource) and (source.alias or "").lower() == target:
                found.add(source.name.object.lower())
    return found


def read_only(name: str, line: int = 1) -> SqlError:
    """The refusal of a write to a table parameter."""
    text = f'The table-valued parameter "{name}" is READONLY and cannot be modified.'
    return SqlError.of(10700, 16, 1, text, line)
