"""System procedures that are T-SQL themselves: they run in the caller's database, as all in master do."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from tdsproxy.server.procedures.scripted_help import TEXTS as HELP
from tdsproxy.server.procedures.scripted_objects import TEXTS as OBJECTS
from tdsproxy.tsql import ast
from tdsproxy.tsql.evaluator import StoredProcedure
from tdsproxy.tsql.parser import parse

_EACH_DATABASE: Final = """
CREATE PROCEDURE sp_MSforeachdb @command1 nvarchar(2000), @replacechar nchar(1) = N'?',
    @command2 nvarchar(2000) = NULL, @command3 nvarchar(2000) = NULL, @precommand nvarchar(2000) = NULL,
    @postcommand nvarchar(2000) = NULL
AS
DECLARE @name sysname, @text nvarchar(max)
IF @precommand IS NOT NULL EXEC (@precommand)
DECLARE each_database CURSOR LOCAL FAST_FORWARD FOR
    SELECT name FROM master.sys.databases WHERE state = 0 AND HAS_DBACCESS(name) = 1 ORDER BY database_id
OPEN each_database
FETCH NEXT FROM each_database INTO @name
WHILE @@FETCH_STATUS = 0
BEGIN
    SET @text = REPLACE(@command1, @replacechar, @name)
    EXEC (@text)
    SET @text = REPLACE(@command2, @replacechar, @name)
    IF @text IS NOT NULL EXEC (@text)
    SET @text = REPLACE(@command3, @replacechar, @name)
    IF @text IS NOT NULL EXEC (@text)
    FETCH NEXT FROM each_database INTO @name
END
CLOSE each_database
DEALLOCATE each_database
IF @postcommand IS NOT NULL EXEC (@postcommand)
RETURN 0
"""
_EACH_TABLE: Final = """
CREATE PROCEDURE sp_MSforeachtable @command1 nvarchar(2000), @replacechar nchar(1) = N'?',
    @command2 nvarchar(2000) = NULL, @command3 nvarchar(2000) = NULL, @whereand nvarchar(2000) = NULL,
    @precommand nvarchar(2000) = NULL, @postcommand nvarchar(2000) = NULL
AS
DECLARE @name nvarchar(517), @text nvarchar(max)
CREATE TABLE #tables (name nvarchar(517))
SET @text = N'INSERT #tables SELECT QUOTENAME(SCHEMA_NAME(o.schema_id)) + ''.'' + QUOTENAME(o.name)'
    + N' FROM sys.objects o WHERE o.type = ''U'' ' + ISNULL(@whereand, N'') + N' ORDER BY o.object_id'
EXEC (@text)
IF @precommand IS NOT NULL EXEC (@precommand)
DECLARE each_table CURSOR LOCAL FAST_FORWARD FOR SELECT name FROM #tables
OPEN each_table
FETCH NEXT FROM each_table INTO @name
WHILE @@FETCH_STATUS = 0
BEGIN
    SET @text = REPLACE(@command1, @replacechar, @name)
    EXEC (@text)
    SET @text = REPLACE(@command2, @replacechar, @name)
    IF @text IS NOT NULL EXEC (@text)
    SET @text = REPLACE(@command3, @replacechar, @name)
    IF @text IS NOT NULL EXEC (@text)
    FETCH NEXT FROM each_table INTO @name
END
CLOSE each_table
DEALLOCATE each_table
IF @postcommand IS NOT NULL EXEC (@postcommand)
RETURN 0
"""
_HELP_INDEX: Final = """
CREATE PROCEDURE sp_helpindex @objname nvarchar(776)
AS
IF OBJECT_ID(@objname) IS NULL
BEGIN
    DECLARE @database sysname = DB_NAME()
    RAISERROR('The object ''%s'' does not exist in database ''%s'' or is invalid for this operation.', 16, 1,
        @objname, @database)
    RETURN 1
END
SELECT i.name AS index_name,
    CAST(LOWER(i.type_desc) + CASE WHEN i.is_unique = 1 THEN ', unique' ELSE '' END
        + CASE WHEN i.is_primary_key = 1 THEN ', primary key' WHEN i.is_unique_constraint = 1
            THEN ', unique key' ELSE '' END + ' located on PRIMARY' AS varchar(210)) AS index_description,
    CAST(STUFF((SELECT ', ' + COL_NAME(c.object_id, c.column_id)
            + CASE WHEN c.is_descending_key = 1 THEN '(-)' ELSE '' END
        FROM sys.index_columns c
        WHERE c.object_id = i.object_id AND c.index_id = i.index_id AND c.key_ordinal > 0
        ORDER BY c.key_ordinal FOR XML PATH('')), 1, 2, '') AS nvarchar(2078)) AS index_keys
FROM sys.indexes i WHERE i.object_id = OBJECT_ID(@objname) AND i.index_id > 0 ORDER BY i.name
RETURN 0
"""


def _statement(name: str, parameters: str, expression: str) -> str:
    """A procedure that runs one statement made of its arguments."""
    return (
        f"CREATE PROCEDURE {name} {parameters} AS DECLARE @text nvarchar(max) = {expression} EXEC (@text)"
        " RETURN 0"
    )


def _nothing(name: str, parameters: str = "") -> str:
    """A procedure about what does not exist here: it succeeds."""
    return f"CREATE PROCEDURE {name} {parameters} AS RETURN 0"


_OPTIONAL: Final = ", ".join(f"@p{number} sql_variant = NULL" for number in range(12))
_TEXTS: Final[dict[str, str]] = {
    "sp_msforeachdb": _EACH_DATABASE,
    "sp_msforeachtable": _EACH_TABLE,
    "sp_helpindex": _HELP_INDEX,
    **HELP,
    **OBJECTS,
    "sp_addrolemember": _statement(
        "sp_addrolemember",
        "@rolename sysname, @membername sysname",
        "N'ALTER ROLE ' + QUOTENAME(@rolename) + N' ADD MEMBER ' + QUOTENAME(@membername)",
    ),
    "sp_droprolemember": _statement(
        "sp_droprolemember",
        "@rolename sysname, @membername sysname",
        "N'ALTER ROLE ' + QUOTENAME(@rolename) + N' DROP MEMBER ' + QUOTENAME(@membername)",
    ),
    "sp_addsrvrolemember": _statement(
        "sp_addsrvrolemember",
        "@loginame sysname, @rolename sysname",
        "N'ALTER SERVER ROLE ' + QUOTENAME(@rolename) + N' ADD MEMBER ' + QUOTENAME(@loginame)",
    ),
    "sp_dropsrvrolemember": _statement(
        "sp_dropsrvrolemember",
        "@loginame sysname, @rolename sysname",
        "N'ALTER SERVER ROLE ' + QUOTENAME(@rolename) + N' DROP MEMBER ' + QUOTENAME(@loginame)",
    ),
    "sp_adduser": _statement(
        "sp_adduser",
        "@loginame sysname, @name_in_db sysname = NULL",
        "N'CREATE USER ' + QUOTENAME(ISNULL(@name_in_db, @loginame)) + N' FOR LOGIN ' + QUOTENAME(@loginame)",
    ),
    "sp_grantdbaccess": _statement(
        "sp_grantdbaccess",
        "@loginame sysname, @name_in_db sysname = NULL",
        "N'CREATE USER ' + QUOTENAME(ISNULL(@name_in_db, @loginame)) + N' FOR LOGIN ' + QUOTENAME(@loginame)",
    ),
    "sp_dropuser": _statement("sp_dropuser", "@name_in_db sysname", "N'DROP USER ' + QUOTENAME(@name_in_db)"),
    "sp_revokedbaccess": _statement(
        "sp_revokedbaccess", "@name_in_db sysname", "N'DROP USER ' + QUOTENAME(@name_in_db)"
    ),
    "sp_renamedb": _statement(
        "sp_renamedb",
        "@dbname sysname, @newname sysname",
        "N'ALTER DATABASE ' + QUOTENAME(@dbname) + N' MODIFY NAME = ' + QUOTENAME(@newname)",
    ),
    "sp_changedbowner": _statement(
        "sp_changedbowner",
        "@loginame sysname, @map varchar(5) = NULL",
        "N'ALTER AUTHORIZATION ON DATABASE::' + QUOTENAME(DB_NAME()) + N' TO ' + QUOTENAME(@loginame)",
    ),
    "sp_purge_jobhistory": (
        "CREATE PROCEDURE sp_purge_jobhistory @job_name sysname = NULL, @job_id uniqueidentifier = NULL,"
        " @oldest_date datetime = NULL AS RAISERROR('0 history entries purged.', 0, 1) RETURN 0"
    ),
    "sp_maintplan_delete_log": _nothing(
        "sp_maintplan_delete_log",
        "@plan_id uniqueidentifier = NULL, @subplan_id uniqueidentifier = NULL, @oldest_time datetime = NULL",
    ),
    **{
        name: _nothing(name, _OPTIONAL)
        for name in (
            *("sp_recompile", "sp_updatestats", "sp_createstats", "sp_autostats", "sp_refreshview"),
            *("sp_refreshsqlmodule", "sp_tableoption", "sp_indexoption", "sp_procoption"),
            *("sp_db_vardecimal_storage_format", "sp_validatelogins"),
        )
    },
    "sp_fulltext_database": _nothing("sp_fulltext_database", "@action varchar(20) = NULL"),
}


def scripted_procedure(name: str, schema: str | None) -> StoredProcedure | None:
    """The procedure called ``name``; ``schema`` may be sys, dbo or none."""
    text = _TEXTS.get(name.lower())
    if text is None or (schema or "").lower() not in ("", "sys", "dbo"):
        return None
    definition = _parsed(text)
    return StoredProcedure(definition.name.object, definition.parameters, definition.body, 0, text)


@lru_cache(maxsize=64)
def _parsed(text: str) -> ast.CreateProcedure:
    statement = parse(text).statements[0]
    if not isinstance(statement, ast.CreateProcedure):
        raise TypeError("a system procedure's text holds another statement")
    return statement
