SET ANSI_NULLS ON
GO
SET QUOTED_IDENTIFIER ON
GO
IF NOT EXISTS (SELECT * FROM sys.objects WHERE object_id = OBJECT_ID(N'[dbo].[JobLine]') AND type in (N'U'))
BEGIN
CREATE TABLE [dbo].[JobLine](
  [ID] int IDENTITY(1,1) NOT NULL CONSTRAINT [PK_JobLine] PRIMARY KEY CLUSTERED,
  [Target] sysname NULL, [Schema] sysname NULL, [Extra] xml NULL,
  [Command] nvarchar(max) NOT NULL, [Kind] nvarchar(60) NOT NULL,
  [StartTime] datetime2(7) NOT NULL, [EndTime] datetime2(7) NULL,
  [ErrorNumber] int NULL, [ErrorMessage] nvarchar(max) NULL)
END
GO
IF NOT EXISTS (SELECT * FROM sys.objects WHERE object_id = OBJECT_ID(N'[dbo].[RunOne]') AND type in (N'P', N'PC'))
BEGIN
EXEC dbo.sp_executesql @statement = N'CREATE PROCEDURE [dbo].[RunOne] AS'
END
GO
ALTER PROCEDURE [dbo].[RunOne]
@DatabaseContext nvarchar(max),
@Command nvarchar(max),
@CommandType nvarchar(max),
@Mode int,
@Comment nvarchar(max) = NULL,
@Execute nvarchar(max) = 'Y',
@Log nvarchar(max)
AS
BEGIN
  --// Version: 2026-01-02 03:04:05 //--
  SET NOCOUNT ON
  DECLARE @StartMessage nvarchar(max), @EndMessage nvarchar(max), @ErrorMessage nvarchar(max), @ErrorMessageOriginal nvarchar(max), @Severity int
  DECLARE @Errors TABLE (ID int IDENTITY PRIMARY KEY, [Message] nvarchar(max) NOT NULL, Severity int NOT NULL, [State] int)
  DECLARE @CurrentMessage nvarchar(max), @CurrentSeverity int, @CurrentState int
  DECLARE @sp_executesql nvarchar(max) = QUOTENAME(@DatabaseContext) + '.sys.sp_executesql'
  DECLARE @StartTime datetime2, @EndTime datetime2, @ID int, @Error int = 0, @ReturnCode int = 0
  DECLARE @EmptyLine nvarchar(max) = CHAR(9)
  IF NOT (SELECT [compatibility_level] FROM sys.databases WHERE [name] = DB_NAME()) >= 90
  BEGIN
    INSERT INTO @Errors ([Message], Severity, [State])
    SELECT 'The database ' + QUOTENAME(DB_NAME()) + ' has to be in compatibility level 90 or higher.', 16, 1
  END
  IF NOT (SELECT uses_ansi_nulls FROM sys.sql_modules WHERE [object_id] = @@PROCID) = 1
    INSERT INTO @Errors ([Message], Severity, [State]) SELECT 'ANSI_NULLS has to be set to ON for the stored procedure.', 16, 1
  IF NOT (SELECT uses_quoted_identifier FROM sys.sql_modules WHERE [object_id] = @@PROCID) = 1
    INSERT INTO @Errors ([Message], Severity, [State]) SELECT 'QUOTED_IDENTIFIER has to be set to ON.', 16, 1
  IF @Log = 'Y' AND NOT EXISTS (SELECT * FROM sys.objects objects INNER JOIN sys.schemas schemas ON objects.[schema_id] = schemas.[schema_id] WHERE objects.[type] = 'U' AND schemas.[name] = 'dbo' AND objects.[name] = 'JobLine')
    INSERT INTO @Errors ([Message], Severity, [State]) SELECT 'The table JobLine is missing.', 16, 1
  IF @DatabaseContext IS NULL OR NOT EXISTS (SELECT * FROM sys.databases WHERE name = @DatabaseContext)
    INSERT INTO @Errors ([Message], Severity, [State]) SELECT 'The value for the parameter @DatabaseContext is not supported.', 16, 1
  DECLARE ErrorCursor CURSOR FAST_FORWARD FOR SELECT [Message], Severity, [State] FROM @Errors ORDER BY [ID] ASC
  OPEN ErrorCursor
  FETCH ErrorCursor INTO @CurrentMessage, @CurrentSeverity, @CurrentState
  WHILE @@FETCH_STATUS = 0
  BEGIN
    RAISERROR('%s', @CurrentSeverity, @CurrentState, @CurrentMessage) WITH NOWAIT
    RAISERROR(@EmptyLine, 10, 1) WITH NOWAIT
    FETCH NEXT FROM ErrorCursor INTO @CurrentMessage, @CurrentSeverity, @CurrentState
  END
  CLOSE ErrorCursor
  DEALLOCATE ErrorCursor
  IF EXISTS (SELECT * FROM @Errors WHERE Severity >= 16)
  BEGIN
    SET @ReturnCode = 50000
    GOTO ReturnCode
  END
  SET @StartTime = SYSDATETIME()
  SET @StartMessage = 'Date and time: ' + CONVERT(nvarchar, @StartTime, 120)
  RAISERROR('%s', 10, 1, @StartMessage) WITH NOWAIT
  SET @StartMessage = 'Database context: ' + QUOTENAME(@DatabaseContext)
  RAISERROR('%s', 10, 1, @StartMessage) WITH NOWAIT
  SET @StartMessage = 'Command: ' + @Command
  RAISERROR('%s', 10, 1, @StartMessage) WITH NOWAIT
  IF @Comment IS NOT NULL BEGIN SET @StartMessage = 'Comment: ' + @Comment RAISERROR('%s', 10, 1, @StartMessage) WITH NOWAIT END
  IF @Log = 'Y'
  BEGIN
    INSERT INTO dbo.JobLine ([Target], [Schema], Extra, Command, Kind, StartTime)
    VALUES (@DatabaseContext, 'dbo', (SELECT @Mode AS Mode, @Comment AS [Note] FOR XML RAW('Info'), ELEMENTS), @Command, @CommandType, @StartTime)
  END
  SET @ID = SCOPE_IDENTITY()
  IF @Mode = 1 AND @Execute = 'Y'
  BEGIN
    EXECUTE @sp_executesql @stmt = @Command
    SET @Error = @@ERROR
    SET @ReturnCode = @Error
  END
  IF @Mode = 2 AND @Execute = 'Y'
  BEGIN
    BEGIN TRY
      EXECUTE @sp_executesql @stmt = @Command
    END TRY
    BEGIN CATCH
      SET @Error = ERROR_NUMBER()
      SET @ErrorMessageOriginal = ERROR_MESSAGE()
      SET @ErrorMessage = 'Msg ' + CAST(ERROR_NUMBER() AS nvarchar) + ', ' + ISNULL(ERROR_MESSAGE(),'')
      SET @Severity = CASE WHEN ERROR_NUMBER() IN(1205,1222) THEN 10 ELSE 16 END
      RAISERROR('%s', @Severity, 1, @ErrorMessage) WITH NOWAIT
      IF NOT (ERROR_NUMBER() IN(1205,1222)) SET @ReturnCode = ERROR_NUMBER()
    END CATCH
  END
  SET @EndTime = SYSDATETIME()
  SET @EndMessage = 'Outcome: ' + CASE WHEN @Execute = 'N' THEN 'Not Executed' WHEN @Error = 0 THEN 'Succeeded' ELSE 'Failed' END
  RAISERROR('%s', 10, 1, @EndMessage) WITH NOWAIT
  SET @EndMessage = 'Duration: ' + CASE WHEN (DATEDIFF(SECOND,@StartTime,@EndTime) / (24 * 3600)) > 0 THEN CAST((DATEDIFF(SECOND,@StartTime,@EndTime) / (24 * 3600)) AS nvarchar) + '.' ELSE '' END + CONVERT(nvarchar,DATEADD(SECOND,DATEDIFF(SECOND,@StartTime,@EndTime),'1900-01-01'),108)
  RAISERROR('%s', 10, 1, @EndMessage) WITH NOWAIT
  RAISERROR(@EmptyLine, 10, 1) WITH NOWAIT
  IF @Log = 'Y'
    UPDATE dbo.JobLine SET EndTime = @EndTime, ErrorNumber = CASE WHEN @Execute = 'N' THEN NULL ELSE @Error END, ErrorMessage = @ErrorMessageOriginal WHERE ID = @ID
  ReturnCode:
  IF @ReturnCode <> 0
  BEGIN
    RETURN @ReturnCode
  END
END
GO
DECLARE @rc int
EXECUTE @rc = dbo.RunOne @DatabaseContext = 'xdb', @Command = N'SELECT DB_NAME() AS d', @CommandType = 'QUERY', @Mode = 1, @Log = 'Y'
PRINT @rc
EXECUTE @rc = dbo.RunOne @DatabaseContext = 'master', @Command = N'RAISERROR(''boom'',16,1)', @CommandType = 'QUERY', @Mode = 2, @Log = 'Y', @Comment='c'
PRINT @rc
EXECUTE @rc = dbo.RunOne @DatabaseContext = 'nope', @Command = N'x', @CommandType = 'QUERY', @Mode = 2, @Log = 'Y'
PRINT @rc
SELECT Target, CAST(Extra AS nvarchar(max)) x, Kind, ErrorNumber, ErrorMessage, DB_NAME() FROM dbo.JobLine
GO
DECLARE @Databases nvarchar(max) = 'USER_DATABASES, %x%, -mod[_]el, [m]aster ,SYSTEM_DATABASES;-tempdb'
DECLARE @Selected TABLE (DatabaseName nvarchar(max), DatabaseType nvarchar(max), AvailabilityGroup nvarchar(max), StartPosition int, Selected bit)
DECLARE @tmp TABLE (ID int IDENTITY, DatabaseName nvarchar(max), DatabaseType nvarchar(max), [Snapshot] bit, StartPosition int, DatabaseSize bigint, [Order] int, Selected bit, Completed bit, PRIMARY KEY(Selected, Completed, [Order], ID))
SET @Databases = REPLACE(@Databases, CHAR(10), '')
WHILE CHARINDEX(', ', @Databases) > 0 SET @Databases = REPLACE(@Databases, ', ', ',')
WHILE CHARINDEX(' ,', @Databases) > 0 SET @Databases = REPLACE(@Databases, ' ,', ',')
SET @Databases = REPLACE(LTRIM(RTRIM(@Databases)), ';', ',');
WITH Databases1 (StartPosition, EndPosition, DatabaseItem) AS
(
SELECT 1 AS StartPosition, ISNULL(NULLIF(CHARINDEX(',', @Databases, 1), 0), LEN(@Databases) + 1) AS EndPosition, SUBSTRING(@Databases, 1, ISNULL(NULLIF(CHARINDEX(',', @Databases, 1), 0), LEN(@Databases) + 1) - 1) AS DatabaseItem
WHERE @Databases IS NOT NULL
UNION ALL
SELECT CAST(EndPosition AS int) + 1 AS StartPosition, ISNULL(NULLIF(CHARINDEX(',', @Databases, EndPosition + 1), 0), LEN(@Databases) + 1) AS EndPosition, SUBSTRING(@Databases, EndPosition + 1, ISNULL(NULLIF(CHARINDEX(',', @Databases, EndPosition + 1), 0), LEN(@Databases) + 1) - EndPosition - 1) AS DatabaseItem
FROM Databases1 WHERE EndPosition < LEN(@Databases) + 1
),
Databases2 (DatabaseItem, StartPosition, Selected) AS
(
SELECT CASE WHEN DatabaseItem LIKE '-%' THEN RIGHT(DatabaseItem,LEN(DatabaseItem) - 1) ELSE DatabaseItem END AS DatabaseItem, StartPosition, CASE WHEN DatabaseItem LIKE '-%' THEN 0 ELSE 1 END AS Selected FROM Databases1
),
Databases3 (DatabaseItem, DatabaseType, StartPosition, Selected) AS
(
SELECT CASE WHEN DatabaseItem IN('ALL_DATABASES','SYSTEM_DATABASES','USER_DATABASES') THEN '%' ELSE DatabaseItem END, CASE WHEN DatabaseItem = 'SYSTEM_DATABASES' THEN 'S' WHEN DatabaseItem = 'USER_DATABASES' THEN 'U' ELSE NULL END, StartPosition, Selected FROM Databases2
)
INSERT INTO @Selected (DatabaseName, DatabaseType, StartPosition, Selected)
SELECT CASE WHEN LEFT(DatabaseItem,1) = '[' AND RIGHT(DatabaseItem,1) = ']' THEN PARSENAME(DatabaseItem,1) ELSE DatabaseItem END AS DatabaseItem, DatabaseType, StartPosition, Selected FROM Databases3 OPTION (MAXRECURSION 0)
SELECT * FROM @Selected
INSERT INTO @tmp (DatabaseName, DatabaseType, [Snapshot], [Order], Selected, Completed)
SELECT [name], CASE WHEN name IN('master','msdb','model') OR is_distributor = 1 THEN 'S' ELSE 'U' END, CASE WHEN source_database_id IS NOT NULL THEN 1 ELSE 0 END, 0, 0, 0
FROM sys.databases WHERE [name] <> 'tempdb' AND source_database_id IS NULL ORDER BY [name] ASC
UPDATE t SET t.Selected = s.Selected FROM @tmp t INNER JOIN @Selected s ON t.DatabaseName LIKE REPLACE(s.DatabaseName,'_','[_]') AND (t.DatabaseType = s.DatabaseType OR s.DatabaseType IS NULL) WHERE s.Selected = 1
UPDATE t SET t.Selected = s.Selected FROM @tmp t INNER JOIN @Selected s ON t.DatabaseName LIKE REPLACE(s.DatabaseName,'_','[_]') AND (t.DatabaseType = s.DatabaseType OR s.DatabaseType IS NULL) WHERE s.Selected = 0
UPDATE t SET t.StartPosition = s2.StartPosition FROM @tmp t INNER JOIN (SELECT t2.DatabaseName, MIN(s.StartPosition) AS StartPosition FROM @tmp t2 INNER JOIN @Selected s ON t2.DatabaseName LIKE REPLACE(s.DatabaseName,'_','[_]') GROUP BY t2.DatabaseName) s2 ON t.DatabaseName = s2.DatabaseName;
WITH c AS (SELECT [Order], ROW_NUMBER() OVER (ORDER BY StartPosition ASC, DatabaseName ASC) AS RowNumber FROM @tmp tmp WHERE Selected = 1)
UPDATE c SET [Order] = RowNumber
SELECT DatabaseName, [Order], Selected FROM @tmp ORDER BY Selected, [Order]
DECLARE @id int, @nm nvarchar(max), @list nvarchar(max) = ''
WHILE (1 = 1)
BEGIN
  SELECT TOP 1 @id = ID, @nm = DatabaseName FROM @tmp WHERE Selected = 1 AND Completed = 0 ORDER BY [Order] ASC
  IF @@ROWCOUNT = 0 BREAK
  SET @list += @nm + ';'
  UPDATE @tmp SET Completed = 1 WHERE Selected = 1 AND Completed = 0 AND ID = @id
END
PRINT @list
GO
DECLARE @Version numeric(18,10) = CAST(LEFT(CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(max)),CHARINDEX('.',CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(max))) - 1) + '.' + REPLACE(RIGHT(CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(max)), LEN(CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(max))) - CHARINDEX('.',CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(max)))),'.','') AS numeric(18,10))
SELECT @Version, CASE WHEN @Version >= 16 THEN 'new' ELSE 'old' END
DECLARE @HostPlatform nvarchar(max); SELECT @HostPlatform = host_platform FROM sys.dm_os_host_info; PRINT @HostPlatform
DECLARE @cmd nvarchar(max) = 'BACKUP DATABASE x TO'; DECLARE @dirs TABLE (ID int PRIMARY KEY, p nvarchar(200), mirror bit)
INSERT @dirs VALUES (1,'/a',0),(2,'/b',0),(3,'/c',1)
SELECT @cmd += ' ' + STRING_AGG('DISK = N''' + REPLACE(p,'''','''''') + '''', ', ') WITHIN GROUP (ORDER BY ID DESC) FROM @dirs WHERE mirror = 0
SELECT @cmd = @cmd + CASE WHEN ROW_NUMBER() OVER (ORDER BY p ASC) = 1 THEN ' MIRROR TO' ELSE '' END + ' DISK = N''' + p + '''' FROM @dirs WHERE mirror = 1
PRINT @cmd
PRINT FORMAT(CAST('2024-02-29T13:04:05' AS datetime2),'dddd','en-US') + ' ' + CAST(DATEPART(WEEK,'20240229') AS nvarchar) + ' ' + CAST(DATEPART(MICROSECOND,CAST('2024-02-29T13:04:05.123456' AS datetime2)) AS nvarchar)
DECLARE @size bigint = 123456; PRINT CAST(@size * 1. * 8 / 1024 AS nvarchar(50)); PRINT CAST(CAST(1234567890123456789012345 AS numeric(25,0)) AS nvarchar(max))
DECLARE @d nvarchar(max) = 'C:\x'; IF @d LIKE '_:\%' OR @d LIKE '\\%\%' PRINT 'dir'; IF @d NOT LIKE '%[[]%' AND @d NOT LIKE N'%[' + CHAR(10) + CHAR(13) + ']%' PRINT 'ok'
IF OBJECT_DEFINITION(OBJECT_ID('dbo.RunOne')) LIKE '%--// Version: 2026-01-02 03:04:05 //--%' PRINT 'found version'
PRINT SUBSTRING(OBJECT_DEFINITION(OBJECT_ID('dbo.RunOne')), CHARINDEX('--// Version: ', OBJECT_DEFINITION(OBJECT_ID('dbo.RunOne'))) + LEN('--// Version: ') + 1, 19)
DECLARE @q TABLE(id int identity, started datetime, spid int); INSERT @q(started) VALUES (NULL),(NULL); DECLARE @got int
UPDATE x SET started = GETDATE(), spid = @@SPID, @got = id FROM (SELECT TOP 1 id, started, spid FROM @q WHERE started IS NULL ORDER BY id ASC) x; PRINT @got
UPDATE (SELECT TOP 1 id, started, spid FROM @q WHERE started IS NULL ORDER BY id ASC) SET started = GETDATE(), @got = id
PRINT @got
GO
SELECT name FROM sys.databases WHERE name COLLATE DATABASE_DEFAULT = 'MASTER' COLLATE DATABASE_DEFAULT
SELECT [allocated_extent_page_count] a, modified_extent_page_count FROM sys.dm_db_file_space_usage
SELECT TOP 1 log_since_last_log_backup_mb, log_backup_time FROM sys.dm_db_log_stats(DB_ID())
SELECT last_log_backup_lsn FROM sys.database_recovery_status WHERE database_id = DB_ID()
IF EXISTS(SELECT * FROM msdb.dbo.log_shipping_primary_databases WHERE primary_database = 'x') OR EXISTS(SELECT * FROM msdb.dbo.log_shipping_secondary_databases WHERE secondary_database='x') PRINT 'ls'
SELECT file_exists, file_is_a_directory FROM sys.dm_os_file_exists('/tmp')
SELECT contained_availability_group_id FROM sys.dm_exec_sessions WHERE session_id = @@SPID
SELECT COUNT(*) FROM sys.asymmetric_keys
SELECT SUSER_SNAME(0x01), IS_SRVROLEMEMBER('sysadmin'), SERVERPROPERTY('EngineEdition'), SERVERPROPERTY('IsHadrEnabled')
SELECT index_id, avg_fragmentation_in_percent, page_count FROM sys.dm_db_index_physical_stats(DB_ID(), OBJECT_ID('dbo.JobLine'), NULL, NULL, 'LIMITED')
SELECT o.name, p.rows FROM sys.objects o JOIN sys.partitions p ON p.object_id = o.object_id WHERE o.name = 'JobLine'
SELECT s.name, s.stats_id, sp.rows, sp.modification_counter FROM sys.stats s CROSS APPLY sys.dm_db_stats_properties(s.object_id, s.stats_id) sp
DECLARE @s nvarchar(max) = N'a'; SET @s += + N'b'; PRINT @s
IF N'x' + NCHAR(0) LIKE N'%[' + NCHAR(0) + N'-' + NCHAR(31) + N']%' COLLATE Latin1_General_BIN2 PRINT 'control'
SELECT PATINDEX('%_[0-9][0-9]%', REVERSE('abc_12'))
CREATE TABLE #r (a int, b AS a * 2, c numeric(20,0)); INSERT #r(a,c) VALUES (1, 100),(3, 12345678901234567890);
SELECT AVG(c), MIN(c) / 2.0, MAX(b) FROM #r
UPDATE r SET c = y.m FROM #r r OUTER APPLY (SELECT TOP 1 a + 5 AS m FROM #r z WHERE z.a >= r.a ORDER BY z.a DESC) y
SELECT * FROM #r
SELECT a, LAG(a, 1, 0) OVER (ORDER BY a) FROM #r
INSERT INTO #r WITH (TABLOCK) (a, c) EXEC sys.sp_executesql N'SELECT @p, 1', N'@p int', @p = 77
SELECT COUNT(*) FROM #r
EXEC ('SELECT 1') AT nolink
