"""Definitions are written as SQL Server writes them into its catalog."""

from __future__ import annotations

import pytest

from tdsproxy.tsql.definition_text import expression_text, predicate_text


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("0", "((0))"),
        ("((0))", "((0))"),
        ("-1", "((-1))"),
        ("1.50", "((1.50))"),
        ("'it''s'", "('it''s')"),
        ("N'x'", "(N'x')"),
        ("NULL", "(NULL)"),
        ("0x0a", "(0x0A)"),
        ("CURRENT_TIMESTAMP", "(getdate())"),
        ("GetDate()", "(getdate())"),
        ("DATEADD(day, 1, GETDATE())", "(dateadd(day,(1),getdate()))"),
        ("CAST(a AS varchar(10))", "(CONVERT([varchar](10),[a]))"),
        ("CONVERT(nvarchar(max), a, 120)", "(CONVERT([nvarchar](max),[a],(120)))"),
        ("a + b * 2", "([a]+[b]*(2))"),
        ("(a + b) * 2", "(([a]+[b])*(2))"),
        ("a - (b - c)", "([a]-([b]-[c]))"),
        ("dbo.Twice(n)", "([dbo].[Twice]([n]))"),
        ("NEXT VALUE FOR dbo.s", "(NEXT VALUE FOR [dbo].[s])"),
        ("CASE WHEN a > 1 THEN 'x' ELSE 'y' END", "(case when [a]>(1) then 'x' else 'y' end)"),
    ],
)
def test_expressions(written: str, kept: str) -> None:
    assert expression_text(written) == kept
    assert expression_text(kept) == kept


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Price > 0", "([Price]>(0))"),
        ("(Price != 0)", "([Price]<>(0))"),
        ("x BETWEEN 1 AND 5", "([x]>=(1) AND [x]<=(5))"),
        ("x IN ('a', 'b')", "([x]='b' OR [x]='a')"),
        ("Phone LIKE '[0-9]%'", "([Phone] like '[0-9]%')"),
        ("(a = 1 OR b = 2) AND c IS NOT NULL", "(([a]=(1) OR [b]=(2)) AND [c] IS NOT NULL)"),
        ("NOT (a = 1 OR b = 2)", "(NOT ([a]=(1) OR [b]=(2)))"),
        ("LEN([a b]) > 0", "(len([a b])>(0))"),
    ],
)
def test_predicates(written: str, kept: str) -> None:
    assert predicate_text(written) == kept
    assert predicate_text(kept) == kept


def test_what_is_not_known_stays_as_it_was() -> None:
    assert expression_text("(SELECT 1)") == "(SELECT 1)"
    assert predicate_text("a = 1 AND EXISTS (SELECT 1)") == "(a = 1 AND EXISTS (SELECT 1))"
    assert expression_text("no expression at all )") == "(no expression at all ))"
