"""Halves of UTF-16 pairs, which clients can send and files can't hold: U+FFFD, never an internal error."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, errors

__all__ = ["shared_world", "sql"]

HALF = "\ud800"


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 WHERE N'a{half}' = N'b'",
        "SELECT * FROM t WHERE a LIKE N'%{half}%'",
        "SELECT UPPER(N'{half}'), STRING_AGG(a, N'{half}') FROM t",
        "SELECT * FROM OPENJSON(N'[\"{half}\"]')",
        "UPDATE t SET a = N'{half}' WHERE a IN (N'{half}', N'x')",
        "CREATE TABLE [{half}] (a int)",
        "EXEC('CREATE PROC p{half} AS SELECT N''{half}''')",
        "EXEC xp_fileexist N'{half}'",
        "DECLARE @x nvarchar(10) = NCHAR(0xD800); SELECT * FROM t WHERE a > @x; EXEC (@x)",
        "DECLARE @x nvarchar(99) = N'SELECT N''' + NCHAR(0xD800) + N''' WHERE N''a'' < N''' + NCHAR(0xD800)"
        " + N''''; EXEC (@x)",
        "DECLARE @x nvarchar(99) = NCHAR(0xD800) + N'.bak'; RESTORE HEADERONLY FROM DISK = @x",
        "RESTORE HEADERONLY FROM DISK = N'{half}.bak'",
        "EXEC [{half}]",
    ],
)
def test_half_a_character_anywhere_in_a_batch_is_an_answer(sql: Client, text: str) -> None:
    sql.run("CREATE TABLE t (a nvarchar(20)); INSERT t VALUES (N'x')")
    found = errors(sql.replies(text.replace("{half}", HALF)))
    assert all(message.severity < 20 for message in found)


def test_what_is_kept_has_the_replacement_character(sql: Client) -> None:
    sql.run("CREATE TABLE t (a nvarchar(20))")
    sql.run(f"INSERT t VALUES (N'a{HALF}b')")
    assert sql.rows("SELECT a, LEN(a) FROM t") == [("a\ufffdb", 3)]
