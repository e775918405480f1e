from __future__ import annotations

import pytest

from tdsproxy.tsql import ast
from tdsproxy.tsql.parser import parse


def test_nodes_are_equal_wherever_they_stand() -> None:
    one = parse("SELECT a FROM dbo.t WHERE b = 1").statements
    other = parse("\n\n  SELECT  a FROM dbo.t\n WHERE b =  1").statements
    assert one[0].line != other[0].line
    assert one == other
    assert hash(one) == hash(other)
    assert one != parse("SELECT a FROM dbo.t WHERE b = 2").statements
    assert ast.Variable("@a") != ast.GlobalVariable("@a")


def test_nodes_do_not_change() -> None:
    name = ast.Name("t", pos=3)
    with pytest.raises(AttributeError):
        name.object = "u"  # type: ignore[misc]
    assert ast.replace(name, schema="dbo") == ast.Name("t", "dbo")
    assert ast.replace(name, schema="dbo").pos == 3
    with pytest.raises(TypeError):
        ast.replace(name, nothing=1)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE LOGIN x WITH PASSWORD = 'Hidden-1'",
        "ALTER LOGIN x WITH PASSWORD = 'Hidden-1' OLD_PASSWORD = 'Hidden-1'",
        "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Hidden-1'",
    ],
)
def test_secrets_are_not_shown(text: str) -> None:
    (statement,) = parse(text).statements
    shown = repr((statement,)) + str(statement) + repr(statement.__rich_repr__())
    assert type(statement).__name__ in shown
    assert "Hidden" not in shown
