"""System procedures that tell of a table's constraints, triggers and statistics, of filegroups, and of what
the server speaks, as T-SQL over the catalog."""

from __future__ import annotations

from typing import Final

_FOUND: Final = """
DECLARE @id int = OBJECT_ID({0}), @database sysname = DB_NAME()
IF @id IS NULL
BEGIN
    RAISERROR(15009, -1, -1, {0}, @database)
    RETURN 1
END
"""
_HELP_CONSTRAINT: Final = f"""
CREATE PROCEDURE sp_helpconstraint @objname nvarchar(776), @nomsg varchar(5) = 'msg'
AS
SET NOCOUNT ON
{_FOUND.format("@objname")}
IF @nomsg <> 'nomsg' SELECT @objname AS [Object Name]
DECLARE @found TABLE (place int IDENTITY, id int, constraint_type nvarchar(146),
    constraint_name nvarchar(128), delete_action nvarchar(11), update_action nvarchar(11),
    status_enabled varchar(8), status_for_replication varchar(19), constraint_keys nvarchar(2126))
INSERT @found
SELECT c.object_id, N'CHECK ' + CASE WHEN c.parent_column_id = 0 THEN N'Table Level '
        ELSE N'on column ' + COL_NAME(@id, c.parent_column_id) END, c.name, N'(n/a)', N'(n/a)',
    CASE c.is_disabled WHEN 0 THEN 'Enabled' ELSE 'Disabled' END,
    CASE c.is_not_for_replication WHEN 0 THEN 'Is_For_Replication' ELSE 'Not_For_Replication' END,
    c.definition
FROM sys.check_constraints c WHERE c.parent_object_id = @id
INSERT @found
SELECT d.object_id, N'DEFAULT on column ' + COL_NAME(@id, d.parent_column_id), d.name, N'(n/a)', N'(n/a)',
    '(n/a)', '(n/a)', d.definition
FROM sys.default_constraints d WHERE d.parent_object_id = @id
INSERT @found
SELECT k.object_id, CASE k.type WHEN 'PK' THEN N'PRIMARY KEY ' ELSE N'UNIQUE ' END
        + CASE i.type WHEN 1 THEN N'(clustered)' ELSE N'(non-clustered)' END, k.name, N'(n/a)', N'(n/a)',
    '(n/a)', '(n/a)', (SELECT STRING_AGG(COL_NAME(@id, x.column_id)
        + CASE x.is_descending_key WHEN 1 THEN N'(-)' ELSE N'' END, N', ')
            WITHIN GROUP (ORDER BY x.key_ordinal)
        FROM sys.index_columns x WHERE x.object_id = @id AND x.index_id = i.index_id AND x.key_ordinal > 0)
FROM sys.key_constraints k JOIN sys.indexes i ON i.object_id = k.parent_object_id
    AND i.index_id = k.unique_index_id
WHERE k.parent_object_id = @id
INSERT @found
SELECT f.object_id, N'FOREIGN KEY', f.name,
    CASE f.delete_referential_action WHEN 0 THEN N'No Action' WHEN 1 THEN N'Cascade' WHEN 2 THEN N'Set Null'
        ELSE N'Set Default' END,
    CASE f.update_referential_action WHEN 0 THEN N'No Action' WHEN 1 THEN N'Cascade' WHEN 2 THEN N'Set Null'
        ELSE N'Set Default' END,
    CASE f.is_disabled WHEN 0 THEN 'Enabled' ELSE 'Disabled' END,
    CASE f.is_not_for_replication WHEN 0 THEN 'Is_For_Replication' ELSE 'Not_For_Replication' END,
    (SELECT STRING_AGG(COL_NAME(@id, x.parent_column_id), N', ')
            WITHIN GROUP (ORDER BY x.constraint_column_id)
        FROM sys.foreign_key_columns x WHERE x.constraint_object_id = f.object_id)
FROM sys.foreign_keys f WHERE f.parent_object_id = @id
INSERT @found
SELECT f.object_id, N' ', N' ', N' ', N' ', ' ', ' ',
    N'REFERENCES ' + @database + N'.' + OBJECT_SCHEMA_NAME(f.referenced_object_id) + N'.'
    + OBJECT_NAME(f.referenced_object_id) + N' ('
    + (SELECT STRING_AGG(COL_NAME(f.referenced_object_id, x.referenced_column_id), N', ')
            WITHIN GROUP (ORDER BY x.constraint_column_id)
        FROM sys.foreign_key_columns x WHERE x.constraint_object_id = f.object_id) + N')'
FROM sys.foreign_keys f WHERE f.parent_object_id = @id
IF EXISTS (SELECT * FROM @found)
    SELECT o.constraint_type, o.constraint_name, o.delete_action, o.update_action, o.status_enabled,
        o.status_for_replication, o.constraint_keys
    FROM @found o ORDER BY OBJECT_NAME(o.id), o.place
ELSE IF @nomsg <> 'nomsg'
    RAISERROR(15469, -1, -1, @objname)
IF EXISTS (SELECT * FROM sys.foreign_keys WHERE referenced_object_id = @id)
    SELECT @database + N'.' + OBJECT_SCHEMA_NAME(f.parent_object_id) + N'.' + OBJECT_NAME(f.parent_object_id)
        + N': ' + f.name AS [Table is referenced by foreign key]
    FROM sys.foreign_keys f WHERE f.referenced_object_id = @id ORDER BY 1
ELSE IF @nomsg <> 'nomsg'
    RAISERROR(15470, -1, -1, @objname)
RETURN 0
"""
_HELP_TRIGGER: Final = f"""
CREATE PROCEDURE sp_helptrigger @tabname nvarchar(776), @triggertype char(6) = NULL
AS
SET NOCOUNT ON
{_FOUND.format("@tabname")}
IF @triggertype IS NOT NULL AND @triggertype NOT IN ('UPDATE', 'DELETE', 'INSERT')
BEGIN
    RAISERROR(15305, -1, -1)
    RETURN 1
END
SELECT t.name AS trigger_name, USER_NAME(OBJECTPROPERTY(t.object_id, 'OwnerId')) AS trigger_owner,
    OBJECTPROPERTY(t.object_id, 'ExecIsUpdateTrigger') AS isupdate,
    OBJECTPROPERTY(t.object_id, 'ExecIsDeleteTrigger') AS isdelete,
    OBJECTPROPERTY(t.object_id, 'ExecIsInsertTrigger') AS isinsert,
    OBJECTPROPERTY(t.object_id, 'ExecIsAfterTrigger') AS isafter,
    OBJECTPROPERTY(t.object_id, 'ExecIsInsteadOfTrigger') AS isinsteadof,
    OBJECT_SCHEMA_NAME(t.object_id) AS trigger_schema
FROM sys.triggers t
WHERE t.parent_id = @id AND (@triggertype IS NULL
    OR OBJECTPROPERTY(t.object_id, 'ExecIs' + RTRIM(@triggertype) + 'Trigger') = 1)
RETURN 0
"""
_HELP_STATS: Final = f"""
CREATE PROCEDURE sp_helpstats @objname nvarchar(776), @results nvarchar(5) = 'STATS'
AS
SET NOCOUNT ON
{_FOUND.format("@objname")}
IF EXISTS (SELECT * FROM sys.stats s LEFT JOIN sys.indexes i ON i.object_id = s.object_id
    AND i.index_id = s.stats_id WHERE s.object_id = @id AND (i.index_id IS NULL OR @results = 'ALL'))
    SELECT s.name AS statistics_name, (SELECT STRING_AGG(COL_NAME(@id, c.column_id), N', ')
            WITHIN GROUP (ORDER BY c.stats_column_id)
        FROM sys.stats_columns c WHERE c.object_id = @id AND c.stats_id = s.stats_id) AS statistics_keys
    FROM sys.stats s LEFT JOIN sys.indexes i ON i.object_id = s.object_id AND i.index_id = s.stats_id
    WHERE s.object_id = @id AND (i.index_id IS NULL OR @results = 'ALL') ORDER BY s.stats_id
ELSE
    PRINT 'This object does not have any statistics'
        + CASE @results WHEN 'ALL' THEN ' or indexes.' ELSE '.' END
RETURN 0
"""
_HELP_FILEGROUP: Final = """
CREATE PROCEDURE sp_helpfilegroup @filegroupname sysname = NULL
AS
SET NOCOUNT ON
SELECT g.name AS groupname, CAST(g.data_space_id AS smallint) AS groupid,
    (SELECT COUNT(*) FROM sys.database_files f WHERE f.data_space_id = g.data_space_id) AS filecount
FROM sys.filegroups g WHERE @filegroupname IS NULL OR g.name = @filegroupname ORDER BY g.data_space_id
IF @filegroupname IS NOT NULL
    SELECT f.name AS file_in_group, CAST(f.file_id AS smallint) AS fileid, f.physical_name AS filename,
        CONVERT(nvarchar(15), f.size * 8) + N' KB' AS size,
        CASE f.max_size WHEN -1 THEN N'Unlimited' ELSE CONVERT(nvarchar(15), CAST(f.max_size AS bigint) * 8)
            + N' KB' END AS maxsize,
        CASE f.is_percent_growth WHEN 1 THEN CONVERT(nvarchar(15), f.growth) + N'%'
            ELSE CONVERT(nvarchar(15), f.growth * 8) + N' KB' END AS growth
    FROM sys.database_files f JOIN sys.filegroups g ON g.data_space_id = f.data_space_id
    WHERE g.name = @filegroupname ORDER BY f.file_id
RETURN 0
"""
_HELP_SERVER_ROLE: Final = """
CREATE PROCEDURE sp_helpsrvrole @srvrolename sysname = NULL
AS
SET NOCOUNT ON
DECLARE @roles TABLE (place int, ServerRole sysname, Description sysname)
INSERT @roles VALUES (1, 'sysadmin', 'System Administrators'),
    (2, 'securityadmin', 'Security Administrators'),
    (3, 'serveradmin', 'Server Administrators'), (4, 'setupadmin', 'Setup Administrators'),
    (5, 'processadmin', 'Process Administrators'), (6, 'diskadmin', 'Disk Administrators'),
    (7, 'dbcreator', 'Database Creators'), (8, 'bulkadmin', 'Bulk Insert Administrators')
IF @srvrolename IS NOT NULL AND NOT EXISTS (SELECT * FROM @roles WHERE ServerRole = @srvrolename)
BEGIN
    RAISERROR(15412, -1, -1, @srvrolename)
    RETURN 1
END
SELECT ServerRole, Description FROM @roles
WHERE @srvrolename IS NULL OR ServerRole = @srvrolename ORDER BY place
RETURN 0
"""
_HELP_LANGUAGE: Final = """
CREATE PROCEDURE sp_helplanguage @language sysname = NULL
AS
SET NOCOUNT ON
SELECT langid, dateformat, datefirst, upgrade, name, alias, months, shortmonths, days, lcid, msglangid
FROM sys.syslanguages WHERE @language IS NULL OR name = @language OR alias = @language ORDER BY langid
RETURN 0
"""
_HELP_SORT: Final = """
CREATE PROCEDURE sp_helpsort
AS
SET NOCOUNT ON
SELECT description AS [Server default collation] FROM sys.fn_helpcollations()
WHERE name = CONVERT(sysname, SERVERPROPERTY('Collation'))
RETURN 0
"""
_LINKED_SERVERS: Final = """
CREATE PROCEDURE sp_linkedservers
AS
SET NOCOUNT ON
SELECT name AS SRV_NAME, provider AS SRV_PROVIDERNAME, product AS SRV_PRODUCT, data_source AS SRV_DATASOURCE,
    provider_string AS SRV_PROVIDERSTRING, location AS SRV_LOCATION, catalog AS SRV_CAT
FROM sys.servers ORDER BY 1
RETURN 0
"""

TEXTS: Final[dict[str, str]] = {
    "sp_helpconstraint": _HELP_CONSTRAINT,
    "sp_helptrigger": _HELP_TRIGGER,
    "sp_helpstats": _HELP_STATS,
    "sp_helpfilegroup": _HELP_FILEGROUP,
    "sp_helpsrvrole": _HELP_SERVER_ROLE,
    "sp_helplanguage": _HELP_LANGUAGE,
    "sp_helpsort": _HELP_SORT,
    "sp_linkedservers": _LINKED_SERVERS,
}
"""By lower-case name."""
