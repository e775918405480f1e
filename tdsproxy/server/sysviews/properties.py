"""Extended properties: what they hang on, sys.extended_properties and fn_listextendedproperty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tdsproxy.server.schema import DatabaseSchema, ModuleInfo, TableInfo
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.objects import index_rows
from tdsproxy.server.sysviews.scope import Scope, UserFacts
from tdsproxy.store.encoding import Stored, from_storage
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.parser import parse

DATABASE: Final = 0
OBJECT: Final = 1
PARAMETER: Final = 2
SCHEMA: Final = 3
PRINCIPAL: Final = 4
INDEX: Final = 7
_KINDS: Final = {
    DATABASE: "DATABASE",
    OBJECT: "OBJECT_OR_COLUMN",
    PARAMETER: "PARAMETER",
    SCHEMA: "SCHEMA",
    PRINCIPAL: "DATABASE_PRINCIPAL",
    INDEX: "INDEX",
}
_MODULES: Final = {
    "VIEW": ("V",),
    "PROCEDURE": ("P",),
    "FUNCTION": ("FN", "IF", "TF"),
    "SYNONYM": ("SN",),
    "SEQUENCE": ("SO",),
}
Level = tuple[str, str | None]
"""A level's type in upper case and its name; None is every one of the type."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a property can hang on. ``path`` names it from its schema down."""

    kind: int
    major: int
    minor: int
    type: str | None
    name: str | None
    path: str


def targets(
    objects: DatabaseSchema, users: Sequence[UserFacts], levels: Sequence[Level], database: str
) -> Iterator[Target]:
    """What the levels (none to three) of a call name."""
    if not levels:
        yield Target(DATABASE, 0, 0, None, None, database)
        return
    kind, wanted = levels[0]
    if kind == "USER" and len(levels) == 1:
        for user in users:
            if _is(user.name, wanted):
                yield Target(PRINCIPAL, user.id, 0, "USER", user.name, user.name)
    if kind != "SCHEMA" and not (kind == "USER" and len(levels) > 1):
        return
    for schema in objects.schemas:
        if not _is(schema.name, wanted):
            continue
        if len(levels) == 1:
            yield Target(SCHEMA, schema.schema_id, 0, "SCHEMA", schema.name, schema.name)
        else:
            yield from _objects(objects, schema.name, levels[1:])


def _objects(objects: DatabaseSchema, schema: str, levels: Sequence[Level]) -> Iterator[Target]:
    kind, wanted = levels[0]
    found: list[TableInfo | ModuleInfo] = []
    if kind == "TABLE":
        found += objects.tables.values()
    for module in objects.modules.values():
        if module.kind in _MODULES.get(kind, ()):
            found.append(module)
    for item in found:
        if item.schema.lower() != schema.lower() or not _is(item.name, wanted):
            continue
        path = f"{item.schema}.{item.name}"
        if len(levels) == 1:
            yield Target(OBJECT, item.object_id, 0, kind, item.name, path)
        else:
            yield from _parts(objects, item, levels[1], path)


def _parts(
    objects: DatabaseSchema, item: TableInfo | ModuleInfo, level: Level, path: str
) -> Iterator[Target]:
    kind, wanted = level
    made: list[tuple[int, int, int, str]] = []
    if kind == "TRIGGER":
        made += [
            (OBJECT, module.object_id, 0, module.name)
            for module in objects.modules.values()
            if module.kind == "TR" and module.parent_id == item.object_id
        ]
    elif isinstance(item, TableInfo):
        if kind == "COLUMN":
            made += [(OBJECT, item.object_id, column.ordinal, column.name) for column in item.columns]
        elif kind == "CONSTRAINT":
            made += [(OBJECT, found.object_id, 0, found.name) for found in item.constraints()]
        elif kind == "INDEX":
            for row in index_rows(item):
                if row.get("name"):
                    made.append((INDEX, item.object_id, int(str(row["index_id"])), str(row["name"])))
    elif kind == "PARAMETER":
        names = _parameters(item)
        made += [(PARAMETER, item.object_id, place, name) for place, name in enumerate(names, 1)]
    for number, major, minor, name in made:
        if _is(name, wanted):
            yield Target(number, major, minor, kind, name, f"{path}.{name}")


def _parameters(module: ModuleInfo) -> list[str]:
    try:
        (statement,) = parse(module.text).statements[:1]
    except (SqlError, ValueError):
        return []
    return [parameter.name for parameter in getattr(statement, "parameters", ())]


def _is(name: str, wanted: str | None) -> bool:
    return wanted is None or name.lower() == wanted.lower()


def _properties(scope: Scope) -> Iterator[Row]:
    for item in scope.objects.properties:
        yield {
            "class": item.kind,
            "class_desc": _KINDS[item.kind],
            "major_id": item.major,
            "minor_id": item.minor,
            "name": item.name,
            "value": from_storage(item.value, t.SQL_VARIANT),
        }


def listed(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """The rows of fn_listextendedproperty: of the level's objects those that have properties."""
    name, *rest = (None if value is None else str(value) for value in (*arguments, *[None] * 7)[:7])
    levels: list[Level] = []
    for kind, wanted in zip(rest[::2], rest[1::2], strict=True):
        if kind is None:
            break
        everyone = wanted is None or wanted.lower() == "default"
        levels.append((kind.upper(), None if everyone else wanted))
    wanted_name = None if name is None or name.lower() == "default" else name
    for target in targets(scope.objects, scope.users(), levels, scope.database.name):
        for item in scope.objects.properties:
            place = (item.kind, item.major, item.minor)
            if place == (target.kind, target.major, target.minor) and _is(item.name, wanted_name):
                yield {
                    "objtype": target.type,
                    "objname": target.name,
                    "name": item.name,
                    "value": from_storage(item.value, t.SQL_VARIANT),
                }


VIEWS: Final[tuple[View, ...]] = (
    view(
        "sys.extended_properties",
        "class tinyint!, class_desc nvarchar(60), major_id int!, minor_id int!, name sysname!,"
        "value sql_variant",
        _properties,
    ),
)
