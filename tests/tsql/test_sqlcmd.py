"""sqlcmd's script language, without a server."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tdsproxy.tsql.sqlcmd import Batch, Exit, OnError, Reader, Redirect, Say, ScriptError, Step


def steps(
    text: str,
    variables: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[Step]:
    def read(name: str, _source: str) -> str:
        if name not in (files or {}):
            raise FileNotFoundError(2, "No such file or directory", name)
        return (files or {})[name]

    return list(Reader(read, dict(variables or {}), environment or {}).steps(text, "s.sql"))


def batches(text: str, **more: Mapping[str, str]) -> list[tuple[str, int, int]]:
    return [(each.text, each.line, each.count) for each in steps(text, **more) if isinstance(each, Batch)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("select 1", [("select 1", 1, 1)]),
        ("select 1\nGO\nselect 2\ngo 3\n", [("select 1\n", 1, 1), ("select 2\n", 3, 3)]),
        ("select 1\r\nGO\r\nselect 2", [("select 1\r\n", 1, 1), ("select 2", 3, 1)]),
        ("select 1\nGO 0\nselect 2", [("select 2", 3, 1)]),
        ("select '\nGO\n:r x\n'\nGO", [("select '\nGO\n:r x\n'\n", 1, 1)]),
        ("/* /* \n:quit\n*/\nGO\n*/ select 1", [("/* /* \n:quit\n*/\nGO\n*/ select 1", 1, 1)]),
        ("-- '\nselect 1\nGO", [("-- '\nselect 1\n", 1, 1)]),
        ("select [a'b]\nGO\nselect 2", [("select [a'b]\n", 1, 1), ("select 2", 3, 1)]),
        ("GOTO x\nexits\nquitter", [("GOTO x\nexits\nquitter", 1, 1)]),
        ("\n\nGO\nselect 1", [("select 1", 4, 1)]),
    ],
)
def test_batches(text: str, found: list[tuple[str, int, int]]) -> None:
    assert batches(text) == found


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (":setvar a 5\nselect $(a), '$(A)', [$(a)]", "select 5, '5', [5]"),
        (':setvar a "x ""y"" z"\n$(a)', 'x "y" z'),
        (":setvar a 1\n:setvar b $(a)2\n$(b)", "12"),
        (":setvar a 1\n-- $(none)\n/* $(none)\n$(none) */ $(a)", "-- $(none)\n/* $(none)\n$(none) */ 1"),
        (":setvar a 1\n'--' + '$(a)'", "'--' + '1'"),
        ("$(b) $( b) $()", "2 $( b) $()"),
        ("$(FROM_HERE)", "env"),
        ("$(over)", "mine"),
    ],
)
def test_variables(text: str, sent: str) -> None:
    found = batches(
        text, variables={"B": "2", "over": "mine"}, environment={"FROM_HERE": "env", "over": "no"}
    )
    assert [each[0] for each in found] == [sent]


def test_a_variable_is_gone_when_it_is_set_to_nothing() -> None:
    with pytest.raises(ScriptError, match="'a' scripting variable not defined"):
        steps(":setvar a 1\n:setvar a\nselect '$(a)'")


def test_substitution_can_be_off() -> None:
    reader = Reader(lambda _name, _source: "", substitute=False)
    assert list(reader.steps("$(a)", "s")) == [Batch("$(a)", "s", 1)]


def test_included_files_share_variables_and_the_batch() -> None:
    files = {"a.sql": ":setvar x 1\nselect $(x)\n", "my file.sql": "select 3\nGO\n"}
    text = 'select 0\n:r a.sql\nselect $(x)\nGO\n:r "my file.sql"'
    assert [each[0] for each in batches(text, files=files)] == [
        "select 0\nselect 1\nselect 1\n",
        "select 3\n",
    ]


def test_a_file_that_includes_itself_comes_to_an_end() -> None:
    with pytest.raises(ScriptError, match="more than 32 files deep"):
        steps(":r a.sql", files={"a.sql": ":r a.sql"})


def test_commands_become_steps_in_order() -> None:
    text = ":on error exit\n:out a.txt\n:Error stderr\nselect 1\n:list\n:reset\n:ON ERROR ignore\n:quit\n2"
    assert steps(text) == [
        OnError(True),
        Redirect("a.txt", errors=False),
        Redirect("stderr", errors=True),
        Say("select 1\n"),
        OnError(False),
        Exit(),
    ]
    assert steps(":listvar", {"b": "2", "A": "1"}) == [Say('A = "1"\nB = "2"\n')]


def test_ways_to_exit() -> None:
    assert steps("select 1\nexit\nselect 2") == [Exit()]
    assert steps("select 1\n:exit()\nselect 2") == [Batch("select 1\n", "s.sql", 1), Exit()]
    assert steps("select 1\n:EXIT(select 7)") == [Batch("select 1\n", "s.sql", 1), Exit("select 7")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (":nonsense", "line 1: Syntax error near command ':nonsense'"),
        ("\n:setvar", "line 2: Syntax error near command ':setvar'"),
        (":setvar a b c", "Syntax error"),
        (':setvar a "b', "Syntax error"),
        (":on error maybe", "Syntax error"),
        (":r", "Syntax error"),
        (":r none.sql", "'none.sql' can't be read: No such file"),
        ("!! ls", "!! is not supported"),
        (":connect other", "connect is not supported"),
    ],
)
def test_what_can_not_be_done_is_said(text: str, said: str) -> None:
    with pytest.raises(ScriptError, match=said):
        steps(text)
