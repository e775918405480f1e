"""Whether a login may run a statement: the objects that it names, against the roles of their databases."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar

from tdsproxy.server.agent_roles import may_read
from tdsproxy.tsql import ast

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_DEFINITIONS: Final[dict[type[ast.Statement], str]] = {
    ast.CreateTable: "CREATE TABLE",
    ast.AlterTable: "ALTER TABLE",
    ast.CreateIndex: "CREATE INDEX",
    ast.DropIndex: "DROP INDEX",
    ast.CreateView: "CREATE VIEW",
    ast.CreateProcedure: "CREATE PROCEDURE",
    ast.CreateFunction: "CREATE FUNCTION",
    ast.CreateTrigger: "CREATE TRIGGER",
    ast.CreateSchema: "CREATE SCHEMA",
    ast.CreateSynonym: "CREATE SYNONYM",
    ast.CreateSequence: "CREATE SEQUENCE",
    ast.CreateType: "CREATE TYPE",
    ast.DropObject: "DROP",
    ast.Truncate: "TRUNCATE TABLE",
}
_ACTIONS: Final[dict[type, str]] = {ast.Insert: "INSERT", ast.Update: "UPDATE", ast.Delete: "DELETE"}
_SYSTEM_SCHEMAS: Final = frozenset({"sys", "information_schema"})
T = TypeVar("T")
_MODULES: Final = (ast.CreateProcedure, ast.CreateFunction, ast.CreateTrigger, ast.CreateView)


def require_permission(session: Session, node: object) -> None:
    """Raises SqlError 229 or 262 when the session's login may not do what ``node`` (a statement or an
    expression with subqueries) asks."""
    if session.rights.is_sysadmin:
        return
    words = _DEFINITIONS.get(type(node))  # type: ignore[arg-type]
    if words is not None:
        if not _is_temporary(node):
            session.rights.require_definition(words, session.database)
        return
    action = _ACTIONS.get(type(node))
    target: ast.Name | None = None
    if isinstance(node, ast.Insert | ast.Update | ast.Delete):
        target = _behind_alias(node)
        if action is not None and target is not None:
            _require(session, action, target)
    if isinstance(node, ast.Merge):
        target = node.target
        for kind in sorted({action.kind for action in node.actions}):
            _require(session, kind, target)
    common = {table.name.lower() for table in _nodes(node, ast.CommonTable)}
    for source in _nodes(node, ast.TableSource):
        name = source.name
        if name == target or (name.schema is None and name.object.lower() in common):
            continue
        _require(session, "SELECT", name)


def _is_temporary(node: object) -> bool:
    if isinstance(node, ast.DropObject):
        return all(name.object.startswith("#") for name in node.names)
    for attribute in ("name", "table", "target"):
        found = getattr(node, attribute, None)
        if isinstance(found, ast.Name):
            return found.object.startswith("#")
    return False


def _behind_alias(node: ast.Insert | ast.Update | ast.Delete) -> ast.Name:
    """The table that an alias target stands for."""
    target = node.target
    if not isinstance(node, ast.Insert) and target.schema is None:
        for source in _nodes(node.sources, ast.TableSource):
            if source.alias is not None and source.alias.lower() == target.object.lower():
                return source.name
    return target


def _require(session: Session, action: str, name: ast.Name) -> None:
    if name.object.startswith(("#", "@")):
        return
    schema = name.schema or session.rights.user(name.database or session.database).default_schema or "dbo"
    if schema.lower() in _SYSTEM_SCHEMAS:
        return
    from tdsproxy.server.sysviews.catalog import find_view

    if find_view(schema, name.object) is not None:
        return
    database = name.database or session.database
    found = session.engine.catalog.databases.find(database)
    if found is not None:
        session.rights.require_use(found.name)
        if action == "SELECT" and found.name.lower() == "msdb" and may_read(session, name.object):
            return
        session.rights.require(action, found.name, schema, name.object)


@lru_cache(maxsize=512)
def _field_names(kind: type[ast.Node]) -> tuple[str, ...]:
    return tuple(name for name in ast.field_names(kind) if name not in ("pos", "end", "line", "text"))


def _nodes(node: object, kind: type[T]) -> Iterator[T]:
    """Every node of ``kind`` in a tree, but for the bodies of modules."""
    waiting: list[object] = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, kind):
            yield current
        if isinstance(current, tuple | list):
            waiting.extend(current)
        elif isinstance(current, ast.Node) and not isinstance(current, _MODULES):
            waiting.extend(getattr(current, name) for name in _field_names(type(current)))
