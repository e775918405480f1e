"""The byte gate, and where native statements stand in a batch."""

from __future__ import annotations

import pytest

from tdsproxy.tsql import ast
from tdsproxy.tsql.gate import may_be_native, native_statements
from tdsproxy.tsql.parser import parse


@pytest.mark.parametrize("encoding", ["utf-16-le", "latin-1"])
@pytest.mark.parametrize(
    ("text", "maybe"),
    [
        ("BACKUP DATABASE x TO DISK = 'x'", True),
        ("ReStOrE HEADERONLY FROM x", True),
        ("create certificate c with subject = 's'", True),
        ("DROP CREDENTIAL c", True),
        ("OPEN MASTER\n\tKEY", True),
        ("OPEN MASTER/* x */KEY", True),
        ("CREATE SYMMETRIC KEY k", True),
        ("SELECT 'backup'", True),
        ("SELECT name FROM master.sys.databases", False),
        ("SELECT 1 FROM t WHERE [key] = 1", False),
        ("BACK UP", False),
        ("", False),
    ],
)
def test_gate(text: str, maybe: bool, encoding: str) -> None:
    assert may_be_native(b"\x16\0\0\0" + text.encode(encoding)) is maybe


def test_nothing_native_is_missed_at_an_odd_offset() -> None:
    assert may_be_native(b"\x01" + "backup".encode("utf-16-le"))


def kinds(text: str) -> list[tuple[str, bool]]:
    found = native_statements(parse(text))
    return [(type(item.statement).__name__, item.nested) for item in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT 'BACKUP DATABASE x' -- RESTORE", []),
        ("SELECT * FROM msdb.dbo.backupset [backup]", []),
        ("USE x BACKUP DATABASE x TO DISK = 'x' SELECT 1", [("Backup", False)]),
        ("IF 1 = 1 BACKUP LOG x TO d ELSE RESTORE LABELONLY FROM d", [("Backup", True), ("Restore", True)]),
        ("BEGIN TRY BACKUP LOG x TO d END TRY BEGIN CATCH DROP CERTIFICATE c END CATCH",
         [("Backup", True), ("KeyStatement", True)]),
        ("WHILE 1 = 1 BEGIN BACKUP LOG x TO d END RESTORE LABELONLY FROM d",
         [("Backup", True), ("Restore", False)]),
        ("CREATE PROCEDURE p AS BACKUP LOG x TO d", []),
    ],
)  # fmt: skip
def test_native_statements(text: str, expected: list[tuple[str, bool]]) -> None:
    assert kinds(text) == expected


def test_a_statement_carries_its_span() -> None:
    text = "SELECT 1;\nBACKUP DATABASE x TO DISK = 'x' WITH INIT ;\nSELECT 2"
    (found,) = native_statements(parse(text))
    statement = found.statement
    assert isinstance(statement, ast.Backup)
    assert text[statement.pos : statement.end] == "BACKUP DATABASE x TO DISK = 'x' WITH INIT"
    assert statement.line == 2
