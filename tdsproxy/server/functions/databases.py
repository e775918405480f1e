"""DB_ID, DB_NAME, HAS_DBACCESS, DATABASEPROPERTYEX and the functions on a database's files."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.functions.context import ServerContext, database_by_id, find_database
from tdsproxy.server.functions.define import asks, text, whole
from tdsproxy.server.identity import DATABASE_VERSION
from tdsproxy.server.sysviews.databases import database_row, file_rows
from tdsproxy.tsql import types as t
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.values import Value, Variant


def _db_id(context: ServerContext, name: str | None = None) -> Value:
    found = find_database(context, context.database_name if name is None else name)
    return found.id if found else None


def _db_name(context: ServerContext, id_: int | None = None) -> Value:
    if id_ is None:
        return context.database_name
    found = database_by_id(context, id_)
    return found.name if found else None


def _has_access(context: ServerContext, name: str) -> Value:
    found = find_database(context, name)
    if found is None:
        return None
    return int(found.online and context.may_use(found.name))


_FLAGS: Final = {
    "isautoclose": "is_auto_close_on",
    "isautoshrink": "is_auto_shrink_on",
    "isautocreatestatistics": "is_auto_create_stats_on",
    "isautoupdatestatistics": "is_auto_update_stats_on",
    "isansinulldefault": "is_ansi_null_default_on",
    "isansinullsenabled": "is_ansi_nulls_on",
    "isansipaddingenabled": "is_ansi_padding_on",
    "isansiwarningsenabled": "is_ansi_warnings_on",
    "isarithmeticabortenabled": "is_arithabort_on",
    "iscloseonscommitenabled": "is_cursor_close_on_commit_on",
    "isclosecursorsoncommitenabled": "is_cursor_close_on_commit_on",
    "isfulltextenabled": "is_fulltext_enabled",
    "isinstandby": "is_in_standby",
    "islocalcursorsdefault": "is_local_cursor_default",
    "ismergepublished": "is_merge_published",
    "isnullconcat": "is_concat_null_yields_null_on",
    "isnumericroundabortenabled": "is_numeric_roundabort_on",
    "isparameterizationforced": "is_parameterization_forced",
    "isquotedidentifiersenabled": "is_quoted_identifier_on",
    "ispublished": "is_published",
    "isrecursivetriggersenabled": "is_recursive_triggers_on",
    "issubscribed": "is_subscribed",
    "issyncwithbackup": "is_sync_with_backup",
}


def _property_ex(context: ServerContext, name: str, wanted: str) -> Value:
    facts = find_database(context, name)
    if facts is None:
        return None
    word = wanted.strip().lower()
    if word == "status":
        return text(facts.state)
    if word == "recovery":
        return text(facts.recovery_model)
    if word == "useraccess":
        return text(facts.user_access)
    if word == "updateability":
        return text("READ_ONLY" if facts.read_only else "READ_WRITE")
    if not facts.online:
        return None
    if word == "collation":
        return text(facts.collation)
    if word == "version":
        return whole(DATABASE_VERSION)
    if word == "comparisonstyle":
        return whole(196609)
    if word == "lcid":
        return whole(1033)
    if word == "sqlsortorder":
        return Variant(t.TINYINT, 52)
    if word == "istornpagedetectionenabled":
        return whole(0)
    if word == "lastgoodcheckdbtime":
        return None
    column = _FLAGS.get(word)
    if column is None:
        return None
    flag = database_row(facts).get(column)
    return whole(flag) if isinstance(flag, int) else None


def _property(context: ServerContext, name: str, wanted: str) -> Value:
    facts = find_database(context, name)
    if facts is None:
        return None
    word = wanted.strip().lower()
    states = {
        "isinload": facts.state == "RESTORING",
        "isoffline": facts.state == "OFFLINE",
        "isinrecovery": facts.state == "RECOVERING",
        "issuspect": facts.state == "SUSPECT",
        "isemergencymode": facts.state == "EMERGENCY",
        "isshutdown": False,
        "isreadonly": facts.read_only,
        "issingleuser": facts.user_access == "SINGLE_USER",
        "isdboonly": facts.user_access == "RESTRICTED_USER",
        "istrunclog": facts.recovery_model == "SIMPLE",
        "isbulkcopy": facts.recovery_model == "BULK_LOGGED",
    }
    if word in states:
        return int(states[word])
    if word == "version":
        return DATABASE_VERSION if facts.online else None
    column = _FLAGS.get(word)
    value = database_row(facts).get(column) if column else None
    return value if isinstance(value, int) else None


def _files(context: ServerContext) -> list[dict[str, Value]]:
    facts = find_database(context, context.database_name)
    return list(file_rows(facts)) if facts else []


def _file_name(context: ServerContext, id_: int) -> Value:
    return next((str(f["name"]) for f in _files(context) if f["file_id"] == id_), None)


def _file_id(context: ServerContext, name: str) -> Value:
    wanted = name.rstrip().lower()
    for file in _files(context):
        if str(file["name"]).lower() == wanted:
            return int(str(file["file_id"]))
    return None


def _file_property(context: ServerContext, name: str, wanted: str) -> Value:
    id_ = _file_id(context, name)
    if id_ is None:
        return None
    size = next(int(str(f["size"])) for f in _files(context) if f["file_id"] == id_)
    return {
        "isreadonly": 0,
        "isprimaryfile": int(id_ == 1),
        "islogfile": int(id_ == 2),
        "spaceused": size,
    }.get(wanted.strip().lower())


FUNCTIONS: Final[tuple[FunctionDef, ...]] = (
    asks("DB_ID", 0, 1, t.SMALLINT, _db_id),
    asks("DB_NAME", 0, 1, t.nvarchar(128), _db_name),
    asks("ORIGINAL_DB_NAME", 0, 0, t.nvarchar(128), lambda c: c.database_name),
    asks("HAS_DBACCESS", 1, 1, t.INT, _has_access),
    asks("DATABASEPROPERTYEX", 2, 2, t.SQL_VARIANT, _property_ex),
    asks("DATABASEPROPERTY", 2, 2, t.INT, _property),
    asks("FILE_NAME", 1, 1, t.nvarchar(128), _file_name),
    asks("FILE_ID", 1, 1, t.SMALLINT, _file_id),
    asks("FILE_IDEX", 1, 1, t.INT, _file_id),
    asks("FILEPROPERTY", 2, 2, t.INT, _file_property),
    asks("FILEGROUP_NAME", 1, 1, t.nvarchar(128), lambda c, id_: "PRIMARY" if id_ == 1 else None),
    asks("FILEGROUP_ID", 1, 1, t.INT, lambda c, name: 1 if name.strip().lower() == "primary" else None),
)
