"""Table functions of the system that have little or nothing to tell here: scripts find their columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tdsproxy.server.identity import COLLATION
from tdsproxy.server.sysviews.model import Row
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType

_KINDS: Final = (
    ("CI_AS", "case-insensitive, accent-sensitive, kanatype-insensitive, width-insensitive"),
    ("CS_AS", "case-sensitive, accent-sensitive, kanatype-insensitive, width-insensitive"),
)
COLLATION_ROWS: Final[tuple[Row, ...]] = (
    {"name": "Latin1_General_BIN2", "description": "Latin1-General, binary code point comparison sort"},
    *(
        {"name": f"Latin1_General_{kind}", "description": f"Latin1-General, {words}"}
        for kind, words in _KINDS
    ),
    {
        "name": COLLATION,
        "description": f"Latin1-General, {_KINDS[0][1]} for Unicode Data, SQL Server Sort Order 52 on Code"
        " Page 1252 for non-Unicode Data",
    },
)
_SERVER: Final = ("CONNECT SQL", "VIEW ANY DATABASE")
_SERVER_ALL: Final = (
    *_SERVER,
    *("SHUTDOWN", "CREATE ENDPOINT", "CREATE ANY DATABASE", "CREATE AVAILABILITY GROUP", "ALTER ANY LOGIN"),
    *("ALTER ANY CREDENTIAL", "ALTER ANY ENDPOINT", "ALTER ANY LINKED SERVER", "ALTER ANY CONNECTION"),
    *("ALTER ANY DATABASE", "ALTER RESOURCES", "ALTER SETTINGS", "ALTER TRACE", "ADMINISTER BULK OPERATIONS"),
    *("AUTHENTICATE SERVER", "EXTERNAL ACCESS ASSEMBLY", "VIEW ANY DEFINITION", "VIEW SERVER STATE"),
    *("CREATE DDL EVENT NOTIFICATION", "CREATE TRACE EVENT NOTIFICATION", "ALTER ANY EVENT NOTIFICATION"),
    *("ALTER SERVER STATE", "UNSAFE ASSEMBLY", "ALTER ANY SERVER AUDIT", "CREATE SERVER ROLE"),
    *("ALTER ANY SERVER ROLE", "ALTER ANY EVENT SESSION", "CONNECT ANY DATABASE", "IMPERSONATE ANY LOGIN"),
    *("SELECT ALL USER SECURABLES", "CONTROL SERVER"),
)
_DATABASE_ALL: Final = (
    *("CREATE TABLE", "CREATE VIEW", "CREATE PROCEDURE", "CREATE FUNCTION", "CREATE SCHEMA", "CREATE ROLE"),
    *(
        "BACKUP DATABASE",
        "BACKUP LOG",
        "CONNECT",
        "CHECKPOINT",
        "SHOWPLAN",
        "ALTER ANY USER",
        "ALTER ANY ROLE",
    ),
    *("ALTER ANY SCHEMA", "SELECT", "INSERT", "UPDATE", "DELETE", "REFERENCES", "EXECUTE", "VIEW DEFINITION"),
    *("VIEW DATABASE STATE", "ALTER", "CONTROL"),
)


def my_permissions(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """What a sysadmin or an owner may do; everybody else is told of entering only."""
    kind = str(arguments[1]).upper()
    session = next((found for found in scope.sessions() if found.spid == scope.spid), None)
    login = (
        None
        if session is None
        else next((found for found in scope.logins() if found.name == session.login), None)
    )
    admin = login is not None and "sysadmin" in login.roles
    if kind == "SERVER":
        for name in _SERVER_ALL if admin else _SERVER:
            yield {"entity_name": "server", "subentity_name": "", "permission_name": name}
    elif kind == "DATABASE":
        for name in _DATABASE_ALL if admin else ("CONNECT",):
            yield {"entity_name": "database", "subentity_name": "", "permission_name": name}


_HANDLE: Final = t.varbinary(64)
_OBJECT: Final = (t.nvarchar(517), t.nvarchar(60))
WITHOUT_ROWS: Final[dict[str, tuple[str, tuple[SqlType, ...]]]] = {
    "dm_exec_text_query_plan": (
        "dbid smallint, objectid int, number smallint, encrypted bit!, query_plan nvarchar(max)",
        (_HANDLE, t.INT, t.INT),
    ),
    "dm_exec_plan_attributes": (
        "attribute varchar(128)!, value sql_variant, is_cache_key bit!",
        (_HANDLE,),
    ),
    "dm_exec_cursors": (
        "session_id int!, cursor_id int!, name nvarchar(256), properties nvarchar(256),"
        " sql_handle varbinary(64)!, statement_start_offset int!, statement_end_offset int!,"
        " plan_generation_num bigint!, creation_time datetime!, is_open bit!, is_async_population bit!,"
        " is_close_on_commit bit!, fetch_status int!, fetch_buffer_size int!, fetch_buffer_start int!,"
        " ansi_position int!, worker_time bigint!, reads bigint!, writes bigint!, dormant_duration bigint!",
        (t.INT,),
    ),
    "dm_exec_xml_handles": (
        "session_id int, document_id int, namespace_document_id int, sql_handle varbinary(64),"
        " statement_start_offset int, statement_end_offset int, creation_time datetime,"
        " original_document_size_bytes bigint, original_namespace_document_size_bytes bigint,"
        " num_openxml_calls bigint, row_count bigint, dormant_duration_ms bigint",
        (t.INT,),
    ),
    "dm_db_index_operational_stats": (
        "database_id smallint!, object_id int!, index_id int!, partition_number int!, hobt_id bigint!,"
        " leaf_insert_count bigint!, leaf_delete_count bigint!, leaf_update_count bigint!,"
        " leaf_ghost_count bigint!, nonleaf_insert_count bigint!, nonleaf_delete_count bigint!,"
        " nonleaf_update_count bigint!, leaf_allocation_count bigint!, nonleaf_allocation_count bigint!,"
        " leaf_page_merge_count bigint!, nonleaf_page_merge_count bigint!, range_scan_count bigint!,"
        " singleton_lookup_count bigint!, forwarded_fetch_count bigint!, lob_fetch_in_pages bigint!,"
        " row_lock_count bigint!, row_lock_wait_count bigint!, row_lock_wait_in_ms bigint!,"
        " page_lock_count bigint!, page_lock_wait_count bigint!, page_lock_wait_in_ms bigint!,"
        " page_latch_wait_count bigint!, page_latch_wait_in_ms bigint!, page_io_latch_wait_count bigint!,"
        " page_io_latch_wait_in_ms bigint!, page_compression_attempt_count bigint!,"
        " page_compression_success_count bigint!",
        (t.SMALLINT, t.INT, t.INT, t.INT),
    ),
    "dm_db_database_page_allocations": (
        "database_id smallint, object_id int, index_id int, partition_id int, rowset_id bigint,"
        " allocation_unit_id bigint, allocation_unit_type tinyint, allocation_unit_type_desc nvarchar(60),"
        " extent_file_id smallint, extent_page_id int, is_allocated bit, allocated_page_file_id smallint,"
        " allocated_page_page_id int, page_type int, page_type_desc nvarchar(60), page_level int",
        (t.SMALLINT, t.INT, t.INT, t.INT, t.nvarchar(20)),
    ),
    "dm_db_page_info": (
        "database_id int, file_id int, page_id int, page_type int, page_type_desc nvarchar(64),"
        " page_flag_bits nvarchar(64), object_id int, index_id int, partition_id bigint,"
        " alloc_unit_id bigint, page_level smallint, slot_count smallint, ghost_rec_count smallint,"
        " free_bytes smallint,"
        " is_encrypted bit, has_checksum bit, checksum int, is_page_compressed bit, page_lsn nvarchar(64)",
        (t.SMALLINT, t.INT, t.INT, t.nvarchar(64)),
    ),
    "dm_db_stats_histogram": (
        "object_id int, stats_id int, step_number int, range_high_key sql_variant, range_rows real,"
        " equal_rows real, distinct_range_rows bigint, average_range_rows real",
        (t.INT, t.INT),
    ),
    "dm_sql_referenced_entities": (
        "referencing_minor_id int, referenced_server_name sysname, referenced_database_name sysname,"
        " referenced_schema_name sysname, referenced_entity_name sysname, referenced_minor_name sysname,"
        " referenced_id int, referenced_minor_id int, referenced_class tinyint,"
        " referenced_class_desc nvarchar(60), is_caller_dependent bit, is_ambiguous bit, is_selected bit,"
        " is_updated bit, is_select_all bit, is_all_columns_found bit, is_insert_all bit, is_incomplete bit",
        _OBJECT,
    ),
    "dm_sql_referencing_entities": (
        "referencing_schema_name sysname, referencing_entity_name sysname, referencing_id int,"
        " referencing_class tinyint, referencing_class_desc nvarchar(60), is_caller_dependent bit",
        _OBJECT,
    ),
    "dm_exec_query_statistics_xml": (
        "session_id smallint!, request_id int!, sql_handle varbinary(64), plan_handle varbinary(64),"
        " query_plan xml",
        (t.SMALLINT,),
    ),
    "fn_trace_getinfo": ("traceid int!, property int!, value sql_variant", (t.INT,)),
    "fn_trace_geteventinfo": ("eventid int!, columnid int!", (t.INT,)),
    "fn_trace_getfilterinfo": (
        "columnid int!, logical_operator int!, comparison_operator int!, value sql_variant",
        (t.INT,),
    ),
    "fn_trace_gettable": (
        "TextData ntext, BinaryData image, DatabaseID int, TransactionID bigint, NTUserName nvarchar(256),"
        " NTDomainName nvarchar(256), HostName nvarchar(256), ClientProcessID int,"
        " ApplicationName nvarchar(256), LoginName nvarchar(256), SPID int, Duration bigint,"
        " StartTime datetime, EndTime datetime, Reads bigint, Writes bigint, CPU int, Permissions bigint,"
        " Severity int, EventSubClass int, ObjectID int, Success int, IndexID int, IntegerData int,"
        " ServerName nvarchar(256), EventClass int, ObjectType int, NestLevel int, State int, Error int,"
        " Mode int, Handle int, ObjectName nvarchar(256), DatabaseName nvarchar(256),"
        " FileName nvarchar(256), OwnerName nvarchar(256), RoleName nvarchar(256)",
        (t.nvarchar(256), t.INT),
    ),
    "fn_xe_file_target_read_file": (
        "module_guid uniqueidentifier!, package_guid uniqueidentifier!, object_name nvarchar(60)!,"
        " event_data nvarchar(max)!, file_name nvarchar(260)!, file_offset bigint!,"
        " timestamp_utc datetime2(7)!",
        (t.nvarchar(260), t.nvarchar(260), t.nvarchar(260), t.BIGINT),
    ),
    "fn_get_sql": ("dbid smallint, objectid int, number smallint, encrypted bit!, text ntext", (_HANDLE,)),
    "fn_servershareddrives": ("DriveName nchar(1)!", ()),
    "fn_validate_plan_guide": ("msgnum int, severity int, state smallint, message nvarchar(2047)", (t.INT,)),
}
