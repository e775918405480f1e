"""sys.messages, the messages of users, and who raises them by number."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tdsproxy
from tdsproxy.server.system_messages import system_messages
from tests.server.support import Client


def raised() -> dict[int, set[int]]:
    """The numbers and severities that the product's code gives to ``SqlError.of``."""
    found: dict[int, set[int]] = {}
    for path in Path(tdsproxy.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or len(node.args) < 4:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            number, severity = node.args[:2]
            if name == "of" and isinstance(number, ast.Constant) and isinstance(severity, ast.Constant):
                assert isinstance(number.value, int)
                assert isinstance(severity.value, int)
                found.setdefault(number.value, set()).add(severity.value)
    return found


def test_almost_every_number_that_is_raised_is_there() -> None:
    numbers = {number for number in raised() if 0 < number < 50000}
    missing = numbers - set(system_messages())
    assert len(numbers) > 200
    assert len(missing) <= len(numbers) // 10, sorted(missing)


def test_the_server_shows_its_messages(sa: Client) -> None:
    asked = "SELECT severity, is_event_logged, text FROM sys.messages WHERE language_id = 1033 AND message_id"
    assert sa.rows(f"{asked} = 3013") == [(16, 0, "%hs is terminating abnormally.")]
    assert sa.rows(f"{asked} = 8134") == [(16, 0, "Divide by zero error encountered.")]
    assert sa.rows("SELECT COUNT(*) FROM sys.messages WHERE message_id > 50000") == [(0,)]
    assert sa.rows("SELECT severity, description FROM master..sysmessages WHERE error = 3013") == [
        (16, "%hs is terminating abnormally.")
    ]


def test_a_message_of_a_user_from_its_beginning_to_its_end(sa: Client) -> None:
    added = "EXEC sp_addmessage 50005, 16, N'Table %s has %d rows.'"
    sa.rows(added)
    assert sa.rows("SELECT text FROM sys.messages WHERE message_id = 50005") == [("Table %s has %d rows.",)]
    assert sa.rows("SELECT FORMATMESSAGE(50005, N'Orders', 7)") == [("Table Orders has 7 rows.",)]
    assert sa.error("RAISERROR(50005, 16, 1, 'Orders', 7)") == 50005
    caught = "BEGIN TRY RAISERROR(50005, 12, 3, 'a', 1) END TRY BEGIN CATCH SELECT ERROR_MESSAGE() END CATCH"
    assert sa.rows(caught) == [("Table a has 1 rows.",)]
    assert sa.error(added) == 15043
    sa.rows(f"{added}, @replace = 'replace', @with_log = 'TRUE'")
    assert sa.rows("SELECT is_event_logged FROM sys.messages WHERE message_id = 50005") == [(1,)]
    sa.rows("EXEC sp_altermessage 50005, 'WITH_LOG', 'false'")
    assert sa.rows("SELECT is_event_logged FROM sys.messages WHERE message_id = 50005") == [(0,)]
    sa.rows("EXEC sp_dropmessage 50005")
    assert sa.error("RAISERROR(50005, 16, 1)") == 18054
    assert sa.rows("SELECT FORMATMESSAGE(50005, 1)") == [(None,)]


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("EXEC sp_addmessage 49999, 16, N'x'", 15040),
        ("EXEC sp_addmessage 50010, 26, N'x'", 15041),
        ("EXEC sp_addmessage 50010, 16, N'x', 'klingon'", 15033),
        ("EXEC sp_addmessage 50010, 16, N'x', 'French'", 15279),
        ("EXEC sp_dropmessage 50010", 15179),
        ("EXEC sp_dropmessage 3013", 15040),
    ],
)
def test_refusals(sa: Client, statement: str, number: int) -> None:
    assert sa.error(statement) == number


def test_a_text_in_another_language_needs_the_english_one(sa: Client) -> None:
    sa.rows("EXEC sp_addmessage 50011, 16, N'one %s'")
    assert sa.error("EXEC sp_addmessage 50011, 15, N'un %1!', 'French'") == 15304
    sa.rows("EXEC sp_addmessage 50011, 16, N'un %1!', 'French'")
    assert sa.error("EXEC sp_dropmessage 50011") == 15280
    sa.rows("EXEC sp_dropmessage 50011, 'all'")
    assert sa.rows("SELECT COUNT(*) FROM sys.messages WHERE message_id = 50011") == [(0,)]
