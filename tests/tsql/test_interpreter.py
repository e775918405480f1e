"""The interpreter over an evaluator without a database.

The tokens expected are those of captures of SQL Server 2022 and 2025.
"""

from __future__ import annotations

import pytest

from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.evaluator import Argument, PythonProcedure
from tdsproxy.tsql.interpreter import Cancelled, Interpreter
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Column, Done, Message, Reply, ResultSet, ReturnStatus, ReturnValue, Rows
from tdsproxy.tsql.scalar import TypedValue
from tests.tsql.fake_evaluator import FakeEvaluator, Session


def tokens(replies: list[Reply]) -> list[str]:
    """Each token in a word: ``done193=1!`` is a DONE of CurCmd 193, count 1, with the error bit; of
    ``done193~1`` the count is not valid."""
    out = []
    for reply in replies:
        match reply:
            case Done():
                count = "" if reply.count is None else f"{'=' if reply.counted else '~'}{reply.count}"
                out.append(f"{reply.kind.value}{reply.command}{count}{'!' if reply.error else ''}")
            case ReturnStatus():
                out.append(f"status={reply.value}")
            case Message():
                out.append(f"error{reply.number}" if reply.is_error else f"info{reply.number}")
            case ReturnValue():
                out.append(f"{reply.name}={reply.value}")
    return out


def rows(replies: list[Reply]) -> list[tuple[object, ...]]:
    return [row for reply in replies if isinstance(reply, Rows) for row in reply.rows]


def messages(replies: list[Reply]) -> list[Message]:
    return [reply for reply in replies if isinstance(reply, Message)]


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PRINT 'a'; PRINT 'b'", ["info0", "done247", "info0", "done247"]),
        ("IF 1=0 PRINT 'skip'", ["done192"]),
        ("IF 1=1 PRINT 'yes'", ["done192", "info0", "done247"]),
        ("IF NULL = 1 PRINT 'a' ELSE PRINT 'b'", ["done192", "info0", "done247"]),
        ("BEGIN SELECT 1 AS x; END", ["done193=1"]),
        ("DECLARE @i int", []),
        ("DECLARE @i int = 1, @j int = 2", ["done193=1", "done193=1"]),
        (
            "DECLARE @i INT=0; WHILE @i<2 BEGIN SET @i=@i+1; END",
            ["done193=1", "done192", "done193=1", "done192", "done193=1", "done192"],
        ),
        (
            "BEGIN TRY PRINT 'a'; END TRY BEGIN CATCH PRINT 'c'; END CATCH",
            ["done349", "info0", "done247", "done351"],
        ),
        (
            "BEGIN TRY RAISERROR('o',16,1); END TRY BEGIN CATCH PRINT 'c'; END CATCH",
            ["done349", "done246", "done350", "info0", "done247", "done351"],
        ),
        ("SET NOCOUNT ON; SELECT 1 AS x", ["done185", "done193~1"]),
        ("EXEC ('SELECT 5 AS five')", ["doneInProc193=1", "status=0", "doneProc224"]),
        ("EXEC ('SELECT * FROM nope'); PRINT 'on'", ["error208", "doneProc224!", "info0", "done247"]),
        ("EXEC nope; PRINT 'on'", ["error2812", "doneProc224!", "info0", "done247"]),
        ("SELECT 1/0 AS bad; PRINT 'on'", ["error8134", "done193!", "info0", "done247"]),
        ("SELECT CAST('bad' AS int) AS bad; PRINT 'never'", ["error245", "done253!"]),
        ("THROW 51000, 'test', 1; PRINT 'never'", ["error51000", "done253!"]),
        ("SET XACT_ABORT ON; SELECT 1/0 AS bad; PRINT 'never'", ["done185", "error8134", "done253!"]),
        (
            "SET XACT_ABORT ON; RAISERROR('x', 16, 1); PRINT 'on'",
            ["done185", "error50000", "done246!", "info0", "done247"],
        ),
        ("SELECT 1 AS a; SELECT a FROM nope; PRINT 'never'", ["done193=1", "error208", "done253!"]),
        ("RETURN; PRINT 'never'", ["done219"]),
        ("SELECT @nope AS a; PRINT 'never'", ["error137", "done253!"]),
        ("PRINT 'never'; RETURN 4", ["error178", "done253!"]),
        ("GOTO nowhere", ["error133", "done253!"]),
        ("DECLARE @a int; DECLARE @a int", ["error134", "done253!"]),
        ("BREAK", ["error135", "done253!"]),
        ("CREATE PROCEDURE p AS SELECT @outer AS o", ["error137", "done253!"]),
        ("CREATE PROCEDURE p @a int, @a int AS SELECT 1 AS o", ["error134", "done253!"]),
        (
            "EXEC sp_executesql N'CREATE PROCEDURE p AS SELECT 1 AS a', N'@a int', 1",
            ["error156", "status=156", "doneProc224!"],
        ),
    ],
)
def test_tokens_of_a_batch(session: Session, text: str, expected: list[str]) -> None:
    assert tokens(session.run(text)) == expected


PROCEDURES = {
    "p_out": "CREATE PROCEDURE p_out @a int, @b int = 5, @c int OUTPUT AS\nBEGIN\n  SET @c = @a + @b;\n"
    "  SELECT @a AS a, @b AS b;\n  RETURN 3;\nEND",
    "p_rs": "CREATE PROCEDURE p_rs AS BEGIN RAISERROR('boom', 16, 1); SELECT 'after' AS after END",
    "p_div": "CREATE PROCEDURE p_div AS BEGIN SELECT 1/0 AS x; SELECT 2 AS y END",
    "p_throw": "CREATE PROCEDURE p_throw AS BEGIN SELECT 'b' AS b; THROW 50001, 'thrown', 1 END",
    "p_missing": "CREATE PROCEDURE p_missing AS BEGIN SELECT 'f' AS f; SELECT * FROM nope; SELECT 1 "
    "AS never END",
    "p_none": "CREATE PROCEDURE p_none AS RETURN",
    "p_null": "CREATE PROCEDURE p_null AS RETURN NULL",
    "p_tran": "CREATE PROCEDURE p_tran AS BEGIN TRANSACTION",
    "p_rec": "CREATE PROCEDURE p_rec @n int AS SET NOCOUNT ON IF @n > 0 BEGIN DECLARE @m int = @n - 1; "
    "EXEC p_rec @m END ELSE SELECT @@NESTLEVEL AS lvl",
}


@pytest.fixture
def procedures(session: Session) -> Session:
    for text in PROCEDURES.values():
        assert tokens(session.run(text)) == ["done222"]
    return session


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "DECLARE @r int, @x int; EXEC @r = p_out 1, 2, @x OUTPUT; SELECT @r AS r, @x AS x",
            ["doneInProc193=1", "doneInProc193=1", "doneInProc193=1", "status=3", "doneProc224", "done193=1"],
        ),
        (
            "SET NOCOUNT ON; EXEC p_out 1, 2, 3; SET NOCOUNT OFF",
            ["done185", "doneInProc193~1", "status=3", "doneProc224", "done186"],
        ),
        ("EXEC p_out 1", ["error201", "doneProc224!"]),
        ("EXEC p_out 1, 2, 3, 4; PRINT 'never'", ["error8144", "done253!"]),
        ("EXEC p_out @a = 1, @zz = 2, @c = 1", ["error8145", "doneProc224!"]),
        ("EXEC p_out @a = 1, @a = 2, @c = 3", ["error8143", "doneProc224!"]),
        ("EXEC p_out 'abc', 1, 2", ["error8114", "doneProc224!"]),
        ("DECLARE @x int; EXEC p_out @a = 1, 2, @c = @x OUTPUT", ["error119", "done253!"]),
        ("EXEC p_out 1, 2, 5 OUTPUT", ["error179", "done253!"]),
        ("EXEC p_none", ["doneInProc219", "status=0", "doneProc224"]),
        ("EXEC p_null", ["info282", "doneInProc193=1", "status=0", "doneProc224"]),
        ("EXEC p_rs", ["error50000", "doneInProc246!", "doneInProc193=1", "status=-6", "doneProc224"]),
        ("EXEC p_div", ["error8134", "doneInProc193!", "doneInProc193=1", "status=-6", "doneProc224"]),
        ("EXEC p_throw; PRINT 'never'", ["doneInProc193=1", "error50001", "done253!"]),
        ("EXEC p_missing; PRINT 'on'", ["doneInProc193=1", "error208", "doneProc224!", "info0", "done247"]),
        ("EXEC p_tran", ["doneInProc212", "status=0", "error266", "doneProc224!"]),
        ("EXEC p_rec 40; PRINT 'never'", ["error217", "done253!"]),
        (
            "BEGIN TRY EXEC p_div END TRY BEGIN CATCH SELECT ERROR_NUMBER() AS n END CATCH",
            ["done349", "doneInProc193=0", "doneProc224", "done350", "done193=1", "done351"],
        ),
        (
            "BEGIN TRY EXEC p_missing END TRY BEGIN CATCH SELECT ERROR_NUMBER() AS n END CATCH",
            ["done349", "doneInProc193=1", "doneProc224", "done350", "done193=1", "done351"],
        ),
        (
            "BEGIN TRY EXEC p_throw END TRY BEGIN CATCH SELECT ERROR_PROCEDURE() AS p END CATCH",
            ["done349", "doneInProc193=1", "doneInProc246", "doneProc224", "done350", "done193=1", "done351"],
        ),
        (
            "BEGIN TRY SELECT a FROM nope END TRY BEGIN CATCH PRINT 'never' END CATCH",
            ["done349", "error208", "done253!"],
        ),
    ],
)
def test_tokens_of_a_procedure(procedures: Session, text: str, expected: list[str]) -> None:
    assert tokens(procedures.run(text)) == expected


def test_output_and_status_reach_the_caller(procedures: Session) -> None:
    text = "DECLARE @r int, @x int; EXEC @r = p_out @a = 1, @c = @x OUTPUT; SELECT @r AS r, @x AS x"
    assert rows(procedures.run(text)) == [(1, 5), (3, 6)]


def test_nesting_counts_to_the_limit(procedures: Session) -> None:
    assert rows(procedures.run("EXEC p_rec 31")) == [(32,)]
    assert tokens(procedures.run("EXEC p_rec 32")) == ["error217", "done253!"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 1/0 AS bad; SELECT @@ERROR AS e, @@ROWCOUNT AS n", (8134, 0)),
        ("RAISERROR('x', 11, 4); SELECT @@ERROR AS e, @@ROWCOUNT AS n", (50000, 0)),
        ("RAISERROR('x', 10, 4); SELECT @@ERROR AS e, @@ROWCOUNT AS n", (0, 0)),
        ("RAISERROR('x', 0, 6) WITH SETERROR; SELECT @@ERROR AS e, @@ROWCOUNT AS n", (50000, 0)),
        ("SELECT 1 AS a UNION ALL SELECT 2; SELECT @@ERROR AS e, @@ROWCOUNT AS n", (0, 2)),
        ("RAISERROR('x', 16, 1); IF @@ERROR <> 0 SELECT @@ERROR AS e, @@ROWCOUNT AS n", (0, 0)),
        ("DECLARE @x int; SET @x = 1; SELECT @@ERROR AS e, @@ROWCOUNT AS n", (0, 1)),
        ("EXEC ('RAISERROR(''r'', 16, 1)'); SELECT @@ERROR AS e, @@ROWCOUNT AS n", (50000, 0)),
        (
            "BEGIN TRY SELECT 1/0 AS x END TRY BEGIN CATCH SELECT @@ERROR AS e, @@ROWCOUNT AS n END CATCH",
            (8134, 0),
        ),
    ],
)
def test_error_and_rowcount(session: Session, text: str, expected: tuple[int, int]) -> None:
    assert rows(session.run(text))[-1] == expected


def test_goto_leaves_and_enters_blocks(session: Session) -> None:
    text = """
    DECLARE @log varchar(20) = ''
    IF 1 = 1
    BEGIN
        WHILE 1 = 1
        BEGIN
            SET @log += 'a'
            IF @log = 'aaa' GOTO inside
        END
    END
    SET @log += 'never'
    IF 1 = 0
    BEGIN
        SET @log += 'never'
        inside:
        SET @log += 'b'
        GOTO done
    END
    SET @log += 'never'
    done:
    SELECT @log AS log
    """
    assert rows(session.run(text)) == [("aaab",)]


def test_break_and_continue(session: Session) -> None:
    text = """
    DECLARE @i int = 0, @s varchar(20) = ''
    WHILE @i < 10
    BEGIN
        SET @i += 1
        IF @i % 2 = 0 CONTINUE
        IF @i > 7 BREAK
        SET @s += CAST(@i AS varchar(5))
    END
    SELECT @s AS s, @i AS i
    """
    assert rows(session.run(text)) == [("1357", 9)]


def test_a_declare_again_keeps_the_value(session: Session) -> None:
    text = (
        "DECLARE @n int = 0 WHILE @n < 2 BEGIN DECLARE @x int SET @x = ISNULL(@x, 0) + 10 SET @n "
        "+= 1 END SELECT @x AS x"
    )
    assert rows(session.run(text)) == [(20,)]


def test_a_variable_cuts_and_converts(session: Session) -> None:
    text = (
        "DECLARE @a varchar(3) = 'abcdef', @b int = '42', @c decimal(5,2) = 1.005; SELECT @a AS "
        "a, @b AS b, @c AS c"
    )
    assert [str(value) for value in rows(session.run(text))[0]] == ["abc", "42", "1.01"]


def test_errors_carry_line_and_procedure(session: Session) -> None:
    session.run("CREATE PROCEDURE dbo.inner_one AS\nSELECT 1\n\nRAISERROR('deep', 16, 3)")
    found = messages(session.run("PRINT 'x'\n\nEXEC inner_one\nSELECT 1/0 AS y"))
    assert [(m.number, m.line, m.procedure) for m in found] == [
        (0, 1, ""),
        (50000, 4, "inner_one"),
        (8134, 4, ""),
    ]


def test_catch_shows_the_error_and_rethrows_it(session: Session) -> None:
    text = """BEGIN TRY
        SELECT 1/0 AS x
    END TRY BEGIN CATCH
        SELECT ERROR_NUMBER() AS n, ERROR_LINE() AS l, ERROR_SEVERITY() AS s, ERROR_MESSAGE() AS m;
        THROW
    END CATCH"""
    replies = session.run(text)
    assert rows(replies) == [(8134, 2, 16, "Divide by zero error encountered.")]
    assert [(m.number, m.line) for m in messages(replies)] == [(8134, 2)]
    assert tokens(replies)[-1] == "done253!"


def test_error_functions_are_null_outside_catch(session: Session) -> None:
    text = "BEGIN TRY RAISERROR('x',16,1) END TRY BEGIN CATCH END CATCH SELECT ERROR_NUMBER() AS n"
    assert rows(session.run(text)) == [(None,)]


def test_an_inner_catch_gives_the_outer_error_back(session: Session) -> None:
    text = """BEGIN TRY RAISERROR('outer',16,1) END TRY BEGIN CATCH
        BEGIN TRY RAISERROR('inner',16,1) END TRY BEGIN CATCH PRINT ERROR_MESSAGE() END CATCH
        PRINT ERROR_MESSAGE()
    END CATCH"""
    assert [m.text for m in messages(session.run(text))] == ["inner", "outer"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("RAISERROR(N'%s:%d:%%',16,1,N'duck',42)", "duck:42:%"),
        ("RAISERROR(N'%08x|%+6d|%.3s',16,1,255,12,N'duck')", "000000ff|   +12|duc"),
        ("RAISERROR(N'%s:%d',16,1,NULL,NULL)", "(null):(null)"),
        ("RAISERROR(N'%s:%d',16,1,N'duck')", "duck:(null)"),
        ("RAISERROR('%-5s|%*d|%i',16,1,'ab',4,7,-3)", "ab   |   7|-3"),
    ],
)
def test_raiserror_substitutes(session: Session, text: str, shown: str) -> None:
    assert [m.text for m in messages(session.run(text))] == [shown]


def test_raiserror_levels(session: Session) -> None:
    found = messages(
        session.run(
            "RAISERROR('a', 10, 3) RAISERROR('b', 9, 2) RAISERROR('c', -1, -1) RAISERROR('d', 16, 256)"
        )
    )
    assert [(m.severity, m.state) for m in found] == [(0, 3), (9, 2), (0, 1), (16, 0)]


def test_doomed_transaction(session: Session) -> None:
    text = """BEGIN TRAN
    BEGIN TRY SELECT CAST('x' AS int) AS a END TRY BEGIN CATCH SELECT XACT_STATE() AS s END CATCH"""
    replies = session.run(text)
    assert rows(replies) == [(-1,)]
    assert [m.number for m in messages(replies)] == [3998]
    assert session.evaluator.transactions == 0
    assert not session.state.doomed


def test_rollback_heals_a_doomed_transaction(session: Session) -> None:
    text = """BEGIN TRAN
    BEGIN TRY SELECT CAST('x' AS int) AS a END TRY BEGIN CATCH ROLLBACK SELECT XACT_STATE() AS s END CATCH"""
    replies = session.run(text)
    assert rows(replies) == [(0,)]
    assert messages(replies) == []


def test_xact_abort_rolls_back(session: Session) -> None:
    session.run("SET XACT_ABORT ON BEGIN TRAN SELECT 1/0 AS x PRINT 'never'")
    assert session.evaluator.transactions == 0


def test_nocount_of_a_procedure_ends_with_it(session: Session) -> None:
    session.run("CREATE PROCEDURE quiet AS SET NOCOUNT ON SELECT 1 AS a")
    assert tokens(session.run("EXEC quiet SELECT 2 AS b")) == [
        "doneInProc193~1",
        "status=0",
        "doneProc224",
        "done193=1",
    ]


def test_frames_are_left_after_errors(session: Session) -> None:
    session.run("EXEC ('EXEC (''SELECT CAST(''''x'''' AS int)'')')")
    assert [frame.nest_level for frame in session.evaluator.left] == [2, 1]


def test_insert_exec_takes_the_rows(session: Session) -> None:
    replies = session.run("INSERT INTO t EXEC ('SELECT 1 AS a UNION ALL SELECT 2'); SELECT a FROM t")
    assert tokens(replies) == ["done195=2", "done193=2"]
    assert rows(replies) == [(1,), (2,)]


def test_cursor_loop(session: Session) -> None:
    text = """
    DECLARE @a int, @sum int = 0
    DECLARE c CURSOR LOCAL FAST_FORWARD FOR SELECT 3 AS a UNION ALL SELECT 4
    OPEN c
    FETCH NEXT FROM c INTO @a
    WHILE @@FETCH_STATUS = 0
    BEGIN
        SET @sum += @a
        FETCH NEXT FROM c INTO @a
    END
    CLOSE c
    DEALLOCATE c
    SELECT @sum AS s, @@FETCH_STATUS AS f
    """
    assert rows(session.run(text)) == [(7, -1)]


def test_cursor_errors(session: Session) -> None:
    assert [m.number for m in messages(session.run("OPEN nope FETCH NEXT FROM nope"))] == [16916, 16916]
    text = (
        "DECLARE g CURSOR FOR SELECT 1 AS a UNION ALL SELECT 2 FETCH NEXT FROM g DECLARE g CURSOR "
        "FOR SELECT 2 AS b"
    )
    assert [m.number for m in messages(session.run(text))] == [16917, 16915]


def test_global_cursors_outlive_their_batch(session: Session) -> None:
    session.run("DECLARE g CURSOR SCROLL FOR SELECT 1 AS a UNION ALL SELECT 2 OPEN g")
    assert rows(session.run("FETCH LAST FROM g FETCH PRIOR FROM g FETCH ABSOLUTE 2 FROM g")) == [
        (2,),
        (1,),
        (2,),
    ]


def test_sp_executesql(session: Session) -> None:
    text = (
        "DECLARE @o int; EXEC sp_executesql N'SET @b = @a * 3', N'@a int, @b int OUTPUT', @a = 4, "
        "@b = @o OUTPUT; SELECT @o AS o"
    )
    assert rows(session.run(text)) == [(12,)]
    text = "DECLARE @r int; EXEC @r = sp_executesql N'SELECT * FROM nope'; SELECT @r AS r, @@ERROR AS e"
    assert rows(session.run(text)) == [(208, 208)]
    assert tokens(session.run("EXEC sp_executesql 'SELECT 1 AS one'")) == [
        "error214",
        "status=214",
        "doneProc224!",
    ]
    assert tokens(session.run("EXEC sp_executesql N'SELECT @p AS p', N'@p int'")) == [
        "error8178",
        "status=1",
        "doneProc224!",
    ]


def argument(value: object, type_: t.SqlType, name: str | None = None, *, output: bool = False) -> Argument:
    return Argument(name, TypedValue(value, type_), (lambda made: None) if output else None)  # type: ignore[arg-type]


def test_rpc_gives_status_and_outputs(procedures: Session) -> None:
    arguments = [argument(1, t.INT, "@a"), argument(None, t.nvarchar(10), "@c", output=True)]
    replies = list(procedures.interpreter.rpc(ast.Name("p_out"), arguments, procedures.frame()))
    assert tokens(replies) == [
        "doneInProc193=1",
        "doneInProc193=1",
        "doneInProc193=1",
        "status=3",
        "@c=6",
        "doneProc224",
    ]


def test_rpc_of_a_statement_that_aborts_has_no_status(session: Session) -> None:
    arguments = [
        argument("SET @x = 1; SELECT CAST('a' AS int) AS c", t.nvarchar(100)),
        argument("@x int OUTPUT", t.nvarchar(100)),
        argument(5, t.INT, "@x", output=True),
    ]
    replies = list(session.interpreter.rpc(ast.Name("sp_executesql"), arguments, session.frame()))
    assert tokens(replies) == ["doneInProc193=1", "error245", "doneProc224!"]


def test_rpc_of_an_unresolved_name_gives_the_input_back(session: Session) -> None:
    arguments = [
        argument("SET @x = 1; SELECT a FROM nope", t.nvarchar(100)),
        argument("@x int OUTPUT", t.nvarchar(100)),
        argument(5, t.INT, "@x", output=True),
    ]
    replies = list(session.interpreter.rpc(ast.Name("sp_executesql"), arguments, session.frame()))
    assert tokens(replies) == ["doneInProc193=1", "error208", "status=208", "@x=5", "doneProc224!"]


def test_a_python_procedure(session: Session) -> None:
    def run(frame, arguments):  # type: ignore[no-untyped-def]
        yield ResultSet((Column("a", t.INT),))
        yield Rows([(arguments[0].value.value,)])
        yield Done(193, 1)
        return 7

    session.evaluator.procedures["sp_seven"] = PythonProcedure("sp_seven", run)
    replies = session.run("DECLARE @r int; EXEC @r = sp_seven 5; SELECT @r AS r")
    assert tokens(replies) == ["doneInProc193=1", "status=7", "doneProc224", "done193=1"]
    assert rows(replies) == [(5,), (7,)]


def test_cancelling_stops_a_loop_and_a_wait() -> None:
    asked = iter([False] * 10)
    interpreter = Interpreter(FakeEvaluator(), lambda: next(asked, True))
    with pytest.raises(Cancelled):
        list(interpreter.run(parse("WHILE 1 = 1 PRINT 'x'"), Session().frame()))
    with pytest.raises(Cancelled):
        list(interpreter.run(parse("WAITFOR DELAY '00:00:45'"), Session().frame()))


def test_a_wait_cancelled_in_try_says_that_it_left() -> None:
    waited: list[float] = []
    interpreter = Interpreter(
        FakeEvaluator(), lambda: bool(waited), lambda seconds, cancelled: waited.append(seconds)
    )
    replies: list[Reply] = []
    text = "BEGIN TRY WAITFOR DELAY '00:00:45' END TRY BEGIN CATCH PRINT 'never' END CATCH"
    with pytest.raises(Cancelled):
        replies.extend(interpreter.run(parse(text), Session().frame()))
    assert tokens(replies) == ["done349", "done243"]


def test_waitfor_waits_as_long_as_it_says() -> None:
    waited: list[float] = []
    interpreter = Interpreter(FakeEvaluator(), pause=lambda seconds, cancelled: waited.append(seconds))
    list(
        interpreter.run(
            parse("DECLARE @d char(12) = '00:01:02.500' WAITFOR DELAY @d WAITFOR TIME '10:00:01'"),
            Session().frame(),
        )
    )
    assert waited == [62.5, pytest.approx(0.8765433)]
