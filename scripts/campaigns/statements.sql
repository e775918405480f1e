SELECT 1
SELECT @@VERSION, DB_NAME(), SUSER_SNAME(), GETDATE(), NEWID()
SELECT name, database_id, state_desc FROM sys.databases ORDER BY name
SELECT o.name, c.name, t.name FROM sys.objects o JOIN sys.columns c ON c.object_id = o.object_id JOIN sys.types t ON t.user_type_id = c.user_type_id
SELECT TOP (3) id, name, price * 2 AS twice FROM fuzz.dbo.item WHERE price BETWEEN 1 AND 20 AND name LIKE N'a%' ORDER BY id DESC
SELECT kind, COUNT(*) AS n, SUM(price), AVG(price) FROM fuzz.dbo.item GROUP BY kind HAVING COUNT(*) > 1
SELECT i.id, (SELECT MAX(j.price) FROM fuzz.dbo.item j WHERE j.kind = i.kind) FROM fuzz.dbo.item i
SELECT id, ROW_NUMBER() OVER (PARTITION BY kind ORDER BY price DESC) FROM fuzz.dbo.item
WITH few AS (SELECT id, kind FROM fuzz.dbo.item WHERE id < 5) SELECT * FROM few a LEFT JOIN few b ON a.kind = b.kind
SELECT CASE WHEN id % 2 = 0 THEN 'even' ELSE NULL END, ISNULL(name, 'none'), COALESCE(NULL, kind) FROM fuzz.dbo.item
SELECT id FROM fuzz.dbo.item UNION ALL SELECT kind FROM fuzz.dbo.item EXCEPT SELECT 2
SELECT * FROM (VALUES (1, 'a'), (2, 'b')) AS v (x, y) CROSS JOIN fuzz.dbo.item
SELECT x.value FROM STRING_SPLIT('a,b,c', ',') AS x
SELECT id, name FROM fuzz.dbo.item FOR JSON PATH
SELECT id, name FROM fuzz.dbo.item FOR XML RAW
SELECT CONVERT(varchar(30), GETDATE(), 121), CAST('12.5' AS decimal(10, 2)), TRY_CAST('x' AS int), PARSENAME('a.b.c', 2)
SELECT LEN('abc'), SUBSTRING('hello', 2, 3), REPLACE('aaa', 'a', 'b'), CHARINDEX('l', 'hello'), STUFF('abc', 2, 1, 'xyz')
SELECT DATEADD(month, 1, '2024-01-31'), DATEDIFF(day, '2024-01-01', '2024-12-31'), DATEPART(weekday, '2024-02-29')
SELECT ROUND(12.345, 2), ABS(-1), POWER(2, 10), CEILING(1.5), FLOOR(-1.5), SQRT(2.0), 7 / 2, 7 % 3, 1 / 0.5
SELECT 0x48656C6C6F, N'grüße', $12.34, 1e10, -5, ~7, 5 & 3, 5 | 3, 5 ^ 3
INSERT INTO fuzz.dbo.item (name, kind, price) VALUES (N'apple', 1, 2.50), (N'pear', 2, 3)
INSERT INTO fuzz.dbo.item (name, kind, price) OUTPUT inserted.id SELECT name, kind, price FROM fuzz.dbo.item WHERE id = 1
UPDATE fuzz.dbo.item SET price = price + 1, name = UPPER(name) OUTPUT deleted.price, inserted.price WHERE kind = 1
UPDATE i SET price = j.price FROM fuzz.dbo.item i JOIN fuzz.dbo.item j ON j.id = i.id - 1 WHERE i.kind = 2
DELETE FROM fuzz.dbo.item WHERE id > 50
DELETE TOP (2) FROM fuzz.dbo.item WHERE kind IN (SELECT kind FROM fuzz.dbo.item WHERE price IS NULL)
MERGE fuzz.dbo.item AS t USING (SELECT 1 AS id, N'x' AS name) AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = s.name WHEN NOT MATCHED THEN INSERT (name, kind, price) VALUES (s.name, 1, 1);
TRUNCATE TABLE fuzz.dbo.scrap
CREATE TABLE #t (a int PRIMARY KEY, b nvarchar(20) NOT NULL DEFAULT N'x', CHECK (a > 0)); INSERT INTO #t (a) VALUES (1); SELECT * FROM #t; DROP TABLE #t
CREATE TABLE fuzz.dbo.made (a int IDENTITY(1, 1), b AS a * 2, c varchar(10) UNIQUE); DROP TABLE fuzz.dbo.made
ALTER TABLE fuzz.dbo.scrap ADD extra int NULL; ALTER TABLE fuzz.dbo.scrap DROP COLUMN extra
CREATE INDEX by_kind ON fuzz.dbo.scrap (a); DROP INDEX by_kind ON fuzz.dbo.scrap
DECLARE @a int = 1, @b nvarchar(50) = N'text'; SET @a += 5; SELECT @a, @b; IF @a > 3 PRINT 'big' ELSE PRINT 'small'
DECLARE @i int = 0; WHILE @i < 3 BEGIN SET @i = @i + 1; IF @i = 2 CONTINUE; SELECT @i END
DECLARE @t TABLE (id int, name nvarchar(10)); INSERT INTO @t VALUES (1, N'a'); SELECT * FROM @t
BEGIN TRY SELECT 1 / 0 END TRY BEGIN CATCH SELECT ERROR_NUMBER(), ERROR_MESSAGE(); THROW END CATCH
BEGIN TRANSACTION; UPDATE fuzz.dbo.item SET kind = 3 WHERE id = 1; SAVE TRANSACTION s; ROLLBACK TRANSACTION s; COMMIT
BEGIN TRAN; INSERT INTO fuzz.dbo.scrap VALUES (1); ROLLBACK
RAISERROR ('custom %s %d', 16, 1, 'text', 5); THROW 50001, 'thrown', 1
EXEC sp_executesql N'SELECT @x + 1', N'@x int', @x = 41
EXEC ('SELECT ' + '1'); EXEC sp_who; EXEC sp_helpdb
DECLARE c CURSOR FOR SELECT id FROM fuzz.dbo.item; OPEN c; FETCH NEXT FROM c; CLOSE c; DEALLOCATE c
SET NOCOUNT ON; SET QUOTED_IDENTIFIER OFF; SET XACT_ABORT ON; SET LANGUAGE us_english; SET DATEFORMAT dmy; SET ROWCOUNT 5
USE fuzz; SELECT * FROM dbo.item; USE master
BACKUP DATABASE fuzz TO DISK = N'NUL' WITH COPY_ONLY, STATS = 50
BACKUP DATABASE fuzz TO DISK = N'fuzz.bak' WITH FORMAT, INIT, NAME = N'a set', COMPRESSION, CHECKSUM
RESTORE HEADERONLY FROM DISK = N'fuzz.bak'
RESTORE FILELISTONLY FROM DISK = N'fuzz.bak' WITH FILE = 1
RESTORE LABELONLY FROM DISK = N'fuzz.bak'
RESTORE VERIFYONLY FROM DISK = N'fuzz.bak' WITH CHECKSUM
RESTORE DATABASE fuzz2 FROM DISK = N'fuzz.bak' WITH REPLACE, RECOVERY, MOVE N'fuzz' TO N'fuzz2.mdf', MOVE N'fuzz_log' TO N'fuzz2.ldf'
ALTER DATABASE fuzz2 SET RECOVERY SIMPLE
SELECT database_name, backup_size, type FROM msdb.dbo.backupset WHERE database_name = N'fuzz'
SELECT * FROM INFORMATION_SCHEMA.TABLES; SELECT * FROM sys.dm_exec_sessions; SELECT * FROM sys.configurations
DBCC CHECKDB (fuzz) WITH NO_INFOMSGS
CREATE PROCEDURE #p @x int = 1, @y int OUTPUT AS BEGIN SET @y = @x * 2; RETURN 3 END
CREATE VIEW dbo.v AS SELECT 1 AS one; SELECT * FROM dbo.v
GRANT SELECT ON fuzz.dbo.item TO public; CREATE LOGIN fuzzy WITH PASSWORD = 'Fuzzy-1-pass'; DROP LOGIN fuzzy
PRINT N'text' + CAST(1 AS varchar(5)); GOTO done; done: SELECT 'end'
