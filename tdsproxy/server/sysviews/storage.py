"""How tables are stored, as the views of partitions, statistics and space show it: one partition each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tdsproxy.server.schema import IndexInfo, KeyInfo, TableInfo
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql.definition_text import predicate_text

_PAGE: Final = 8060
"""Bytes of rows that a page of 8 KiB takes."""

_SYSTEM_TABLE: Final = 34
"""sys.sysschobjs: the system table that stands for SQLite's schema. No database is without partitions, then:
sums over them are never NULL, on which Management Studio's library relies."""


def indexes_of(table: TableInfo) -> Iterator[tuple[int, KeyInfo | IndexInfo | None]]:
    """The indexes with their index_id; None is the heap."""
    numbered = table.numbered_indexes
    if not any(number == 1 for number, _ in numbered):
        yield 0, None
    yield from numbered


def partition_id(table: TableInfo, index_id: int) -> int:
    return 72057594037927936 + (table.object_id << 8) + index_id


def pages_of(table: TableInfo, rows: int) -> int:
    """How many pages the rows would take: an estimate from the columns' types."""
    width = 11 + sum(_width(column.type.length) for column in table.columns)
    return 0 if not rows else max(1, -(-rows // max(1, _PAGE // min(width, _PAGE))))


def _width(length: int | None) -> int:
    return 8 if length is None else 32 if length < 0 else min(length, 64)


def _parts(scope: Scope) -> Iterator[tuple[int, int, int, int, int]]:
    """Every partition: its id, its table's id, its index's id, its rows and their pages."""
    objects = scope.objects
    count = len(objects.tables) + len(objects.modules)
    yield (1 << 48) + (_SYSTEM_TABLE << 16), _SYSTEM_TABLE, 1, count, 1 + count // 100
    for table in objects.tables.values():
        rows = scope.row_count(table)
        for number, _ in indexes_of(table):
            yield partition_id(table, number), table.object_id, number, rows, pages_of(table, rows)


def _partitions(scope: Scope) -> Iterator[Row]:
    for key, object_id, number, rows, _ in _parts(scope):
        yield {
            "partition_id": key,
            "object_id": object_id,
            "index_id": number,
            "partition_number": 1,
            "hobt_id": key,
            "rows": rows,
            "filestream_filegroup_id": 0,
            "data_compression": 0,
            "data_compression_desc": "NONE",
            "xml_compression": 0,
            "xml_compression_desc": "OFF",
        }


def _units(scope: Scope) -> Iterator[Row]:
    for key, _, _, _, pages in _parts(scope):
        used = pages + (1 if pages else 0)
        yield {
            "allocation_unit_id": key,
            "type": 1,
            "type_desc": "IN_ROW_DATA",
            "container_id": key,
            "data_space_id": 1,
            "total_pages": used,
            "used_pages": used,
            "data_pages": pages,
        }


def _partition_stats(scope: Scope) -> Iterator[Row]:
    for key, object_id, number, rows, pages in _parts(scope):
        used = pages + (1 if pages else 0)
        yield {
            "partition_id": key,
            "object_id": object_id,
            "index_id": number,
            "partition_number": 1,
            "in_row_data_page_count": pages,
            "in_row_used_page_count": used,
            "in_row_reserved_page_count": used,
            "used_page_count": used,
            "reserved_page_count": used,
            "row_count": rows,
        }


def _stats(scope: Scope) -> Iterator[Row]:
    for table in scope.objects.tables.values():
        for number, index in table.numbered_indexes:
            yield {
                "object_id": table.object_id,
                "name": index.name,
                "stats_id": number,
                "has_filter": int(isinstance(index, IndexInfo) and bool(index.where)),
                "filter_definition": predicate_text(index.where)
                if isinstance(index, IndexInfo) and index.where
                else None,
                "stats_generation_method_desc": "Sort based statistics",
            }


def _stats_columns(scope: Scope) -> Iterator[Row]:
    for table in scope.objects.tables.values():
        for number, index in table.numbered_indexes:
            for place, (name, _) in enumerate(index.columns, 1):
                column = table.column(name)
                if column is not None:
                    yield {
                        "object_id": table.object_id,
                        "stats_id": number,
                        "stats_column_id": place,
                        "column_id": column.ordinal,
                    }


def _sysindexes(scope: Scope) -> Iterator[Row]:
    for table in scope.objects.tables.values():
        rows = scope.row_count(table)
        pages = pages_of(table, rows)
        for number, index in indexes_of(table):
            yield {
                "id": table.object_id,
                "indid": number,
                "name": None if index is None else index.name,
                "status": 2 if isinstance(index, KeyInfo) or (index is not None and index.unique) else 0,
                "keycnt": 0 if index is None else len(index.columns),
                "groupid": 1,
                "dpages": pages,
                "reserved": pages + 1,
                "used": pages + 1,
                "rowcnt": rows,
                "rows": min(rows, 2**31 - 1),
                "rowmodctr": 0,
                "maxlen": 8000,
            }


def _file_space(scope: Scope) -> Iterator[Row]:
    pages = scope.database.pages
    extents = -(-pages // 8) * 8
    yield {
        "database_id": scope.database.id,
        "file_id": 1,
        "filegroup_id": 1,
        "total_page_count": pages,
        "allocated_extent_page_count": extents,
        "unallocated_extent_page_count": 0,
        "mixed_extent_page_count": 0,
        "modified_extent_page_count": extents,
    }


def physical_stats(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """sys.dm_db_index_physical_stats of the current database: nothing is ever fragmented."""
    database, wanted, index = (*arguments, None, None, None)[:3]
    if database not in (None, 0, scope.database.id):
        return
    for table in scope.objects.tables.values():
        if wanted not in (None, 0, table.object_id):
            continue
        rows = scope.row_count(table)
        for number, found in indexes_of(table):
            if index in (None, -1, number):
                yield {
                    "database_id": scope.database.id,
                    "object_id": table.object_id,
                    "index_id": number,
                    "partition_number": 1,
                    "index_type_desc": "HEAP"
                    if found is None
                    else "CLUSTERED INDEX"
                    if number == 1
                    else "NONCLUSTERED INDEX",
                    "alloc_unit_type_desc": "IN_ROW_DATA",
                    "index_depth": 1,
                    "index_level": 0,
                    "avg_fragmentation_in_percent": 0.0,
                    "fragment_count": min(rows, 1),
                    "avg_fragment_size_in_pages": float(pages_of(table, rows)),
                    "page_count": pages_of(table, rows),
                }


def stats_properties(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """sys.dm_db_stats_properties(object_id, stats_id)."""
    wanted, number = (*arguments, None, None)[:2]
    for table in scope.objects.tables.values():
        if table.object_id == wanted and any(n == number for n, _ in table.numbered_indexes):
            rows = scope.row_count(table)
            yield {
                "object_id": table.object_id,
                "stats_id": number if isinstance(number, int) else None,
                "rows": rows,
                "rows_sampled": rows,
                "steps": min(rows, 200),
                "unfiltered_rows": rows,
                "modification_counter": 0,
            }


VIEWS: Final[tuple[View, ...]] = (
    view(
        "sys.partitions",
        "partition_id bigint!, object_id int!, index_id int!, partition_number int!, hobt_id bigint!,"
        " rows bigint, filestream_filegroup_id smallint!, data_compression tinyint!,"
        " data_compression_desc nvarchar(60), xml_compression bit, xml_compression_desc varchar(3)",
        _partitions,
    ),
    view(
        "sys.allocation_units",
        "allocation_unit_id bigint!, type tinyint!, type_desc nvarchar(60), container_id bigint!,"
        " data_space_id int!, total_pages bigint!, used_pages bigint!, data_pages bigint!",
        _units,
    ),
    view(
        "sys.dm_db_partition_stats",
        "partition_id bigint!, object_id int!, index_id int!, partition_number int!,"
        " in_row_data_page_count bigint!, in_row_used_page_count bigint!, in_row_reserved_page_count bigint!,"
        " lob_used_page_count bigint!, lob_reserved_page_count bigint!, row_overflow_used_page_count bigint!,"
        " row_overflow_reserved_page_count bigint!, used_page_count bigint!, reserved_page_count bigint!,"
        " row_count bigint!",
        _partition_stats,
    ),
    view(
        "sys.stats",
        "object_id int!, name sysname, stats_id int!, auto_created bit, user_created bit, no_recompute bit,"
        " has_filter bit, filter_definition nvarchar(max), is_temporary bit, is_incremental bit,"
        " has_persisted_sample bit, stats_generation_method int!, stats_generation_method_desc varchar(80)!,"
        " auto_drop bit",
        _stats,
    ),
    view(
        "sys.stats_columns",
        "object_id int!, stats_id int!, stats_column_id int, column_id int",
        _stats_columns,
    ),
    view(
        "sys.sysindexes",
        "id int!, status int, first binary(6), indid smallint, root binary(6), minlen smallint,"
        " keycnt smallint, groupid smallint, dpages int, reserved int, used int, rowcnt bigint,"
        " rowmodctr int, reserved3 tinyint, reserved4 tinyint, xmaxlen smallint, maxirow smallint,"
        " OrigFillFactor tinyint, StatVersion tinyint, reserved2 int, FirstIAM binary(6), impid smallint,"
        " lockflags smallint, pgmodctr int, keys varbinary(1088), name sysname, statblob varbinary(1),"
        " maxlen int, rows int",
        _sysindexes,
    ),
    view(
        "sys.dm_db_file_space_usage",
        "database_id smallint, file_id smallint, filegroup_id smallint, total_page_count bigint,"
        " allocated_extent_page_count bigint, unallocated_extent_page_count bigint,"
        " version_store_reserved_page_count bigint, user_object_reserved_page_count bigint,"
        " internal_object_reserved_page_count bigint, mixed_extent_page_count bigint,"
        " modified_extent_page_count bigint",
        _file_space,
    ),
)
