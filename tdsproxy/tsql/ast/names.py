"""Names of objects and types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsproxy.tsql.ast.node import Node

if TYPE_CHECKING:
    from tdsproxy.tsql.types import SqlType


class Name(Node):
    """A possibly qualified object name: ``server.database.schema.object``, parts left out are None.

    ``db..object`` has schema None and database set. ``#t`` and ``@t`` (table variable) are objects whose
    name keeps the sign.
    """

    object: str
    schema: str | None = None
    database: str | None = None
    server: str | None = None
    pos: int = 0
    line: int = 1


class TypeName(Node):
    """A type as written; ``type`` None for a user-defined name that only the catalog can resolve."""

    name: Name
    type: SqlType | None
