"""Table functions of the system: dm_exec_sql_text, fn_listextendedproperty, STRING_SPLIT ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from tdsproxy.server.sysviews import builtin_permissions, managed_backup
from tdsproxy.server.sysviews.describing import COLUMNS as DESCRIBED
from tdsproxy.server.sysviews.file_functions import (
    FILE_STATS_COLUMNS,
    OLD_FILE_STATS_COLUMNS,
    VOLUME_COLUMNS,
    file_stats,
    old_file_stats,
    volume_stats,
)
from tdsproxy.server.sysviews.idle_functions import COLLATION_ROWS, WITHOUT_ROWS, my_permissions
from tdsproxy.server.sysviews.log_space import log_info, log_stats
from tdsproxy.server.sysviews.model import Row, ViewColumn, default_of, parse_columns
from tdsproxy.server.sysviews.properties import listed
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.server.sysviews.storage import physical_stats, stats_properties
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


@dataclass(frozen=True, slots=True)
class TableFunction:
    """``rows`` gets the arguments in storage form. ``schemas``: where it is found by a qualified name."""

    name: str
    columns: tuple[ViewColumn, ...]
    parameters: tuple[SqlType, ...]
    rows: Callable[[Scope, Sequence[Stored]], Iterable[Row]]
    required: int = 0
    schemas: frozenset[str] = frozenset({"sys"})

    def tuples(self, scope: Scope, arguments: Sequence[Stored]) -> Iterator[tuple[Value, ...]]:
        for row in self.rows(scope, arguments):
            yield tuple(row.get(c.name, None if c.nullable else default_of(c.type)) for c in self.columns)


def _no_rows(scope: Scope, arguments: Sequence[Stored]) -> Iterable[Row]:
    return ()


def _sql_text(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    handle = arguments[0]
    if isinstance(handle, bytes):
        spid = int.from_bytes(handle, "big")
        for session in scope.sessions():
            if session.spid == spid:
                yield {"dbid": session.database_id, "encrypted": 0, "text": session.request_text}


def _input_buffer(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    for session in scope.sessions():
        if session.spid == arguments[0]:
            yield {"event_type": "Language Event", "parameters": 0, "event_info": session.request_text}


_ERROR_COLUMNS: Final = (
    ", error_number int, error_severity int, error_state int, error_message nvarchar(4000), error_type int,"
    " error_type_desc nvarchar(60)"
)


def _described(scope: Scope, arguments: Sequence[Stored]) -> Iterable[Row]:
    text, declarations = (*arguments, None, None)[:2]
    return () if text is None else scope.described(str(text), str(declarations or ""))


def _described_object(scope: Scope, arguments: Sequence[Stored]) -> Iterable[Row]:
    return () if arguments[0] is None else scope.described_object(int(arguments[0]))


def _split(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    text, separator, ordinal = (*arguments, None, None, None)[:3]
    if text is None or not separator:
        return
    for place, part in enumerate(str(text).split(str(separator)), 1):
        yield {"value": part, "ordinal": place if ordinal else None}


def _series(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    start, stop, step = (*arguments, None, None, None)[:3]
    if start is None or stop is None:
        return
    first, last = int(start), int(stop)
    stride = int(step) if step is not None else (1 if last >= first else -1)
    if stride:
        for value in range(first, last + (1 if stride > 0 else -1), stride):
            yield {"value": value}


def _text(value: Value) -> str:
    return value if isinstance(value, str) else ""


def _file_exists(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    for file, directory, parent in scope.look("xp_fileexist", _text(arguments[0])):
        yield {
            "file_exists": file,
            "file_is_a_directory": directory,
            "parent_directory_exists": parent,
        }


def _file_system(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """Below a directory, at every depth, what fits a pattern with * and ?."""
    directory, pattern = _text(arguments[0]).rstrip("/"), _text(arguments[1]) or "*"
    parents = [directory]
    for found, depth, file in scope.look("xp_dirtree", directory or "/", 0, 1):
        level, name = int(str(depth)), _text(found)
        full = f"{parents[level - 1]}/{name}"
        parents[level:] = [full]
        if fnmatchcase(name, pattern):
            yield {
                "full_filesystem_path": full,
                "parent_directory": parents[level - 1],
                "file_or_directory_name": name,
                "level": level - 1,
                "is_directory": int(not file),
                "is_read_only": 0,
                "is_system": 0,
                "is_hidden": int(name.startswith(".")),
                "has_integrity_stream": 0,
                "is_temporary": 0,
                "is_sparse": 0,
                "size_in_bytes": 0,
            }


_MANAGED: Final = frozenset({"managed_backup"})
TABLE_FUNCTIONS: Final = {
    item.name.lower(): item
    for item in (
        TableFunction(
            "fn_listextendedproperty",
            parse_columns("objtype sysname, objname sysname, name sysname!, value sql_variant"),
            (t.SYSNAME,) * 7,
            listed,
            schemas=frozenset({"sys", "dbo"}),
        ),
        TableFunction("dm_os_volume_stats", parse_columns(VOLUME_COLUMNS), (t.INT, t.INT), volume_stats, 2),
        TableFunction(
            "dm_io_virtual_file_stats", parse_columns(FILE_STATS_COLUMNS), (t.INT, t.INT), file_stats, 2
        ),
        TableFunction(
            "fn_virtualfilestats", parse_columns(OLD_FILE_STATS_COLUMNS), (t.INT, t.INT), old_file_stats, 2
        ),
        TableFunction(
            "fn_helpcollations",
            parse_columns("name sysname!, description nvarchar(1000)!"),
            (),
            lambda scope, arguments: COLLATION_ROWS,
        ),
        TableFunction(
            "fn_builtin_permissions",
            parse_columns(builtin_permissions.COLUMNS),
            (t.nvarchar(60),),
            builtin_permissions.builtin_permissions,
            1,
        ),
        TableFunction(
            "fn_my_permissions",
            parse_columns(
                "entity_name nvarchar(128), subentity_name nvarchar(128), permission_name nvarchar(60)"
            ),
            (t.SYSNAME, t.SYSNAME),
            my_permissions,
            2,
        ),
        *(
            TableFunction(name, parse_columns(columns), parameters, _no_rows, len(parameters))
            for name, (columns, parameters) in WITHOUT_ROWS.items()
        ),
        TableFunction(
            "dm_exec_sql_text",
            parse_columns("dbid smallint, objectid int, number smallint, encrypted bit!, text nvarchar(max)"),
            (t.varbinary(64),),
            _sql_text,
            1,
        ),
        TableFunction(
            "dm_os_file_exists",
            parse_columns(
                "file_exists tinyint!, file_is_a_directory tinyint!, parent_directory_exists tinyint!"
            ),
            (t.nvarchar(256),),
            _file_exists,
            1,
        ),
        TableFunction(
            "dm_os_enumerate_filesystem",
            parse_columns(
                "full_filesystem_path nvarchar(512)!, parent_directory nvarchar(512)!,"
                " file_or_directory_name nvarchar(512)!, level int!, is_directory bit!, is_read_only bit!,"
                " is_system bit!, is_hidden bit!, has_integrity_stream bit!, is_temporary bit!,"
                " is_sparse bit!, creation_time datetime2(7), last_access_time datetime2(7),"
                " last_write_time datetime2(7), size_in_bytes bigint"
            ),
            (t.nvarchar(256), t.nvarchar(256)),
            _file_system,
            2,
        ),
        TableFunction(
            "dm_db_index_physical_stats",
            parse_columns(
                "database_id smallint, object_id int, index_id int, partition_number int,"
                " index_type_desc nvarchar(60), alloc_unit_type_desc nvarchar(60), index_depth tinyint,"
                " index_level tinyint, avg_fragmentation_in_percent float, fragment_count bigint,"
                " avg_fragment_size_in_pages float, page_count bigint, avg_page_space_used_in_percent float,"
                " record_count bigint, ghost_record_count bigint, version_ghost_record_count bigint,"
                " min_record_size_in_bytes int, max_record_size_in_bytes int, avg_record_size_in_bytes float,"
                " forwarded_record_count bigint, compressed_page_count bigint"
            ),
            (t.SMALLINT, t.INT, t.INT, t.INT, t.nvarchar(20)),
            physical_stats,
        ),
        TableFunction(
            "dm_exec_describe_first_result_set",
            parse_columns(DESCRIBED + _ERROR_COLUMNS),
            (t.nvarchar(t.MAX), t.nvarchar(t.MAX), t.TINYINT),
            _described,
            3,
        ),
        TableFunction(
            "dm_exec_describe_first_result_set_for_object",
            parse_columns(DESCRIBED + _ERROR_COLUMNS),
            (t.INT, t.TINYINT),
            _described_object,
            2,
        ),
        TableFunction(
            "dm_db_log_stats",
            parse_columns(
                "database_id int!, recovery_model nvarchar(60)!, log_min_lsn nvarchar(24)!,"
                " log_end_lsn nvarchar(24)!, current_vlf_sequence_number bigint!, current_vlf_size_mb float!,"
                " total_vlf_count bigint!, total_log_size_mb float!, active_vlf_count bigint!,"
                " active_log_size_mb float!, log_truncation_holdup_reason nvarchar(60)!,"
                " log_backup_time datetime, log_backup_lsn nvarchar(24), log_since_last_log_backup_mb float,"
                " log_checkpoint_lsn nvarchar(24), log_since_last_checkpoint_mb float,"
                " log_recovery_lsn nvarchar(24), log_recovery_size_mb float, recovery_vlf_count bigint"
            ),
            (t.INT,),
            log_stats,
            1,
        ),
        TableFunction(
            "dm_db_log_info",
            parse_columns(
                "database_id int!, file_id smallint!, vlf_begin_offset bigint!, vlf_size_mb float!,"
                " vlf_sequence_number bigint!, vlf_active bit!, vlf_status int!, vlf_parity tinyint!,"
                " vlf_first_lsn nvarchar(24), vlf_create_lsn nvarchar(24),"
                " vlf_encryptor_thumbprint varbinary(20)"
            ),
            (t.INT,),
            log_info,
            1,
        ),
        TableFunction(
            "dm_db_stats_properties",
            parse_columns(
                "object_id int!, stats_id int, last_updated datetime2(7), rows bigint, rows_sampled bigint,"
                " steps int, unfiltered_rows bigint, modification_counter bigint,"
                " persisted_sample_percent float"
            ),
            (t.INT, t.INT),
            stats_properties,
            2,
        ),
        TableFunction(
            "dm_exec_query_plan",
            parse_columns("dbid smallint, objectid int, number smallint, encrypted bit!, query_plan xml"),
            (t.varbinary(64),),
            _no_rows,
            1,
        ),
        TableFunction(
            "dm_exec_input_buffer",
            parse_columns("event_type nvarchar(256), parameters smallint, event_info nvarchar(max)"),
            (t.SMALLINT, t.INT),
            _input_buffer,
            1,
        ),
        TableFunction(
            "fn_backup_db_config",
            parse_columns(managed_backup.DATABASE_COLUMNS),
            (t.SYSNAME,),
            managed_backup.database_config,
            1,
            _MANAGED,
        ),
        TableFunction(
            "fn_backup_instance_config",
            parse_columns(managed_backup.INSTANCE_COLUMNS),
            (),
            managed_backup.instance_config,
            schemas=_MANAGED,
        ),
        TableFunction(
            "fn_is_master_switch_on",
            parse_columns(managed_backup.SWITCH_COLUMNS),
            (),
            managed_backup.master_switch,
            schemas=_MANAGED,
        ),
        TableFunction(
            "fn_available_backups",
            parse_columns(managed_backup.BACKUP_COLUMNS),
            (t.nvarchar(512),),
            managed_backup.available_backups,
            1,
            _MANAGED,
        ),
        TableFunction(
            "fn_get_health_status",
            parse_columns(managed_backup.HEALTH_COLUMNS),
            (t.DATETIME, t.DATETIME),
            managed_backup.health_status,
            2,
            _MANAGED,
        ),
        TableFunction(
            "fn_get_parameter",
            parse_columns(managed_backup.PARAMETER_COLUMNS),
            (t.nvarchar(128),),
            managed_backup.parameters,
            1,
            _MANAGED,
        ),
        TableFunction(
            "fn_get_current_xevent_settings",
            parse_columns(managed_backup.EVENT_COLUMNS),
            (),
            managed_backup.event_settings,
            schemas=_MANAGED,
        ),
        TableFunction(
            "STRING_SPLIT",
            parse_columns("value nvarchar(4000)!, ordinal bigint"),
            (t.nvarchar(t.MAX), t.nvarchar(1), t.BIT),
            _split,
            2,
            frozenset(),
        ),
        TableFunction(
            "GENERATE_SERIES",
            parse_columns("value int!"),
            (t.INT, t.INT, t.INT),
            _series,
            2,
            frozenset(),
        ),
    )
}
