"""sp_spaceused: how much of its file a database or a table takes, as SQLite's dbstat counts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.catalog import find_object
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.server.schema import TableInfo
from tdsproxy.server.workspace import TEMP
from tdsproxy.tsql.calling import split_name
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_SIZES: Final = "reserved varchar(18), data varchar(18), index_size varchar(18), unused varchar(18)"


@dataclass(frozen=True, slots=True)
class _Space:
    """Bytes of the pages of tables and of indexes, and of the free bytes within them."""

    data: int = 0
    indexes: int = 0
    unused: int = 0

    def shown(self) -> dict[str, Value]:
        unused = min(self.unused, self.data) // 1024
        data, indexes = -(-self.data // 1024) - unused, -(-self.indexes // 1024)
        return {
            "reserved": f"{data + indexes + unused} KB",
            "data": f"{data} KB",
            "index_size": f"{indexes} KB",
            "unused": f"{unused} KB",
        }


def _megabytes(size: int) -> str:
    return f"{size / 2**20:.2f} MB"


def _space_used(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters(
        "sp_spaceused", "@objname @updateusage @mode @oneresultset @include_total_xtp_storage", arguments
    )
    name = given.text("@objname")
    if name is not None:
        yield from _table(session, name)
        return 0
    facts = next(d for d in session.visible_databases() if d.name == session.database)
    space = _space(session, session.database, None)
    size = facts.pages * 8192
    first: Mapping[str, Value] = {
        "database_name": facts.name,
        "database_size": _megabytes(size + facts.log_pages * 8192),
        "unallocated space": _megabytes(max(0, size - space.data - space.indexes)),
    }
    head = "database_name nvarchar(128), database_size varchar(18), [unallocated space] varchar(18)"
    if given.number("@oneresultset"):
        yield from result(f"{head}, {_SIZES}", [{**first, **space.shown()}])
        return 0
    yield from result(head, [dict(first)])
    yield from result(_SIZES, [space.shown()])
    return 0


def _table(session: Session, name: str) -> Replies:
    found = find_object(session, name)
    if not isinstance(found, TableInfo):
        raise SqlError.of(15234, 16, 1, "Objects of this type have no space allocated.")
    database = split_name(name).database or session.database
    rows = session.row_count_of(database, found)
    yield from result(
        f"name nvarchar(128), rows char(20), {_SIZES}",
        [
            {
                "name": found.name,
                "rows": str(rows).ljust(20),
                **_space(session, database, found.sqlite_name).shown(),
            }
        ],
    )
    return 0


def _space(session: Session, database: str, table: str | None) -> _Space:
    """Of one table with its indexes, or of all."""
    schema = session.workspace.schema_of(database)
    if schema == TEMP:
        return _Space()
    rows = session.workspace.run(
        "SELECT m.type, sum(s.pgsize), sum(s.unused)"
        f" FROM dbstat('{schema}', 1) s LEFT JOIN {schema}.sqlite_schema m ON m.name = s.name"
        " WHERE ?1 IS NULL OR m.tbl_name = ?1 GROUP BY m.type",
        (table,),
    )
    sizes = {str(kind): (int(str(size or 0)), int(str(unused or 0))) for kind, size, unused in rows}
    indexes, _ = sizes.pop("index", (0, 0))
    return _Space(
        sum(size for size, _ in sizes.values()), indexes, sum(unused for _, unused in sizes.values())
    )


PROCEDURES: Final[dict[str, SystemProcedure]] = {"sp_spaceused": _space_used}
