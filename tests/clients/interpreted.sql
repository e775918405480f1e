-- case: if
IF 1 = 1 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT ELSE SELECT 2

-- case: if not
IF EXISTS (SELECT * FROM t WHERE id = 9) BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT ELSE SELECT v FROM t ORDER BY id

-- case: if exists
IF EXISTS (SELECT * FROM t WHERE id = 2)
BEGIN BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT;
SELECT COUNT(*) AS c FROM t END

-- case: while
DECLARE @i int = 0 WHILE @i < 2
BEGIN BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT;
SET @i += 1;
PRINT @i END SELECT @i AS i

-- case: break
WHILE 1 = 1
BEGIN BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT;
IF (SELECT COUNT(*) FROM t) = 2 BREAK;
CONTINUE END SELECT 'out'

-- case: goto
GOTO there
SELECT 1
there:
BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
RETURN
SELECT 2

-- case: variables
DECLARE @d sysname = DB_NAME(), @f nvarchar(99), @n int
SELECT @n = COUNT(*), @f = MAX(v) FROM t
SET @f = @f + N'.bak'
IF @n = 2
  BACKUP DATABASE @d TO DISK = @f WITH INIT
SELECT @d AS d, @f AS f, @n AS n, @@ROWCOUNT AS r

-- case: types
DECLARE @a decimal(9,3) = 1.5, @b datetime2(3) = '2024-02-29T12:34:56.789',
 @c varbinary(4) = 0x01ff, @d uniqueidentifier = '6F9619FF-8B86-D011-B42D-00C04FC964FF', @e float = 1.25, @g bit = 1,
 @h money = 2.5, @i varchar(9) = 'it''s', @j time(2) = '01:02:03.45', @k sql_variant = 7,
 @l nvarchar(max) = N'Ж', @m char(3)='a' IF 1 = 0 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
SELECT @a AS a, @b AS b, @c AS c, @d AS d, @e AS e, @g AS g, @h AS h, @i AS i, @j AS j, @l AS l, @m AS m

-- case: rowcount and error
IF 1 = 0 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
UPDATE t SET v = v
SELECT @@ROWCOUNT AS r, @@ERROR AS e
SELECT 1/0
SELECT @@ERROR AS e
PRINT @@ERROR

-- case: nocount
SET NOCOUNT ON
IF 1 = 1 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
UPDATE t SET v = v
SELECT @@ROWCOUNT AS r

-- case: cursor
DECLARE @n nvarchar(40), @f nvarchar(99)
DECLARE c CURSOR LOCAL FAST_FORWARD FOR SELECT v FROM t
ORDER BY id
OPEN c
FETCH NEXT FROM c INTO @n
WHILE @@FETCH_STATUS = 0
BEGIN
  SET @f = @n + N'.bak'
  BACKUP DATABASE shop TO DISK = @f WITH INIT
  FETCH NEXT FROM c INTO @n
END
CLOSE c
DEALLOCATE c

-- case: table variable
DECLARE @t TABLE (id int IDENTITY PRIMARY KEY, n nvarchar(40))
INSERT @t (n) SELECT v FROM t ORDER BY id
DECLARE @f nvarchar(99) = (SELECT TOP (1) n FROM @t ORDER BY id)
IF @f = N'one' BACKUP DATABASE shop TO DISK = @f WITH INIT
SELECT id, n FROM @t ORDER BY id

-- case: use
USE master
IF DB_NAME() = N'master' BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
USE shop
SELECT DB_NAME() AS d

-- case: string
DECLARE @s nvarchar(max) = N'BACKUP DATABASE ' + QUOTENAME(DB_NAME()) + N' TO DISK = N''s.bak'' WITH INIT;
SELECT COUNT(*) AS c FROM t'
EXEC (@s)
SELECT 1 AS one

-- case: plain string
EXEC (N'SELECT v FROM t ORDER BY id;
PRINT ''hello''')
IF 1 = 1 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT

-- case: executesql
DECLARE @n int
EXEC sp_executesql N'SELECT @n = COUNT(*) FROM t;
BACKUP DATABASE @d TO DISK = @f WITH INIT',
 N'@d sysname, @f nvarchar(99), @n int OUTPUT',
 @d = N'shop', @f = N'x.bak', @n = @n OUTPUT
SELECT @n AS n

-- case: string that does not parse
EXEC (N'BACKUP DATABASE shop TO')
SELECT 1 AS one

-- case: use in a string
EXEC (N'USE master;
BACKUP DATABASE shop TO DISK = N''shop.bak'' WITH INIT')
SELECT DB_NAME() AS d

-- case: try
BEGIN TRY
BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
SELECT 1 AS one
END TRY
BEGIN CATCH
SELECT 2 AS two
END CATCH

-- case: catch
BEGIN TRY
BACKUP DATABASE nosuch TO DISK = N'x.bak'
SELECT 1
END TRY
BEGIN CATCH
PRINT ERROR_MESSAGE()
SELECT ERROR_NUMBER() AS n, ERROR_SEVERITY() AS s, ERROR_LINE() AS l
END CATCH

-- case: catch the server's
BEGIN TRY
SELECT v, 1 / (id - 2) AS q FROM t ORDER BY id
BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
END TRY
BEGIN CATCH
INSERT told VALUES (ERROR_NUMBER(), ERROR_MESSAGE())
SELECT n, said FROM told;
DELETE told
END CATCH

-- case: throw
BEGIN TRY
BACKUP DATABASE nosuch TO DISK = N'x.bak'
END TRY
BEGIN CATCH
THROW;
END CATCH
SELECT 9

-- case: raiserror
IF 1 = 0 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
RAISERROR (N'%s has %d', 16, 1, N'shop', 2)
SELECT @@ERROR AS e
RAISERROR (N'note', 0, 1) WITH NOWAIT

-- case: procedure
DECLARE @r int, @b nvarchar(20)
IF 1 = 0 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
EXEC @r = answer 3, @b OUTPUT
SELECT @r AS r, @b AS b

-- case: procedure that fails
DECLARE @r int, @b nvarchar(20)
IF 1 = 0 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
EXEC @r = answer 6, @b OUTPUT
SELECT @r AS r, @b AS b

-- case: procedure in try
DECLARE @r int, @b nvarchar(20)
BEGIN TRY
EXEC @r = answer 6, @b OUTPUT
BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
END TRY
BEGIN CATCH
SELECT @r AS r, ERROR_NUMBER() AS n, ERROR_PROCEDURE() AS p
END CATCH

-- case: no such table
IF 1 = 1 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
SELECT * FROM nosuch
SELECT 1 AS one

-- case: no such procedure
IF 1 = 0 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
EXEC nosuch 1
SELECT 1 AS one

-- case: insert exec
CREATE TABLE #files (LogicalName nvarchar(128), n int)
INSERT #files EXEC (N'SELECT N''a'', 1;
SELECT N''b'', 2')
IF 1 = 0 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
SELECT LogicalName, n FROM #files ORDER BY n

-- case: transaction
BEGIN TRAN
UPDATE t SET v = v
BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
SELECT @@TRANCOUNT AS t
COMMIT
SELECT @@TRANCOUNT AS t

-- case: undeclared
IF 1 = 0 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
SET @x = 1

-- case: waitfor
WAITFOR DELAY '00:00:00.010'
IF 1 = 1 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT

-- case: return
IF (SELECT COUNT(*) FROM t) = 2 RETURN
BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT

-- case: nothing native
IF 1 = 0 BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT
