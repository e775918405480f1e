"""Queries and statements: what the tree holds."""

from __future__ import annotations

from typing import TypeVar

import pytest

from tdsproxy.tsql import ast, types
from tdsproxy.tsql.parser import parse

T = TypeVar("T", bound=ast.Statement)


def one(text: str, kind: type[T]) -> T:
    (statement,) = parse(text).statements
    assert isinstance(statement, kind)
    return statement


def select(text: str) -> ast.Select:
    query = one(text, ast.QueryStatement).query
    assert isinstance(query, ast.Select)
    return query


def num(value: int) -> ast.Literal:
    return ast.Literal(value, types.INT)


def col(*parts: str) -> ast.ColumnRef:
    return ast.ColumnRef(parts)


# ---------------------------------------------------------------------------- queries


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("a AS b", ast.SelectItem(col("a"), "b")),
        ("a b", ast.SelectItem(col("a"), "b")),
        ("a [b c]", ast.SelectItem(col("a"), "b c")),
        ("a 'b'", ast.SelectItem(col("a"), "b")),
        ("a AS 'b'", ast.SelectItem(col("a"), "b")),
        ("b = a", ast.SelectItem(col("a"), "b")),
        ("'b' = a", ast.SelectItem(col("a"), "b")),
        ("@v = a", ast.SelectItem(col("a"), None, "@v")),
        ("@v += a", ast.SelectItem(col("a"), None, "@v", "+=")),
        ("*", ast.SelectItem(ast.Star())),
        ("dbo.t.*", ast.SelectItem(ast.Star(("dbo", "t")))),
    ],
)
def test_select_items(text: str, item: ast.SelectItem) -> None:
    assert select(f"SELECT {text} FROM t").items == (item,)


def test_select_clauses() -> None:
    query = select(
        "SELECT DISTINCT TOP (5) PERCENT WITH TIES a INTO #n FROM t WITH (NOLOCK, INDEX(1)) WHERE a = 1 "
        "GROUP BY a "
        "HAVING a > 1 ORDER BY a DESC, b OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY OPTION (MAXRECURSION 0, "
        "RECOMPILE)"
    )
    assert query.distinct
    assert query.top == ast.Top(num(5), percent=True, with_ties=True)
    assert query.into == ast.Name("#n")
    assert query.sources == (ast.TableSource(ast.Name("t"), ("NOLOCK", "INDEX(1)")),)
    assert query.where == ast.Comparison("=", col("a"), num(1))
    assert query.group == (col("a"),)
    assert query.having == ast.Comparison(">", col("a"), num(1))
    assert query.order == (ast.OrderItem(col("a"), True), ast.OrderItem(col("b")))
    assert (query.offset, query.fetch) == (num(1), num(2))
    assert query.options == ("MAXRECURSION 0", "RECOMPILE")


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("t", ast.TableSource(ast.Name("t"))),
        ("t x", ast.TableSource(ast.Name("t"), alias="x")),
        ("msdb..t AS x", ast.TableSource(ast.Name("t", None, "msdb"), alias="x")),
        ("s.d.o.t", ast.TableSource(ast.Name("t", "o", "d", "s"))),
        ("t (NOLOCK)", ast.TableSource(ast.Name("t"), ("NOLOCK",))),
        ("t x WITH (UPDLOCK HOLDLOCK)", ast.TableSource(ast.Name("t"), ("UPDLOCK", "HOLDLOCK"), alias="x")),
        ("@t x", ast.TableSource(ast.Name("@t"), alias="x")),
        ("f(1) x (a, b)", ast.FunctionSource(ast.FunctionCall(ast.Name("f"), (num(1),)), alias="x",
         columns=("a", "b"))),
        ("(VALUES (1), (2)) v(a)", ast.ValuesSource(((num(1),), (num(2),)), alias="v", columns=("a",))),
        ("a JOIN b ON 1 = 1", ast.Join("INNER", ast.TableSource(ast.Name("a")),
         ast.TableSource(ast.Name("b")),
                                       ast.Comparison("=", num(1), num(1)))),
        ("a CROSS JOIN b", ast.Join("CROSS", ast.TableSource(ast.Name("a")),
         ast.TableSource(ast.Name("b")))),
        ("(a CROSS JOIN b)", ast.Join("CROSS", ast.TableSource(ast.Name("a")),
         ast.TableSource(ast.Name("b")))),
    ],
)  # fmt: skip
def test_sources(text: str, source: ast.Source) -> None:
    assert select(f"SELECT * FROM {text}").sources == (source,)


def shape(source: ast.Source) -> str:
    match source:
        case ast.Join():
            return f"({shape(source.left)} {source.kind} {shape(source.right)})"
        case ast.TableSource():
            return source.name.object
        case _:
            return f"{type(source).__name__}:{source.alias}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a LEFT OUTER JOIN b ON 1=1 RIGHT JOIN c ON 1=1 FULL JOIN d ON 1=1", "(((a LEFT b) RIGHT c) "
         "FULL d)"),
        ("a JOIN b JOIN c ON 1=1 ON 1=1", "(a INNER (b INNER c))"),
        ("a INNER HASH JOIN b ON 1=1", "(a INNER b)"),
        ("a CROSS APPLY f(a.x) y OUTER APPLY (SELECT 1 z) w",
         "((a CROSS APPLY FunctionSource:y) OUTER APPLY DerivedTable:w)"),
        ("((SELECT 1 z) x CROSS JOIN b)", "(DerivedTable:x CROSS b)"),
        ("((SELECT 1 z) UNION (SELECT 2)) x", "DerivedTable:x"),
        ("(SELECT 1 z) s PIVOT (MAX(a) FOR b IN ([0], [1])) p", "Pivot:p"),
        ("t UNPIVOT (v FOR k IN (a, b)) u", "Unpivot:u"),
        ("OPENJSON(@j) WITH (a int '$.a') j", "FunctionSource:j"),
        ("@x.nodes('/a') AS t(c)", "FunctionSource:t"),
    ],
)  # fmt: skip
def test_joins(text: str, expected: str) -> None:
    (source,) = select(f"SELECT * FROM {text}").sources
    assert shape(source) == expected


def operations(query: ast.Query) -> str:
    if isinstance(query, ast.SetOperation):
        return f"({operations(query.left)} {query.op} {operations(query.right)})"
    assert isinstance(query, ast.Select)
    (item,) = query.items
    assert isinstance(item.expr, ast.Literal)
    return str(item.expr.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1 UNION SELECT 2 INTERSECT SELECT 3", "(1 UNION (2 INTERSECT 3))"),
        ("SELECT 1 EXCEPT SELECT 2 UNION ALL SELECT 3", "((1 EXCEPT 2) UNION ALL 3)"),
        ("SELECT 1 EXCEPT (SELECT 2 UNION SELECT 3)", "(1 EXCEPT (2 UNION 3))"),
    ],
)
def test_set_operations(text: str, expected: str) -> None:
    assert operations(one(text, ast.QueryStatement).query) == expected


def test_the_tail_belongs_to_the_whole_set_operation() -> None:
    query = one("SELECT 1 UNION SELECT 2 ORDER BY 1", ast.QueryStatement).query
    assert isinstance(query, ast.SetOperation)
    assert query.order == (ast.OrderItem(num(1)),)
    assert query.right.order == ()


def test_common_tables() -> None:
    query = select("WITH a (x) AS (SELECT 1), b AS (SELECT x FROM a) SELECT * FROM b")
    assert [(table.name, table.columns) for table in query.with_] == [("a", ("x",)), ("b", ())]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FOR XML PATH('')", ast.XmlClause("XML", "PATH", "")),
        ("FOR XML PATH(''), TYPE", ast.XmlClause("XML", "PATH", "", ("TYPE",))),
        ("FOR XML RAW('r'), ROOT('x'), ELEMENTS XSINIL",
         ast.XmlClause("XML", "RAW", "r", ("ROOT", "ELEMENTS XSINIL"), "x")),
        ("FOR JSON AUTO, WITHOUT_ARRAY_WRAPPER",
         ast.XmlClause("JSON", "AUTO", None, ("WITHOUT_ARRAY_WRAPPER",))),
    ],
)  # fmt: skip
def test_for_clause(text: str, expected: ast.XmlClause) -> None:
    assert select(f"SELECT a FROM t {text}").for_ == expected


# ---------------------------------------------------------------------------- rows


def test_insert() -> None:
    found = one(
        "INSERT INTO dbo.t WITH (TABLOCK) (a, [b]) OUTPUT inserted.a INTO @x (c) VALUES (1, DEFAULT)",
        ast.Insert,
    )
    assert (found.target, found.columns) == (ast.Name("t", "dbo"), ("a", "b"))
    assert found.rows == ((num(1), None),)
    assert found.output == ast.OutputClause((ast.SelectItem(col("inserted", "a")),), ast.Name("@x"), ("c",))
    assert one("INSERT t (a) (SELECT 1)", ast.Insert).query is not None
    execute = one("INSERT t EXEC ('x')", ast.Insert).execute
    assert isinstance(execute, ast.ExecuteString)
    assert one("INSERT t DEFAULT VALUES", ast.Insert).default_values


def test_update() -> None:
    found = one(
        "UPDATE TOP (1) x SET x.a = 1, @v = b = 2, @w = 3, c += DEFAULT FROM t x WHERE CURRENT OF cur",
        ast.Update,
    )
    assert found.assignments == (
        ast.SetColumn(("x", "a"), num(1)),
        ast.SetColumn(("b",), num(2), "=", "@v"),
        ast.SetColumn(None, num(3), "=", "@w"),
        ast.SetColumn(("c",), None, "+="),
    )
    assert (found.target, found.current_of, found.top) == (ast.Name("x"), "cur", ast.Top(num(1)))
    assert found.sources == (ast.TableSource(ast.Name("t"), alias="x"),)


def test_update_of_a_derived_table_names_it_as_its_source() -> None:
    found = one("UPDATE (SELECT TOP 1 a FROM q) SET a = 1", ast.Update)
    (source,) = found.sources
    assert isinstance(source, ast.DerivedTable)
    assert source.alias == found.target.object


def test_delete() -> None:
    found = one("DELETE TOP (1) x OUTPUT deleted.* FROM t x WHERE a = 1", ast.Delete)
    assert (found.target, found.sources) == (ast.Name("x"), (ast.TableSource(ast.Name("t"), alias="x"),))
    assert found.where is not None
    assert found.output is not None


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("EXEC p", ()),
        ("EXEC p 1, N'a', -2, NULL, abc, [d e], @v OUTPUT, DEFAULT",
         (ast.ExecArgument(num(1)), ast.ExecArgument(ast.Literal("a", types.nvarchar(1))),
          ast.ExecArgument(ast.Unary("-", num(2))), ast.ExecArgument(ast.Literal(None, types.NULL)),
          ast.ExecArgument(ast.Literal("abc", types.varchar(3))),
          ast.ExecArgument(ast.Literal("d e", types.varchar(3))),
          ast.ExecArgument(ast.Variable("@v"), output=True), ast.ExecArgument(None))),
        ("EXEC p @a = 1, @b = @c OUT", (ast.ExecArgument(num(1), "@a"),
                                        ast.ExecArgument(ast.Variable("@c"), "@b", True))),
    ],
)  # fmt: skip
def test_execute_arguments(text: str, arguments: tuple[ast.ExecArgument, ...]) -> None:
    assert one(text, ast.Execute).arguments == arguments


def test_execute() -> None:
    assert one("EXEC @rc = master..p 1", ast.Execute).result == "@rc"
    assert one("EXEC @p", ast.Execute).procedure == ast.Variable("@p")
    assert one("EXECUTE p WITH RECOMPILE", ast.Execute).arguments == ()
    found = one("EXEC (N'a' + @b + 'c') AT linked", ast.ExecuteString)
    assert (len(found.parts), found.at) == (3, "linked")


# ---------------------------------------------------------------------------- definitions


def test_create_table() -> None:
    found = one(
        "CREATE TABLE dbo.t (a int IDENTITY(5, 2) NOT NULL CONSTRAINT pk PRIMARY KEY CLUSTERED, b AS a "
        "* 2 PERSISTED, "
        "c varchar(9) COLLATE Latin1_General_BIN2 NULL DEFAULT ('x') CHECK (c <> ''), d int REFERENCES "
        "u (e) ON DELETE "
        "CASCADE, CONSTRAINT uq UNIQUE (a DESC, c), FOREIGN KEY (a, c) REFERENCES v, INDEX ix (d)) ON "
        "[PRIMARY]",
        ast.CreateTable,
    )
    a, b, c, d = found.columns
    assert (a.identity, a.nullable) == ((5, 2), False)
    assert a.constraints == (ast.Constraint("PRIMARY KEY", "pk", clustered=True),)
    assert (b.type, b.computed_text, b.persisted) == (None, "a * 2", True)
    assert (c.nullable, c.collation) == (True, "Latin1_General_BIN2")
    assert [(item.kind, item.text) for item in c.constraints] == [
        ("DEFAULT", "('x')"),
        ("CHECK", "(c <> '')"),
    ]
    assert d.constraints[0].reference == ast.Reference(ast.Name("u"), ("e",), on_delete="CASCADE")
    unique, foreign = found.constraints
    assert (unique.name, unique.columns) == ("uq", (("a", True), ("c", False)))
    assert foreign.reference == ast.Reference(ast.Name("v"))
    assert found.indexes == (ast.IndexDefinition("ix", (("d", False),)),)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ADD a int NULL, CONSTRAINT c CHECK (a > 1)", ast.AddColumns),
        ("WITH NOCHECK ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES u (a)", ast.AddColumns),
        ("ADD DEFAULT (0) FOR a", ast.AddColumns),
        ("ALTER COLUMN a varchar(20) NOT NULL", ast.AlterColumn),
        ("DROP COLUMN IF EXISTS a, b", ast.DropColumns),
        ("DROP CONSTRAINT a, b", ast.DropConstraints),
        ("DROP a", ast.DropConstraints),
        ("NOCHECK CONSTRAINT ALL", ast.SwitchConstraints),
        ("ENABLE TRIGGER a, b", ast.SwitchConstraints),
    ],
)
def test_alter_table(text: str, kind: type) -> None:
    assert isinstance(one(f"ALTER TABLE t {text}", ast.AlterTable).action, kind)


def test_create_index() -> None:
    found = one(
        "CREATE UNIQUE NONCLUSTERED INDEX i ON t (a DESC) INCLUDE (b) WHERE a > 1 WITH (ONLINE = ON) ON "
        "[PRIMARY]",
        ast.CreateIndex,
    )
    index = found.index
    assert (index.unique, index.clustered, index.columns) == (True, False, (("a", True),))
    assert (index.include, index.where_text) == (("b",), "a > 1")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("CREATE VIEW v (a) WITH SCHEMABINDING AS SELECT 1 WITH CHECK OPTION", ast.CreateView),
        ("CREATE PROC p @a int = 1, @b dbo.t READONLY, @c int OUT WITH RECOMPILE AS", ast.CreateProcedure),
        ("CREATE PROCEDURE p (@a varchar(5) = abc) AS BEGIN RETURN @a END", ast.CreateProcedure),
        ("CREATE FUNCTION f (@a int) RETURNS int AS BEGIN RETURN @a END", ast.CreateFunction),
        ("CREATE FUNCTION f () RETURNS TABLE AS RETURN (SELECT 1 a)", ast.CreateFunction),
        ("CREATE FUNCTION f () RETURNS @t TABLE (a int) AS BEGIN RETURN END", ast.CreateFunction),
        ("CREATE TRIGGER r ON t INSTEAD OF INSERT, DELETE AS IF UPDATE(a) RETURN", ast.CreateTrigger),
    ],
)
@pytest.mark.parametrize("verb", ["CREATE", "CREATE OR ALTER", "ALTER"])
def test_modules_keep_their_text(text: str, kind: type[ast.CreateProcedure], verb: str) -> None:
    whole = text.replace("CREATE", verb, 1)
    found = one(f"-- head\n{whole}\n", kind)
    assert found.text == whole
    assert (found.alter, found.or_alter) == (verb == "ALTER", verb == "CREATE OR ALTER")


def test_a_procedure_takes_the_rest_of_the_batch() -> None:
    found = one("CREATE PROC p @a int AS SELECT 1 SELECT 2; -- end", ast.CreateProcedure)
    assert len(found.body) == 2
    assert found.text.endswith("-- end")


def test_create_database() -> None:
    found = one(
        "CREATE DATABASE x ON PRIMARY (NAME = N'x', FILENAME = '/d/x.mdf', SIZE = 8MB, FILEGROWTH = 10%), "
        "(NAME = y, FILENAME = '/d/y.ndf') LOG ON (NAME = l, FILENAME = '/d/l.ldf', MAXSIZE = UNLIMITED) "
        "COLLATE Latin1_General_CI_AS",
        ast.CreateDatabase,
    )
    assert found.files == (("x", "/d/x.mdf"), ("y", "/d/y.ndf"))
    assert found.log_files == (("l", "/d/l.ldf"),)
    assert found.collation == "Latin1_General_CI_AS"
    found = one("CREATE DATABASE s ON (NAME = x, FILENAME = 'f') AS SNAPSHOT OF x", ast.CreateDatabase)
    assert found.snapshot_of == "x"


@pytest.mark.parametrize(
    ("text", "options", "termination"),
    [
        ("RECOVERY FULL", (("RECOVERY", "FULL"),), None),
        ("SINGLE_USER WITH ROLLBACK IMMEDIATE", (("SINGLE_USER", ""),), "ROLLBACK IMMEDIATE"),
        ("OFFLINE WITH ROLLBACK AFTER 5 SECONDS", (("OFFLINE", ""),), "ROLLBACK AFTER 5"),
        ("READ_ONLY WITH NO_WAIT", (("READ_ONLY", ""),), "NO_WAIT"),
        ("PAGE_VERIFY CHECKSUM, ANSI_NULLS off", (("PAGE_VERIFY", "CHECKSUM"), ("ANSI_NULLS", "OFF")),
         None),
        ("COMPATIBILITY_LEVEL = 150", (("COMPATIBILITY_LEVEL", "150"),), None),
        ("TARGET_RECOVERY_TIME = 60 SECONDS", (("TARGET_RECOVERY_TIME", "60 SECONDS"),), None),
        ("AUTO_CREATE_STATISTICS ON(INCREMENTAL = OFF)",
         (("AUTO_CREATE_STATISTICS", "ON(INCREMENTAL = OFF)"),), None),
    ],
)  # fmt: skip
def test_alter_database_set(text: str, options: tuple[tuple[str, str], ...], termination: str | None) -> None:
    found = parse(f"ALTER DATABASE [x] SET {text} SELECT 1").statements[0]
    assert isinstance(found, ast.AlterDatabase)
    assert (found.name, found.action, found.options, found.termination) == ("x", "SET", options, termination)


def test_alter_database_other_forms() -> None:
    assert one("ALTER DATABASE CURRENT SET MULTI_USER", ast.AlterDatabase).name is None
    assert one("ALTER DATABASE x MODIFY NAME = y", ast.AlterDatabase).new_name == "y"
    assert (
        one("ALTER DATABASE x ADD LOG FILE (NAME = l, FILENAME = 'f')", ast.AlterDatabase).action
        == "ADD LOG FILE"
    )


def test_logins_do_not_show_their_passwords() -> None:
    found = one(
        "CREATE LOGIN a WITH PASSWORD = N'geheim' MUST_CHANGE, DEFAULT_DATABASE = [db]", ast.CreateLogin
    )
    assert found.password == "geheim"
    assert found.options == (("MUST_CHANGE", "ON"), ("DEFAULT_DATABASE", "db"))
    assert "geheim" not in repr(found)
    found = one("ALTER LOGIN a WITH PASSWORD = 'neu' OLD_PASSWORD = 'alt'", ast.CreateLogin)
    assert (found.alter, found.password, found.old_password) == (True, "neu", "alt")
    assert one("ALTER LOGIN a DISABLE", ast.CreateLogin).disable is True


def test_windows_logins() -> None:
    found = one("CREATE LOGIN [d\\u] FROM WINDOWS WITH DEFAULT_DATABASE = x", ast.CreateLogin)
    assert found.options == (("FROM", "WINDOWS"), ("DEFAULT_DATABASE", "x"))


def test_rollup_and_its_kin() -> None:
    a, b, c = col("a"), col("b"), col("c")
    assert select("SELECT a FROM t GROUP BY ROLLUP (a, b)").grouping == ((a, b), (a,), ())
    assert set(select("SELECT a FROM t GROUP BY a, b WITH CUBE").grouping or ()) == {(a, b), (a,), (b,), ()}
    mixed = select("SELECT a FROM t GROUP BY a, CUBE (b, c)")
    assert mixed.group == (a, b, c)
    assert set(mixed.grouping or ()) == {(a, b, c), (a, b), (a, c), (a,)}
    assert select("SELECT a FROM t GROUP BY GROUPING SETS ((a, b), c, ())").grouping == ((a, b), (c,), ())
    assert select("SELECT a FROM t GROUP BY a, (b)").grouping is None


def test_permissions() -> None:
    found = one(
        "GRANT SELECT, BACKUP DATABASE ON OBJECT::dbo.t TO a, [b c] WITH GRANT OPTION", ast.Permission
    )
    assert found.permissions == ("SELECT", "BACKUP DATABASE")
    assert (found.on, found.principals) == (ast.Name("t", "dbo"), ("a", "b c"))


# ---------------------------------------------------------------------------- flow


def test_declare() -> None:
    a, b = one("DECLARE @a AS int = 1, @b sysname", ast.Declare).items
    (t,) = one("DECLARE @t TABLE (x int PRIMARY KEY)", ast.Declare).items
    assert (a.name, a.value) == ("@a", num(1))
    assert b.type is not None
    assert b.type.type == types.SYSNAME
    assert [column.name for column in t.table] == ["x"]


@pytest.mark.parametrize(
    ("text", "names", "value"),
    [
        ("SET NOCOUNT ON", ("NOCOUNT",), "ON"),
        ("SET ANSI_NULLS, ANSI_PADDING off", ("ANSI_NULLS", "ANSI_PADDING"), "OFF"),
        (
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
            ("TRANSACTION ISOLATION LEVEL",),
            "READ COMMITTED",
        ),
        ("SET STATISTICS IO, TIME ON", ("STATISTICS IO", "STATISTICS TIME"), "ON"),
        ("SET LOCK_TIMEOUT -1", ("LOCK_TIMEOUT",), "-1"),
        ("SET DATEFORMAT dmy", ("DATEFORMAT",), "DMY"),
        ("SET LANGUAGE N'us_english'", ("LANGUAGE",), "us_english"),
        ("SET TEXTSIZE 2147483647", ("TEXTSIZE",), "2147483647"),
        ("SET CONTEXT_INFO 0x01", ("CONTEXT_INFO",), "0x01"),
        ("SET DEADLOCK_PRIORITY LOW", ("DEADLOCK_PRIORITY",), "LOW"),
    ],
)
def test_set_options(text: str, names: tuple[str, ...], value: str) -> None:
    found = one(text, ast.SetOption)
    assert (found.names, found.value) == (names, value)


def test_set_option_by_variable() -> None:
    assert one("SET ROWCOUNT @n", ast.SetOption).expr == ast.Variable("@n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("BEGIN TRAN", ast.Transaction("BEGIN")),
        ("BEGIN TRANSACTION t WITH MARK N'd'", ast.Transaction("BEGIN", "t", "d")),
        ("BEGIN TRAN @t WITH MARK", ast.Transaction("BEGIN", ast.Variable("@t"), "")),
        ("BEGIN TRAN t WITH MARK @d", ast.Transaction("BEGIN", "t", ast.Variable("@d"))),
        ("COMMIT", ast.Transaction("COMMIT")),
        ("COMMIT WORK", ast.Transaction("COMMIT")),
        ("COMMIT TRAN t", ast.Transaction("COMMIT", "t")),
        ("ROLLBACK TRANSACTION [t]", ast.Transaction("ROLLBACK", "t")),
        ("SAVE TRAN s", ast.Transaction("SAVE", "s")),
    ],
)
def test_transactions(text: str, expected: ast.Transaction) -> None:
    found = one(text, ast.Transaction)
    assert (found.action, found.name, found.mark) == (expected.action, expected.name, expected.mark)


@pytest.mark.parametrize(
    ("text", "direction", "cursor", "into"),
    [
        ("FETCH NEXT FROM c INTO @a, @b", "NEXT", "c", ("@a", "@b")),
        ("FETCH c", "NEXT", "c", ()),
        ("FETCH FROM c INTO @a", "NEXT", "c", ("@a",)),
        ("FETCH PRIOR FROM @c", "PRIOR", "@c", ()),
        ("FETCH ABSOLUTE -1 FROM c", "ABSOLUTE", "c", ()),
        ("FETCH RELATIVE @n FROM GLOBAL c", "RELATIVE", "c", ()),
    ],
)
def test_fetch(text: str, direction: str, cursor: str, into: tuple[str, ...]) -> None:
    found = one(text, ast.Fetch)
    assert (found.direction, found.cursor, found.into) == (direction, cursor, into)


def test_cursor_declarations() -> None:
    found = one("DECLARE c INSENSITIVE SCROLL CURSOR FOR SELECT 1 FOR READ ONLY", ast.DeclareCursor)
    assert found.options == ("INSENSITIVE", "SCROLL", "READ ONLY")
    found = one("DECLARE c CURSOR LOCAL FAST_FORWARD FOR SELECT 1", ast.DeclareCursor)
    assert found.options == ("LOCAL", "FAST_FORWARD")


def test_raiserror_and_throw() -> None:
    found = one("RAISERROR (N'%s %d', 16, -1, @a, 5) WITH LOG, NOWAIT", ast.Raiserror)
    assert (len(found.args), found.options) == (2, ("LOG", "NOWAIT"))
    assert one("THROW", ast.Throw).number is None
    assert one("THROW 50001, 'x', 1", ast.Throw).number == num(50001)


def test_dbcc() -> None:
    found = one("DBCC CHECKIDENT ('t', RESEED, -5) WITH NO_INFOMSGS, MAXDOP = 2", ast.Dbcc)
    assert found.args[1] == ast.Literal("RESEED", types.varchar(6))
    assert found.options == ("NO_INFOMSGS", "MAXDOP = 2")
    assert one("DBCC CHECKDB", ast.Dbcc).args == ()


def test_drop_names_and_if_exists() -> None:
    found = one("DROP PROC IF EXISTS dbo.a, b", ast.DropObject)
    assert (found.kind, found.if_exists, len(found.names)) == ("PROCEDURE", True, 2)
    assert one("DROP INDEX t.i", ast.DropIndex).items == (("i", ast.Name("t")),)
