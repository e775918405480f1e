"""Whole batches: statements without semicolons, errors with their lines, real scripts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.resources import reserved_words
from tdsproxy.tsql.script import split_batches

BAD_TIME = "Incorrect time syntax in time string '{}' used with WAITFOR."


def kinds(text: str) -> list[str]:
    return [type(statement).__name__ for statement in parse(text).statements]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (";;", []),
        ("SELECT 1 SELECT 2", ["QueryStatement", "QueryStatement"]),
        ("SELECT a b FROM t c SELECT 2", ["QueryStatement", "QueryStatement"]),
        ("DECLARE @a int SET @a = 1 SELECT @a", ["Declare", "SetVariable", "QueryStatement"]),
        ("INSERT t VALUES (1) INSERT t SELECT 1 INSERT t EXEC p INSERT t DEFAULT VALUES", ["Insert"] * 4),
        ("UPDATE t SET a = 1 FROM u DELETE t TRUNCATE TABLE t", ["Update", "Delete", "Truncate"]),
        ("WITH a AS (SELECT 1 x) DELETE t FROM a", ["Delete"]),
        ("SELECT 1; WITH a AS (SELECT 1 x) SELECT * FROM a", ["QueryStatement"] * 2),
        ("IF 1 = 1 WITH a AS (SELECT 1 x) SELECT * FROM a", ["If"]),
        ("IF 1 = 1 SELECT 1; ELSE SELECT 2 SELECT 3", ["If", "QueryStatement"]),
        ("WHILE 1 = 1 BREAK CONTINUE", ["While", "Continue"]),
        ("BEGIN SELECT 1 END BEGIN TRAN COMMIT", ["Block", "Transaction", "Transaction"]),
        ("BEGIN TRY SELECT 1 END TRY BEGIN CATCH END CATCH PRINT 'x'", ["TryCatch", "Print"]),
        ("a: GOTO a COMMIT TRAN b: RETURN c: PRINT 'x' d:", ["Label", "Goto", "Transaction", "Label",
         "Return",
                                                             "Label", "Print", "Label"]),
        ("sp_who", ["Execute"]),
        ("sp_datatype_info_100 12,3", ["Execute"]),
        ("[master].dbo.sp_who 'sa' SELECT 1", ["Execute", "QueryStatement"]),
        ("EXEC p EXEC (@s) EXEC @p @a OUT", ["Execute", "ExecuteString", "Execute"]),
        ("USE x PRINT 'a' RAISERROR ('a', 16, 1) WITH NOWAIT THROW", ["Use", "Print", "Raiserror",
         "Throw"]),
        ("DECLARE c CURSOR FOR SELECT 1 OPEN c FETCH NEXT FROM c INTO @a CLOSE c DEALLOCATE c",
         ["DeclareCursor", "CursorAction", "Fetch", "CursorAction", "CursorAction"]),
        ("SELECT a FROM t ORDER BY a OFFSET 1 ROWS FETCH NEXT FROM c", ["QueryStatement", "Fetch"]),
        ("DECLARE @c CURSOR SET @c = CURSOR STATIC FOR SELECT 1", ["Declare", "DeclareCursor"]),
        ("WAITFOR DELAY '00:00:01' WAITFOR TIME @t", ["WaitFor", "WaitFor"]),
        ("WAITFOR DELAY '0:0:0.2' WAITFOR DELAY '00:00:00:200' WAITFOR DELAY '00:00' WAITFOR DELAY '' "
         "WAITFOR DELAY ' 00:00:00.100 ' WAITFOR TIME '12:00:00.100 AM'", ["WaitFor"] * 6),
        ("SELECT name, precision, scale FROM sys.all_columns", ["QueryStatement"]),
        ("CREATE TABLE t (a int) CREATE INDEX i ON t (a) DROP INDEX i ON t DROP TABLE IF EXISTS t, u",
         ["CreateTable", "CreateIndex", "DropIndex", "DropObject"]),
        ("CREATE DATABASE a CREATE LOGIN b WITH PASSWORD = 'x' CREATE USER b ALTER ROLE r ADD MEMBER b",
         ["CreateDatabase", "CreateLogin", "CreateUser", "AlterRole"]),
        ("GRANT SELECT ON t TO u DENY EXECUTE TO u REVOKE ALL FROM u", ["Permission"] * 3),
        ("DBCC CHECKDB (N'x') WITH NO_INFOMSGS KILL 53 CHECKPOINT RECONFIGURE WITH OVERRIDE",
         ["Dbcc", "Kill", "Checkpoint", "Reconfigure"]),
        ("MERGE t USING s ON 1 = 1 WHEN MATCHED THEN DELETE; SELECT 1", ["Merge", "QueryStatement"]),
        ("EXECUTE AS USER = 'x' REVERT UPDATE STATISTICS t SELECT 1",
         ["ExecuteAs", "Revert", "Accepted", "QueryStatement"]),
        ("CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'p' DROP CERTIFICATE c", ["KeyStatement",
         "KeyStatement"]),
        ("INSERT BULK t ([a] int, b nvarchar(5) COLLATE Latin1_General_BIN2) WITH (TABLOCK)",
         ["InsertBulk"]),
        ("ENABLE TRIGGER tr ON t DISABLE TRIGGER ALL ON t", ["AlterTable", "AlterTable"]),
        ("CREATE TYPE a FROM int CREATE SEQUENCE s START WITH 1", ["CreateType", "CreateSequence"]),
    ],
)  # fmt: skip
def test_statements(text: str, expected: list[str]) -> None:
    assert kinds(text) == expected


@pytest.mark.parametrize(
    ("text", "number", "message"),
    [
        ("SELECT * FROM", 102, "Incorrect syntax near 'FROM'."),
        ("SELECT a b c", 102, "Incorrect syntax near 'c'."),
        ("SELECT * FORM t WHERE a = 1", 102, "Incorrect syntax near 'FORM'."),
        ("SELECT * FROM t WHERE", 102, "Incorrect syntax near 'WHERE'."),
        ("SELECT * FROM WHERE a = 1", 156, "Incorrect syntax near the keyword 'WHERE'."),
        (
            "(SELECT TOP 1 a FROM t ORDER BY a) UNION SELECT 1",
            156,
            "Incorrect syntax near the keyword 'ORDER'.",
        ),
        ("SELECT (1 = 1)", 102, "Incorrect syntax near '='."),
        ("select 1 x y", 102, "Incorrect syntax near 'y'."),
        ("SELECT 1 UNION", 102, "Incorrect syntax near 'UNION'."),
        ("SELECT [a b] [c] 'd'", 102, "Incorrect syntax near 'd'."),
        (":setvar a b", 102, "Incorrect syntax near ':'."),
        ("PRINT '$(x)' $(x)", 102, "Incorrect syntax near '$'."),
        ("BEGIN END", 156, "Incorrect syntax near the keyword 'END'."),
        ("BEGIN SELECT 1", 102, "Incorrect syntax near '1'."),
        ("END", 156, "Incorrect syntax near the keyword 'END'."),
        ("BEGIN TRY SELECT 1 END TRY; BEGIN CATCH END CATCH", 102, "Incorrect syntax near ';'."),
        ("BEGIN TRY SELECT 1 END TRY SELECT 2", 156, "Incorrect syntax near the keyword 'SELECT'."),
        ("SELECT 1 foo bar", 102, "Incorrect syntax near 'bar'."),
        *(
            (f"WAITFOR DELAY '{time}'", 148, BAD_TIME.format(time))
            for time in ("abc", "25:00", "24:00:00", "00:60:00", "2020-01-01 00:00:00.100", "00:00:00.0005",
                         "5", "00:00:00.1234567", "00:00:00:1000", "00:00:00.100 PM", ":05")
        ),
        ("WAITFOR DELAY 5", 102, "Incorrect syntax near '5'."),
        ("WAITFOR DELAY '00:00:00.1' + ''", 102, "Incorrect syntax near '+'."),
        ("WAITFOR TIME", 102, "Incorrect syntax near 'TIME'."),
        ("WAITFOR DELAY '00:00:00.100', TIMEOUT 5", 102, "Incorrect syntax near ','."),
        ("TRUNCATE TABLE @t", 102, "Incorrect syntax near '@t'."),
        ("IF 1 SELECT 1", 4145, "An expression of non-boolean type specified in a context where a "
         "condition is "
                                "expected, near 'SELECT'."),
        ("SELECT 1 WHERE a AND b = 1", 4145, "An expression of non-boolean type specified in a context "
         "where a "
                                             "condition is expected, near 'AND'."),
        ("SELECT 1; CREATE PROCEDURE p AS SELECT 1", 111,
         "'CREATE/ALTER PROCEDURE' must be the first statement in a query batch."),
        ("SELECT 1 CREATE VIEW v AS SELECT 1 a", 111, "'CREATE VIEW' must be the first statement in a "
         "query batch."),
        ("SELECT 1 ALTER FUNCTION f() RETURNS int BEGIN RETURN 1 END", 111,
         "'ALTER FUNCTION' must be the first statement in a query batch."),
        ("SELECT 1 CREATE SCHEMA s", 111, "'CREATE SCHEMA' must be the first statement in a query batch."),
        ("IF 1 = 1 CREATE PROCEDURE p AS SELECT 1", 156, "Incorrect syntax near the keyword 'PROCEDURE'."),
        ("CREATE PROCEDURE db.dbo.p AS SELECT 1", 166,
         "'CREATE/ALTER PROCEDURE' does not allow specifying the database name as a prefix to the "
         "object name."),
        ("CREATE PROCEDURE p AS USE master", 154,
         "a USE database statement is not allowed in a procedure, function or trigger."),
        ("CREATE PROCEDURE p @a int, @A int AS SELECT 1", 134, "The variable name '@A' has already been "
         "declared. "
         "Variable names must be unique within a query batch or stored procedure."),
        ("RETURN 7", 178, "A RETURN statement with a return value cannot be used in this context."),
        ("EXEC p @a = 1, 2", 119, "Must pass parameter number 2 and subsequent parameters as '@name = "
         "value'. After "
         "the form '@name = value' has been used, all subsequent parameters must be passed in the form "
         "'@name = value'."),
        ("EXEC p 1, 2, 5 OUTPUT", 179,
         "Cannot use the OUTPUT option when passing a constant to a stored procedure."),
        ("SET FOO ON", 195, "'FOO' is not a recognized SET option."),
        ("SELECT DATEADD(1, 2, 3)", 1023, "Invalid parameter 1 specified for dateadd."),
        ("DECLARE @a varchar(0)", 1001, "Line 2: Length or precision specification 0 is invalid."),
        ("SELECT a.b.c.d.e FROM a.b.c.d.e", 117,
         "The object name 'a.b.c.d.e' contains more than the maximum number of prefixes. The maximum "
         "is 3."),
        ("MERGE t USING s ON 1 = 1 WHEN MATCHED THEN DELETE", 10713,
         "A MERGE statement must be terminated by a semi-colon (;)."),
        ("CREATE VIEW v AS SELECT 1 a SELECT 2", 156, "Incorrect syntax near the keyword 'SELECT'."),
    ],
)  # fmt: skip
def test_errors(text: str, number: int, message: str) -> None:
    with pytest.raises(SyntaxError_) as caught:
        parse("\n" + text)
    (found,) = caught.value.messages
    assert (found.number, found.severity, found.state, found.text, found.line) == (number, 15, 1, message, 2)


@pytest.mark.parametrize(
    "text",
    ["SELECT 1 WITH a AS (SELECT 1 x) SELECT * FROM a", "SELECT * FROM t\nWITH a AS (SELECT 1 x) SELECT 1",
     "sp_who WITH a AS (SELECT 1 x) SELECT 1", "DECLARE @a int WITH a AS (SELECT 1 x) SELECT 1"],
)  # fmt: skip
def test_with_needs_a_semicolon_before_it(text: str) -> None:
    with pytest.raises(SyntaxError_) as caught:
        parse(text)
    assert caught.value.number == 319
    assert caught.value.messages[0].text.startswith(
        "Incorrect syntax near the keyword 'with'. If this statement"
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("SELECT 1\nSELECT\n,", 3),
        ("SELECT 1\n/* \n */ SELECT * FROM\n\n", 3),
        ("PRINT 'a\nb'\nFOO BAR", 3),
        ("CREATE PROCEDURE p AS\nSELECT 1\nSELECT FROM", 3),
    ],
)
def test_lines_of_errors(text: str, line: int) -> None:
    with pytest.raises(SyntaxError_) as caught:
        parse(text)
    assert caught.value.messages[0].line == line


def test_spans_and_lines_of_statements() -> None:
    text = "SELECT 1 ;\n\nIF 1 = 1\n  PRINT 'x'\nELSE IF 2 = 2 PRINT 'y';\nsel: RETURN"
    statements = parse(text).statements
    assert [text[s.pos : s.end] for s in statements] == [
        "SELECT 1", "IF 1 = 1\n  PRINT 'x'\nELSE IF 2 = 2 PRINT 'y'", "sel:", "RETURN",
    ]  # fmt: skip
    assert [s.line for s in statements] == [1, 3, 6, 6]
    chain = statements[1]
    assert isinstance(chain, ast.If)
    assert (chain.then.line, text[chain.then.pos : chain.then.end]) == (4, "PRINT 'x'")
    assert chain.otherwise is not None
    assert text[chain.otherwise.pos : chain.otherwise.end] == "IF 2 = 2 PRINT 'y'"


def test_quoted_identifier_off_makes_strings() -> None:
    (statement,) = parse('PRINT "x"', quoted_identifier=False).statements
    assert isinstance(statement, ast.Print)
    assert isinstance(statement.value, ast.Literal)
    (statement,) = parse('PRINT "x"').statements
    assert isinstance(statement, ast.Print)
    assert isinstance(statement.value, ast.ColumnRef)


def test_long_chains_are_not_deep() -> None:
    parse("SELECT " + " + ".join(["'a'"] * 5000))
    parse("SELECT 1 WHERE " + " OR ".join(["1 = 1"] * 2000))
    parse(" UNION ALL ".join(["SELECT 1"] * 1000))
    parse("IF 1 = 1 PRINT 'x'" + " ELSE IF 1 = 1 PRINT 'x'" * 500)


@pytest.mark.parametrize(
    "text",
    ["SELECT " + "(" * 5000 + "1" + ")" * 5000, "SELECT " + "-~" * 2500 + "1",
    "IF " + "(" * 5000 + "1=1" + ")" * 5000,
     "BEGIN " * 2000 + "SELECT 1" + " END" * 2000, "SELECT " + "(SELECT " * 1000 + "1" + ")" * 1000,
     "IF " + "NOT " * 5000 + "1 = 1 SELECT 1", "SELECT * FROM " + "(" * 3000 + "t" + ")" * 3000],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_what_nests_too_deeply_is_refused(text: str) -> None:
    with pytest.raises(SyntaxError_) as caught:
        parse(text)
    assert caught.value.number == 191


# ---------------------------------------------------------------------------- real scripts

_FACTS = Path(os.environ.get("TDSPROXY_SHARED", Path(__file__).parents[3] / "shared"))
_SCRIPTS = sorted(_FACTS.glob("admin-scripts/*.sql")) + sorted(_FACTS.glob("data/chinook/*.sql"))


@pytest.mark.skipif(not _SCRIPTS, reason="no admin scripts beside the source tree")
@pytest.mark.parametrize("path", _SCRIPTS, ids=lambda path: path.name)
def test_real_scripts_parse(path: Path) -> None:
    for batch in split_batches(path.read_text(encoding="utf-8-sig")):
        if not any(line.startswith(":") for line in batch.text.splitlines()):
            check_spans(batch.text, parse(batch.text).statements)


def check_spans(
    text: str, statements: tuple[ast.Statement, ...], low: int = 0, high: int | None = None
) -> None:
    """Statements follow each other within the one around them, and begin and end at text."""
    for statement in statements:
        assert low <= statement.pos < statement.end <= (len(text) if high is None else high)
        assert text[statement.pos : statement.end].strip() == text[statement.pos : statement.end]
        assert statement.line == text.count("\n", 0, statement.pos) + 1
        for body in bodies(statement):
            check_spans(text, body, statement.pos, statement.end)
        low = statement.end


def bodies(statement: ast.Statement) -> Iterator[tuple[ast.Statement, ...]]:
    for name in ast.field_names(statement):
        value = getattr(statement, name)
        if isinstance(value, ast.Statement) and value.end:
            yield (value,)
        elif isinstance(value, tuple) and value and isinstance(value[0], ast.Statement):
            yield value


# ---------------------------------------------------------------------------- anything

_SOUP = st.one_of(
    st.sampled_from(sorted(reserved_words())),
    st.sampled_from(
        [
            "a",
            "b",
            "#t",
            "@v",
            "@@ERROR",
            "'x'",
            "N'x'",
            "1",
            "1.5",
            "0x1",
            "(",
            ")",
            ",",
            ".",
            "=",
            "+",
            "-",
            "*",
            ";",
            ":",
            "::",
            "<",
            ">",
            "[q]",
            "TRY",
            "CATCH",
            "OUTPUT",
        ]
    ),
)


@given(
    st.lists(_SOUP, max_size=25),
    st.sampled_from(["", "SELECT", "CREATE", "ALTER DATABASE x SET", "DECLARE @a"]),
)
def test_only_syntax_errors_come_out(words: list[str], head: str) -> None:
    text = " ".join([head, *words])
    with suppress(SyntaxError_):
        check_spans(text, parse(text).statements)
