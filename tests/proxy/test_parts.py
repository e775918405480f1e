"""Pure parts of the interception: plans, literals, RPC names, login changes."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.frontend.handler import RpcParameter, RpcRequest
from tdsproxy.proxy.literals import literal
from tdsproxy.proxy.login import login_body, pieces, read_answer
from tdsproxy.proxy.plan import first_native, make_plan
from tdsproxy.proxy.rpcs import Kind, declared_variables, statement_call
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.login7 import Login7, build_login7, parse_login7
from tdsproxy.tds.tokens import EnvChangeType, Routing, TokenBuilder
from tdsproxy.tds.versions import TdsVersion
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Date, DateTime, Time, Value, Variant

BACKUP = "BACKUP DATABASE shop TO DISK = 'a.bak'"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "SELECT 'BACKUP DATABASE x'",
        "GRANT BACKUP DATABASE TO bob",
        f"IF 1 = 1 {BACKUP}",
        f"BEGIN TRY {BACKUP} END TRY BEGIN CATCH END CATCH",
        f"CREATE PROCEDURE p AS {BACKUP}",
        f"DECLARE @t TABLE (n int) {BACKUP}",
        f"{BACKUP} RETURN",
        f"here: {BACKUP} GOTO here",
        "this is no statement at all BACKUP",
    ],
)
def test_batches_that_are_the_upstreams(text: str) -> None:
    assert make_plan(text) is None


def test_parts_and_their_lines() -> None:
    plan = make_plan(f"USE shop\n\nSET @x = 1;{BACKUP};\n\nPRINT 'x'", declared=())
    assert plan is not None
    first, last = plan.parts
    assert (first.line, last.line) == (1, 3)
    assert first.text == "USE shop\n\nSET @x = 1;"
    assert first.native_text(plan.source) == BACKUP
    assert last.text == "\n\nPRINT 'x'"
    assert last.native is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("BACKUP DATABASE x", 1),
        ("\n restore headeronly", 2),
        ("SELECT 1 BACKUP LOG x", 1),
        ("BACKUP", 1),
        ("-- BACKUP DATABASE x", None),
        ("/* RESTORE LOG x */ SELECT '\nBACKUP DATABASE'", None),
        ("SELECT [BACKUP] FROM DATABASE", None),
        ("DENY BACKUP DATABASE TO x", None),
        ("GRANT CREATE TABLE, BACKUP LOG TO x", None),
        ("SELECT 'unclosed", None),
    ],
)
def test_where_a_native_statement_begins(text: str, line: int | None) -> None:
    found = first_native(text)
    assert (None if found is None else found.line) == line


def test_an_error_before_the_statement_is_the_upstreams() -> None:
    assert make_plan(f"SELECT SELECT\n{BACKUP}") is None
    with pytest.raises(SyntaxError_):
        make_plan(f"SELECT 1\n{BACKUP} WITH")


VALUES: list[tuple[Value, SqlType, str]] = [
    (None, t.INT, "NULL"),
    (-5, t.INT, "-5"),
    ("o'x", t.varchar(9), "'o''x'"),
    ("ä", t.varchar(9), "N'ä'"),
    ("x", t.nvarchar(9), "N'x'"),
    (b"\1\xff", t.varbinary(9), "0x01ff"),
    (b"", t.varbinary(9), "0x"),
    (Decimal("1E+2"), t.decimal(5, 0), "100"),
    (1.5, t.FLOAT, "1.5e0"),
    (1e300, t.FLOAT, "1e+300"),
    (UUID(int=10), t.UNIQUEIDENTIFIER, "'00000000-0000-0000-0000-00000000000A'"),
    (Date(0), t.DATE, "'0001-01-01'"),
    (Time(1), t.time(7), "'00:00:00.0000001'"),
    (DateTime(693_595, 30_000), t.DATETIME, "'1900-01-01T00:00:00.003'"),
    (Variant(t.INT, 3), t.SQL_VARIANT, "CAST(3 AS int)"),
]


@pytest.mark.parametrize(("value", "type_", "text"), VALUES)
def test_literals(value: Value, type_: SqlType, text: str) -> None:
    assert literal(value, type_) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_survives_as_a_literal(text: str) -> None:
    batch = parse(f"SET @v = {literal(text, t.nvarchar(t.MAX))}")
    (statement,) = batch.statements
    assert isinstance(statement, ast.SetVariable)
    assert isinstance(statement.value, ast.Literal)
    assert statement.value.value == text


@pytest.mark.parametrize(
    "name",
    [
        10,
        "sp_executesql",
        "SP_EXECUTESQL",
        "sys.sp_executesql",
        "[sys].[sp_executesql]",
        "master..sp_executesql",
        "master.dbo.sp_executesql",
        "[sp_executesql];1",
    ],
)
def test_names_of_one_procedure(name: str | int) -> None:
    said = statement_call(RpcRequest(name, (RpcParameter("@statement", t.nvarchar(9), BACKUP),)))
    assert said is not None
    assert (said.kind, said.text) == (Kind.EXECUTESQL, BACKUP)


@pytest.mark.parametrize(
    "name", ["sp_describe_first_result_set", "my.sp_executesql", "xsp_executesql", 99, 1]
)
def test_other_procedures(name: str | int) -> None:
    assert statement_call(RpcRequest(name, (RpcParameter("", t.nvarchar(9), BACKUP),))) is None


def test_declarations_of_parameters() -> None:
    found = declared_variables("@a int, @B nvarchar(20) = N'x' OUTPUT")
    assert found is not None
    assert [(each.name, each.declared) for each in found] == [("@a", "int"), ("@B", "nvarchar(20)")]
    assert declared_variables("") == ()
    assert declared_variables("no declaration") is None


def test_a_login_that_needs_no_change_is_the_same_bytes() -> None:
    body = build_login7(Login7(user="u", features=((0x0A, b"\1"),)))
    assert login_body(parse_login7(body), body, encrypted=False) is body


def test_what_is_taken_out_of_a_login() -> None:
    login = Login7(user="u", packet_size=32767, features=((0x04, b"\3"), (0x0A, b"\1"), (0x0B, b"")))
    body = build_login7(login)
    sent = parse_login7(login_body(login, body, encrypted=True))
    assert sent.features == ((0x0A, b"\1"),)
    assert sent.packet_size == 16383
    assert sent.user == "u"


def test_a_way_around_the_proxy_is_taken_out_of_the_answer() -> None:
    builder = TokenBuilder()
    routing = builder.env_change(EnvChangeType.ROUTING, Routing("elsewhere", 1433))
    kept = builder.login_ack((16, 0, 1000)) + builder.feature_ext_ack(((0x0A, b"\1"),))
    end = builder.packet_size(8000, 4096) + builder.done()
    answer = read_answer(kept + routing + end, TdsVersion.V7_4)
    assert answer.rerouted
    assert answer.body == kept + end
    assert (answer.version, answer.packet_size) == (TdsVersion.V7_4, 8000)


@given(st.binary(max_size=60))
def test_pieces_of_noise(noise: bytes) -> None:
    try:
        assert b"".join(pieces(noise, wide=True)) == noise
    except ProtocolError:
        return
