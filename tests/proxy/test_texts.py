"""What is sent to another server: excerpts of a batch, and the values that go with them."""

from __future__ import annotations

import pytest

from tdsproxy.proxy.exchange import Exchange
from tdsproxy.proxy.local import is_local, is_local_procedure, may_be_local, may_be_ours, sets_recovery
from tdsproxy.proxy.remote_evaluator import head_of
from tdsproxy.proxy.remote_interpreter import Claim, claim
from tdsproxy.proxy.rewriting import statement, tables_of
from tdsproxy.proxy.texts import Excerpt, Texts, table_body
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.tokens import ColumnMeta, TokenBuilder
from tdsproxy.tds.types import INT
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.calling import split_name
from tdsproxy.tsql.functions.registry import CaughtError
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.state import Frame, Options, SessionState


def texts_of(source: str) -> tuple[tuple[ast.Statement, ...], Texts]:
    batch = parse(source)
    texts = Texts()
    texts.add(batch)
    return batch.statements, texts


def test_conditions_and_values_as_they_were_written() -> None:
    (declare, set_, if_, while_, print_), texts = texts_of(
        "DECLARE @a int = (SELECT MAX(n) FROM t), @b decimal(9, 2), @c int = f(1, 2)\n"
        "SET @a += (SELECT 1) + 2;\n"
        "IF EXISTS (SELECT 1 FROM t) AND @a > 1 PRINT 1\n"
        "WHILE @a < (SELECT 2) BEGIN SET @a = 1 END\n"
        "PRINT CONCAT('a', (SELECT 1));\n"
    )
    assert isinstance(declare, ast.Declare)
    first, _second, third = declare.items
    assert first.value is not None
    assert texts.of(first.value) == Excerpt("(SELECT MAX(n) FROM t)", 1)
    assert third.value is not None
    assert texts.of(third.value) == Excerpt("f(1, 2)", 1)
    assert isinstance(set_, ast.SetVariable)
    assert texts.of(set_.value) == Excerpt("(SELECT 1) + 2", 2)
    assert isinstance(if_, ast.If)
    condition = texts.of(if_.condition)
    assert condition is not None
    assert condition.text.strip() == "EXISTS (SELECT 1 FROM t) AND @a > 1"
    assert isinstance(while_, ast.While)
    condition = texts.of(while_.condition)
    assert condition is not None
    assert condition.text.strip() == "@a < (SELECT 2)"
    assert isinstance(print_, ast.Print)
    assert texts.of(print_.value) == Excerpt("CONCAT('a', (SELECT 1))", 5)


@pytest.mark.parametrize("ending", ["", " FOR READ ONLY", " FOR UPDATE OF n"])
def test_a_cursors_query(ending: str) -> None:
    (declare,), texts = texts_of(
        f"DECLARE c CURSOR LOCAL FAST_FORWARD FOR SELECT n FROM t WHERE n IN (SELECT 1){ending}"
    )
    assert isinstance(declare, ast.DeclareCursor)
    assert texts.of(declare.query) == Excerpt("SELECT n FROM t WHERE n IN (SELECT 1)", 1)


def test_a_table_variables_definition() -> None:
    text = "DECLARE @t TABLE (id int PRIMARY KEY, n decimal(9, 2) DEFAULT (1))"
    assert table_body(text, "@T") == "(id int PRIMARY KEY, n decimal(9, 2) DEFAULT (1))"
    assert table_body(text, "@u") is None


@pytest.fixture
def frame() -> Frame:
    made = Frame(SessionState(error=7, rowcount=3), Options())
    made.declare("@n", t.INT, 5)
    made.declare("@s", t.nvarchar(20), "it's")
    tables_of(made)["@t"] = "[#made]"
    return made


def test_values_go_with_a_statement(frame: Frame) -> None:
    made = statement(Excerpt("SELECT @S, @@ROWCOUNT, '@n' -- @n\n, [@n] FROM @t", 4), frame)
    assert made.before == "DECLARE @S nvarchar(20) = N'it''s'; "
    assert made.text == "SELECT @S, 3, '@n' -- @n\n, [@n] FROM [#made]"
    assert (made.line, made.variables) == (4, ("@S",))


def test_the_caught_error_goes_with_a_statement(frame: Frame) -> None:
    frame.session.caught.append(CaughtError(3013, 16, 1, "it's over", 2))
    made = statement(Excerpt("INSERT t VALUES (ERROR_NUMBER(), error_message(), ERROR_NUMBERS())", 1), frame)
    assert made.text == ("INSERT t VALUES (@tdsproxy_ERROR_NUMBER, @tdsproxy_ERROR_MESSAGE, ERROR_NUMBERS())")
    assert made.before == (
        "DECLARE @tdsproxy_ERROR_NUMBER int = 3013, @tdsproxy_ERROR_MESSAGE nvarchar(4000) = N'it''s over'; "
    )


@pytest.mark.parametrize("source", ["EXEC p 1", "SELECT 1 UNION SELECT 2", "VALUES (1)", "EXECUTE ('x')"])
def test_the_head_of_an_insert(source: str) -> None:
    head = "INSERT INTO #t (a, [select]) "
    assert head_of(head + source) == head


@pytest.mark.parametrize(
    ("text", "database", "expected"),
    [
        ("SELECT * FROM msdb.dbo.backupset", "shop", True),
        ("SELECT * FROM MSDB..backupset b JOIN shop.dbo.t ON 1 = 1", "shop", True),
        ("IF EXISTS (SELECT 1 FROM msdb.dbo.backupset) PRINT 1", "shop", True),
        ("SELECT * FROM backupset", "shop", False),
        ("SELECT * FROM backupset", "msdb", True),
        ("SELECT 'msdb.dbo.backupset'", "shop", False),
        ("SELECT * FROM other.msdb.dbo.backupset", "shop", True),
        ("EXEC sp_addumpdevice 'disk', 'a', 'b'", "shop", True),
        ("EXEC master.dbo.xp_dirtree 'x'", "shop", True),
        ("SELECT * FROM sys.backup_devices", "shop", True),
        ("SELECT * FROM dbo.backup_devices", "shop", False),
        ("CREATE PROCEDURE p AS SELECT * FROM msdb.dbo.backupset", "shop", False),
    ],
)
def test_what_is_about_msdb(text: str, database: str, *, expected: bool) -> None:
    if text.startswith("SELECT * FROM other."):
        expected = False  # another server's
    (found,) = parse(text).statements
    assert is_local(found, database) is expected
    if expected and database != "msdb":
        assert may_be_ours(text.encode("utf-16-le"))


def test_what_may_be_about_msdb() -> None:
    (found,) = parse("SELECT * FROM dbo.restorehistory").statements
    assert may_be_local(found)
    (other,) = parse("SELECT * FROM shop.dbo.restorehistory").statements
    assert not may_be_local(other)
    assert is_local_procedure(split_name("msdb.dbo.sp_help_job"))
    assert not is_local_procedure(split_name("dbo.sp_help_job"))


@pytest.mark.parametrize(
    ("text", "local", "expected"),
    [
        ("SELECT 1", True, Claim.NO),
        ("IF 1 = 1 BACKUP DATABASE a TO DISK = 'b'", False, Claim.NATIVE),
        ("BACKUP DATABASE a TO DISK = 'b'; SELECT * FROM msdb.dbo.backupset", True, Claim.YES),
        ("BACKUP DATABASE a TO DISK = 'b'; SELECT * FROM msdb.dbo.backupset", False, Claim.NATIVE),
        ("EXEC ('BACKUP DATABASE a TO DISK = ''b''')", False, Claim.YES),
        ("EXEC ('SELECT 1'); SELECT 'x'", True, Claim.NO),
        ("EXEC p 'BACKUP DATABASE'", True, Claim.NO),
        ("EXEC @p 'BACKUP DATABASE'", False, Claim.YES),
        ("SELECT * FROM backupset", True, Claim.IN_MSDB),
        ("USE msdb; SELECT * FROM backupset", True, Claim.YES),
        ("USE msdb; SELECT 1", True, Claim.NO),
        ("ALTER DATABASE a SET RECOVERY FULL", False, Claim.YES),
        ("CREATE PROCEDURE p AS BACKUP DATABASE a TO DISK = 'b'", True, Claim.NO),
        ("nothing that (can be read BACKUP", True, Claim.NO),
    ],
)
def test_whose_a_batch_is(text: str, expected: Claim, *, local: bool) -> None:
    assert claim(text, local=local) is expected


def test_which_alter_is_the_keepers() -> None:
    (mine,) = parse("ALTER DATABASE a SET RECOVERY SIMPLE").statements
    (other,) = parse("ALTER DATABASE a SET READ_ONLY").statements
    assert (sets_recovery(mine), sets_recovery(other)) == (True, False)


def test_an_answer_to_another_question_is_refused(frame: Frame) -> None:
    exchange = Exchange(statement(Excerpt("SELECT 1", 1), frame), 0x74000004)
    mark = exchange.text.split("[")[1].split("]")[0]
    build = TokenBuilder()
    columns = [ColumnMeta(mark, INT), ColumnMeta("x", INT)]
    answer = build.col_metadata(columns) + build.row_encoder(columns)((1, 2)) + build.done()
    with pytest.raises(ProtocolError):
        list(exchange.feed(answer))
