from __future__ import annotations

import pytest

from tdsproxy.server.parsed import LONGEST, MOST, ParsedBatches
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SyntaxError_


def test_a_text_is_parsed_once_for_each_reading_of_its_quotes() -> None:
    parsed = ParsedBatches()
    text = 'SELECT "a" FROM t'
    names = parsed.parse(text, quoted_identifier=True)
    assert parsed.parse(text, quoted_identifier=True) is names
    strings = parsed.parse(text, quoted_identifier=False)
    assert strings != names
    assert isinstance(strings.statements[0], ast.QueryStatement)
    assert parsed.size == 2


@pytest.mark.parametrize(
    "text",
    [
        "CREATE LOGIN x WITH PASSWORD = 'Hidden-1'",
        "EXEC sp_addlogin 'x', 'Hidden-1'",
        "SELECT 1 " + " " * LONGEST,
    ],
    ids=["password", "procedure", "long"],
)
def test_secrets_and_scripts_are_not_kept(text: str) -> None:
    parsed = ParsedBatches()
    assert parsed.parse(text, quoted_identifier=True).statements
    assert parsed.size == 0


def test_errors_come_each_time() -> None:
    parsed = ParsedBatches()
    for _ in range(2):
        with pytest.raises(SyntaxError_):
            parsed.parse("SELECT FROM WHERE", quoted_identifier=True)
    assert parsed.size == 0


def test_no_more_than_so_many_are_kept() -> None:
    parsed = ParsedBatches()
    for number in range(MOST + 5):
        parsed.parse(f"SELECT {number}", quoted_identifier=True)
    assert parsed.size == MOST
