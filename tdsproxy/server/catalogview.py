"""What the compiler asks of the system catalog: views and table functions that stand in a FROM clause.

The compiler knows nothing of what a system view shows. It needs the typed columns, and a piece of SQLite
SQL that yields them: the name of a virtual table, called with the database's name where the view is one of
a database (``xdb.sys.tables``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tdsproxy.tsql.replies import Column
from tdsproxy.tsql.types import SqlType


@dataclass(frozen=True, slots=True)
class SystemView:
    """A system view as the compiler sees it.

    ``source`` is what is written after FROM in SQLite: ``ts_sys_databases`` or ``ts_sys_tables('xdb')``.
    It has a column of the same name for each of ``columns``, holding values in storage form
    (``store.encoding.to_storage``).
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    source: str


@dataclass(frozen=True, slots=True)
class SystemFunction:
    """A table function of the system: ``source`` is the name of an eponymous virtual table whose hidden
    columns take the arguments in order, each converted to the type in ``parameters``. ``required`` is the
    number of arguments that must be given; the rest is passed as NULL."""

    name: str
    columns: tuple[Column, ...]
    source: str
    parameters: tuple[SqlType, ...]
    required: int = 0


class SystemCatalog(Protocol):
    """Lookup of system objects; names are compared without case."""

    def view(self, schema: str, name: str, database: str) -> SystemView | None:
        """The view ``schema.name`` of ``database``; ``schema`` is ``sys``, ``INFORMATION_SCHEMA`` or, for the
        old names (sysobjects, sysdatabases), ``dbo``."""
        ...

    def function(self, schema: str | None, name: str, database: str) -> SystemFunction | None:
        """A table function (``sys.dm_exec_sql_text``, ``STRING_SPLIT`` with ``schema`` None)."""
        ...


class NoSystemCatalog:
    """A catalog without anything in it."""

    def view(self, schema: str, name: str, database: str) -> SystemView | None:
        return None

    def function(self, schema: str | None, name: str, database: str) -> SystemFunction | None:
        return None
