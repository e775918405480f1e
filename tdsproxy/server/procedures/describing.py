"""What a query would return: sp_describe_first_result_set and the functions that say the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.define import Parameters, Replies, result
from tdsproxy.server.sysviews.describing import COLUMNS
from tdsproxy.server.typeinfo import base_name, numbers
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Column, ResultSet
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_SYNTAX: Final = frozenset({102, 105, 156, 319})


def first_result_set(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """sp_describe_first_result_set."""
    given = Parameters("sp_describe_first_result_set", "@tsql @params @browse_information_mode", arguments)
    columns = _of_text(session, given.required("@tsql"), given.text("@params") or "", frame)
    yield from result(COLUMNS, [_described(place, column) for place, column in enumerate(columns, 1)])
    return 0


def rows_of_text(session: Session, text: str, declarations: str) -> Iterator[dict[str, Value]]:
    """The rows of sys.dm_exec_describe_first_result_set; an error is a row, too."""
    yield from _rows(lambda: _of_text(session, text, declarations, session.batch_frame(text)))


def rows_of_object(session: Session, object_id: int) -> Iterator[dict[str, Value]]:
    """The rows of sys.dm_exec_describe_first_result_set_for_object, of the current database's procedures."""
    modules = session.objects_of(session.database).modules.values()
    found = next((module for module in modules if module.object_id == object_id), None)
    if found is None or found.kind != "P":
        return
    definition = parse(found.text, quoted_identifier=found.quoted_identifier).statements[0]
    if isinstance(definition, ast.CreateProcedure):
        frame = session.batch_frame(found.text)
        yield from _rows(lambda: _columns(session, definition.body, definition.parameters, frame))


def _rows(columns: Callable[[], tuple[Column, ...]]) -> Iterator[dict[str, Value]]:
    try:
        found = columns()
    except SqlError as error:
        first = error.messages[0]
        yield {
            "error_number": first.number,
            "error_severity": first.severity,
            "error_state": first.state,
            "error_message": first.text,
            "error_type": 2 if first.number in _SYNTAX else 0,
            "error_type_desc": "SYNTAX" if first.number in _SYNTAX else "MISC",
        }
        return
    for place, column in enumerate(found, 1):
        yield _described(place, column)


def _described(place: int, column: Column) -> dict[str, Value]:
    about = numbers(column.type)
    return {
        "column_ordinal": place,
        "name": column.name or None,
        "is_nullable": int(column.nullable),
        "system_type_id": about.id,
        "system_type_name": _declared(column.type),
        "max_length": about.length,
        "precision": about.precision,
        "scale": about.scale,
        "collation_name": "SQL_Latin1_General_CP1_CI_AS" if column.type.is_character else None,
        "is_identity_column": int(column.identity),
        "is_updateable": int(column.updatable_unknown),
        "is_computed_column": int(column.computed),
        "tds_type_id": about.id,
        "tds_length": about.length if about.length >= 0 else 65535,
    }


def _declared(type_: SqlType) -> str:
    return str(type_) if type_.name in t.LENGTH_TYPES or "(" in str(type_) else base_name(type_)


def _of_text(session: Session, text: str, declarations: str, frame: Frame) -> tuple[Column, ...]:
    parameters: Sequence[ast.Parameter] = ()
    if declarations.strip():
        made = parse(f"CREATE PROCEDURE p ({declarations}) AS RETURN").statements[0]
        parameters = made.parameters if isinstance(made, ast.CreateProcedure) else ()
    batch = parse(text, quoted_identifier=frame.options.quoted_identifier)
    return _columns(session, batch.statements, parameters, frame)


def _columns(
    session: Session,
    statements: Sequence[ast.Statement],
    parameters: Sequence[ast.Parameter],
    frame: Frame,
) -> tuple[Column, ...]:
    """The columns of the first SELECT that returns rows. Only it is run, to look at them."""
    query = next((s for s in _flat(statements) if isinstance(s, ast.QueryStatement) and _returns(s)), None)
    if query is None:
        return ()
    inner = session.batch_frame("")
    inner.options = frame.options.copy()
    for parameter in parameters:
        inner.declare(parameter.name, session.evaluator.resolve_type(parameter.type, inner))
    replies = session.evaluator.execute(query, inner)
    try:
        for reply in replies:
            if isinstance(reply, ResultSet):
                return reply.columns
    finally:
        close = getattr(replies, "close", None)
        if close is not None:
            close()
    return ()


def _flat(statements: Sequence[ast.Statement]) -> Iterator[ast.Statement]:
    """The statements, those of blocks in their places."""
    for statement in statements:
        if isinstance(statement, ast.Block):
            yield from _flat(statement.statements)
        else:
            yield statement


def _returns(statement: ast.QueryStatement) -> bool:
    """Whether it is not an assignment, nor makes a table."""
    query = statement.query
    return not (
        isinstance(query, ast.Select)
        and (query.into is not None or any(item.variable for item in query.items))
    )
