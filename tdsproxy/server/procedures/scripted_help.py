"""System procedures that only read the catalog, as T-SQL over its views: users, roles, locks, servers, and
what the agent is about."""

from __future__ import annotations

from typing import Final

_MISSING: Final = """
BEGIN
    RAISERROR('The name supplied (%s) is not a user, role, or aliased login.', 16, 1, {0})
    RETURN 1
END
"""
_HELP_USER: Final = f"""
CREATE PROCEDURE sp_helpuser @name_in_db sysname = NULL
AS
SET NOCOUNT ON
IF @name_in_db IS NOT NULL AND NOT EXISTS (SELECT * FROM sys.database_principals WHERE name = @name_in_db)
    {_MISSING.format("@name_in_db")}
SELECT u.name AS UserName, CAST(ISNULL(r.name, N'public') AS sysname) AS RoleName, l.name AS LoginName,
    l.default_database_name AS DefDBName, u.default_schema_name AS DefSchemaName,
    CAST(u.principal_id AS smallint) AS UserID, u.sid AS SID
FROM sys.database_principals u LEFT JOIN sys.database_role_members m ON m.member_principal_id = u.principal_id
    LEFT JOIN sys.database_principals r ON r.principal_id = m.role_principal_id
    LEFT JOIN sys.server_principals l ON l.sid = u.sid
WHERE u.type <> 'R' AND (@name_in_db IS NULL OR u.name = @name_in_db OR r.name = @name_in_db)
ORDER BY u.name, r.name
RETURN 0
"""
_HELP_ROLE: Final = """
CREATE PROCEDURE sp_helprole @rolename sysname = NULL
AS
SET NOCOUNT ON
IF @rolename IS NOT NULL
    AND NOT EXISTS (SELECT * FROM sys.database_principals WHERE name = @rolename AND type IN ('R', 'A'))
BEGIN
    RAISERROR('''%s'' is not a role.', 16, 1, @rolename)
    RETURN 1
END
SELECT name AS RoleName, principal_id AS RoleId, CASE type WHEN 'A' THEN 1 ELSE 0 END AS IsAppRole
FROM sys.database_principals WHERE type IN ('R', 'A') AND (@rolename IS NULL OR name = @rolename)
ORDER BY principal_id
RETURN 0
"""
_HELP_ROLE_MEMBER: Final = """
CREATE PROCEDURE sp_helprolemember @rolename sysname = NULL
AS
SET NOCOUNT ON
SELECT r.name AS DbRole, u.name AS MemberName, u.sid AS MemberSID
FROM sys.database_role_members m JOIN sys.database_principals r ON r.principal_id = m.role_principal_id
    JOIN sys.database_principals u ON u.principal_id = m.member_principal_id
WHERE @rolename IS NULL OR r.name = @rolename ORDER BY r.name, u.name
RETURN 0
"""
_HELP_SERVER_ROLE_MEMBER: Final = """
CREATE PROCEDURE sp_helpsrvrolemember @srvrolename sysname = NULL
AS
SET NOCOUNT ON
IF @srvrolename IS NOT NULL
    AND NOT EXISTS (SELECT * FROM sys.server_principals WHERE name = @srvrolename AND type = 'R')
BEGIN
    RAISERROR('''%s'' is not a known fixed role.', 16, 1, @srvrolename)
    RETURN 1
END
SELECT r.name AS ServerRole, u.name AS MemberName, u.sid AS MemberSID
FROM sys.server_role_members m JOIN sys.server_principals r ON r.principal_id = m.role_principal_id
    JOIN sys.server_principals u ON u.principal_id = m.member_principal_id
WHERE @srvrolename IS NULL OR r.name = @srvrolename ORDER BY r.name, u.name
RETURN 0
"""
_HELP_LOGINS: Final = """
CREATE PROCEDURE sp_helplogins @LoginNamePattern sysname = NULL
AS
SET NOCOUNT ON
DECLARE @name sysname, @text nvarchar(max)
CREATE TABLE #users (login sysname, db sysname, account sysname, kind char(8))
DECLARE each_database CURSOR LOCAL FAST_FORWARD FOR
    SELECT name FROM master.sys.databases WHERE state = 0 AND HAS_DBACCESS(name) = 1 ORDER BY database_id
OPEN each_database
FETCH NEXT FROM each_database INTO @name
WHILE @@FETCH_STATUS = 0
BEGIN
    SET @text = N'INSERT #users SELECT l.name, @db, u.name, ''User'' FROM ' + QUOTENAME(@name)
        + N'.sys.database_principals u JOIN master.sys.server_principals l ON l.sid = u.sid'
        + N' WHERE l.type <> ''R'' AND u.type <> ''R'' AND u.sid IS NOT NULL'
    EXEC sp_executesql @text, N'@db sysname', @db = @name
    SET @text = N'INSERT #users SELECT l.name, @db, r.name, ''MemberOf'' FROM ' + QUOTENAME(@name)
        + N'.sys.database_role_members m JOIN ' + QUOTENAME(@name)
        + N'.sys.database_principals u ON u.principal_id = m.member_principal_id JOIN ' + QUOTENAME(@name)
        + N'.sys.database_principals r ON r.principal_id = m.role_principal_id'
        + N' JOIN master.sys.server_principals l ON l.sid = u.sid WHERE u.sid IS NOT NULL'
    EXEC sp_executesql @text, N'@db sysname', @db = @name
    FETCH NEXT FROM each_database INTO @name
END
CLOSE each_database
DEALLOCATE each_database
SELECT l.name AS LoginName, CAST(l.sid AS varbinary(85)) AS SID, l.default_database_name AS DefDBName,
    l.default_language_name AS DefLangName,
    CAST(CASE WHEN EXISTS (SELECT * FROM #users u WHERE u.login = l.name) THEN 'yes' ELSE 'NO' END AS char(5))
        AS AUser,
    CAST('no' AS char(7)) AS ARemote
FROM master.sys.server_principals l WHERE l.type <> 'R'
    AND (@LoginNamePattern IS NULL OR l.name = @LoginNamePattern)
ORDER BY l.name
SELECT login AS LoginName, db AS DBName, account AS UserName, kind AS UserOrAlias FROM #users
WHERE @LoginNamePattern IS NULL OR login = @LoginNamePattern ORDER BY login, db, kind DESC, account
RETURN 0
"""
_HELP_SERVER: Final = """
CREATE PROCEDURE sp_helpserver @server sysname = NULL, @optname varchar(35) = NULL,
    @show_topology varchar(1) = NULL
AS
SET NOCOUNT ON
IF @server IS NOT NULL AND NOT EXISTS (SELECT * FROM master.sys.servers WHERE name = @server)
BEGIN
    RAISERROR('The server ''%s'' does not exist. Use sp_helpserver to show available servers.', 16, 1,
        @server)
    RETURN 1
END
SELECT name, CAST(data_source AS sysname) AS network_name,
    CAST('rpc,rpc out,use remote collation' AS varchar(70)) AS status, CAST(server_id AS char(4)) AS id,
    CAST(collation_name AS sysname) AS collation_name, connect_timeout, query_timeout
FROM master.sys.servers WHERE @server IS NULL OR name = @server ORDER BY name
RETURN 0
"""
_LOCK: Final = """
CREATE PROCEDURE sp_lock @spid1 int = NULL, @spid2 int = NULL
AS
SET NOCOUNT ON
SELECT CAST(request_session_id AS smallint) AS spid, CAST(resource_database_id AS smallint) AS dbid,
    CAST(CASE resource_type WHEN 'OBJECT' THEN resource_associated_entity_id ELSE 0 END AS int) AS ObjId,
    CAST(0 AS smallint) AS IndId,
    CAST(CASE resource_type WHEN 'DATABASE' THEN 'DB' WHEN 'OBJECT' THEN 'TAB' WHEN 'PAGE' THEN 'PAG'
        WHEN 'FILE' THEN 'FIL' WHEN 'APPLICATION' THEN 'APP' ELSE LEFT(resource_type, 3) END AS nchar(4))
        AS Type,
    CAST(resource_description AS nchar(32)) AS Resource, CAST(request_mode AS nvarchar(8)) AS Mode,
    CAST(request_status AS nvarchar(5)) AS Status
FROM sys.dm_tran_locks WHERE @spid1 IS NULL OR request_session_id IN (@spid1, @spid2)
ORDER BY 1, 2, 3, 4
RETURN 0
"""
_MONITOR: Final = """
CREATE PROCEDURE sp_monitor
AS
SET NOCOUNT ON
DECLARE @start datetime = (SELECT sqlserver_start_time FROM sys.dm_os_sys_info), @now datetime = GETDATE()
SELECT @start AS last_run, @now AS current_run, DATEDIFF(ss, @start, @now) AS seconds
SELECT CAST('0(0)-0%' AS varchar(26)) AS cpu_busy, CAST('0(0)-0%' AS varchar(26)) AS io_busy,
    CAST('0(0)-0%' AS varchar(26)) AS idle
SELECT CAST(CONCAT(@@PACK_RECEIVED, '(', @@PACK_RECEIVED, ')') AS varchar(26)) AS packets_received,
    CAST(CONCAT(@@PACK_SENT, '(', @@PACK_SENT, ')') AS varchar(26)) AS packets_sent,
    CAST(CONCAT(@@PACKET_ERRORS, '(', @@PACKET_ERRORS, ')') AS varchar(26)) AS packet_errors
SELECT CAST(CONCAT(@@TOTAL_READ, '(', @@TOTAL_READ, ')') AS varchar(26)) AS total_read,
    CAST(CONCAT(@@TOTAL_WRITE, '(', @@TOTAL_WRITE, ')') AS varchar(26)) AS total_write,
    CAST(CONCAT(@@TOTAL_ERRORS, '(', @@TOTAL_ERRORS, ')') AS varchar(26)) AS total_errors,
    CAST(CONCAT(@@CONNECTIONS, '(', @@CONNECTIONS, ')') AS varchar(26)) AS connections
RETURN 0
"""
_CHANGE_LOGIN: Final = """
CREATE PROCEDURE sp_change_users_login @Action varchar(10), @UserNamePattern sysname = NULL,
    @LoginName sysname = NULL, @Password sysname = NULL
AS
SET NOCOUNT ON
DECLARE @text nvarchar(max)
IF UPPER(@Action) = 'REPORT'
BEGIN
    SELECT name AS UserName, sid AS UserSID FROM sys.database_principals
    WHERE type = 'S' AND principal_id > 4 AND sid IS NOT NULL
        AND sid NOT IN (SELECT sid FROM master.sys.server_principals WHERE sid IS NOT NULL) ORDER BY name
    RETURN 0
END
IF UPPER(@Action) NOT IN ('UPDATE_ONE', 'AUTO_FIX')
BEGIN
    RAISERROR('Invalid value %s for the @Action parameter. Valid values are Report, Update_One and Auto_Fix.',
        16, 1, @Action)
    RETURN 1
END
SET @text = N'ALTER USER ' + QUOTENAME(@UserNamePattern) + N' WITH LOGIN = '
    + QUOTENAME(ISNULL(@LoginName, @UserNamePattern))
EXEC (@text)
RETURN @@ERROR
"""
_ENUMERATE_JOBS: Final = """
CREATE PROCEDURE xp_sqlagent_enum_jobs @is_sysadmin int, @job_owner sysname, @job_id uniqueidentifier = NULL
AS
SET NOCOUNT ON
SELECT j.job_id AS [Job ID], ISNULL(s.last_run_date, 0) AS [Last Run Date],
    ISNULL(s.last_run_time, 0) AS [Last Run Time],
    ISNULL((SELECT MIN(n.next_run_date) FROM msdb.dbo.sysjobschedules n
        WHERE n.job_id = j.job_id AND n.next_run_date > 0), 0) AS [Next Run Date],
    ISNULL((SELECT TOP 1 n.next_run_time FROM msdb.dbo.sysjobschedules n WHERE n.job_id = j.job_id
        AND n.next_run_date > 0 ORDER BY n.next_run_date, n.next_run_time), 0) AS [Next Run Time],
    ISNULL((SELECT TOP 1 n.schedule_id FROM msdb.dbo.sysjobschedules n WHERE n.job_id = j.job_id
        AND n.next_run_date > 0 ORDER BY n.next_run_date, n.next_run_time), 0) AS [Next Run Schedule ID],
    0 AS [Requested To Run], CASE WHEN a.job_id IS NULL THEN 0 ELSE 1 END AS [Request Source],
    CAST(NULL AS sysname) AS [Request Source ID], CASE WHEN a.job_id IS NULL THEN 0 ELSE 1 END AS [Running],
    ISNULL(a.last_executed_step_id, 0) AS [Current Step], 0 AS [Current Retry Attempt],
    CASE WHEN a.job_id IS NULL THEN 4 ELSE 1 END AS [State]
FROM msdb.dbo.sysjobs j LEFT JOIN msdb.dbo.sysjobservers s ON s.job_id = j.job_id
    LEFT JOIN msdb.dbo.sysjobactivity a ON a.job_id = j.job_id AND a.start_execution_date IS NOT NULL
        AND a.stop_execution_date IS NULL
        AND a.session_id = (SELECT MAX(session_id) FROM msdb.dbo.syssessions)
WHERE (@job_id IS NULL OR j.job_id = @job_id) AND (@is_sysadmin = 1 OR SUSER_SNAME(j.owner_sid) = @job_owner)
ORDER BY j.job_id
RETURN 0
"""

TEXTS: Final[dict[str, str]] = {
    "sp_helpuser": _HELP_USER,
    "sp_helprole": _HELP_ROLE,
    "sp_helprolemember": _HELP_ROLE_MEMBER,
    "sp_helpsrvrolemember": _HELP_SERVER_ROLE_MEMBER,
    "sp_helplogins": _HELP_LOGINS,
    "sp_helpserver": _HELP_SERVER,
    "sp_lock": _LOCK,
    "sp_monitor": _MONITOR,
    "sp_change_users_login": _CHANGE_LOGIN,
    "xp_sqlagent_enum_jobs": _ENUMERATE_JOBS,
}
"""By lower-case name."""
