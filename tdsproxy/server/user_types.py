"""Types made by CREATE TYPE: other names for a type, and table types."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tdsproxy.server.metadata import Metadata, now_text
from tdsproxy.server.schema import ModuleInfo
from tdsproxy.tsql import ast
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Command, Done, Reply
from tdsproxy.tsql.state import Frame, TableVariable
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator

ALIAS: Final = "ST"
TABLE: Final = "TT"
KINDS: Final = (ALIAS, TABLE)


class UserTypes:
    """The user-defined types that one session can reach."""

    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator
        self._work = evaluator.workspace

    def create(self, statement: ast.CreateType, frame: Frame) -> Iterator[Reply]:
        ddl = self._evaluator.ddl
        kind = TABLE if statement.base is None else ALIAS
        place = ddl.place(statement.name, frame, kind)
        ddl.must_be_new(place, statement.name, statement.line)
        if statement.base is not None:
            self._evaluator.host.resolve_type(statement.base, frame)
        else:
            builder = ddl.builder(place.owner, statement.name.object, "type", frame, statement.line)
            builder.columns(statement.columns)
        now = now_text()
        module = ModuleInfo(
            place.owner, statement.name.object, place.object_id, kind, statement.text, now, now
        )
        with self._evaluator.changing(place.schema, place.database, statement.line):
            Metadata(self._work, place.schema).save_module(module)
        yield Done(Command.NONE)

    def _definition(self, name: ast.Name, frame: Frame) -> ast.CreateType | None:
        file = self._work.find_database(name.database or self._evaluator.host.database(frame))
        if file is None:
            return None
        objects = self._evaluator.reader.read(self._work.attach(file))
        module = objects.module(name.schema or "dbo", name.object)
        return None if module is None or module.kind not in KINDS else parsed_type(module.text)

    def base(self, name: ast.Name, frame: Frame) -> SqlType | None:
        """The type behind another name; None when ``name`` is none."""
        found = self._definition(name, frame)
        if found is None or found.base is None:
            return None
        return found.base.type or self.base(found.base.name, frame)

    def table(self, variable: str, name: ast.Name, frame: Frame) -> TableVariable | None:
        """The table that a variable of the table type ``name`` is; None when that is no table type."""
        found = self._definition(name, frame)
        if found is None or found.base is not None:
            return None
        return TableVariable(variable, found.columns, found.constraints)


@lru_cache(maxsize=256)
def parsed_type(text: str) -> ast.CreateType:
    """The definition that ``text`` holds."""
    statement = parse(text).statements[0]
    if not isinstance(statement, ast.CreateType):
        raise TypeError("a type's text holds another statement")
    return statement
