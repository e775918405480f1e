"""``tdsproxy run``: scripts against a running server."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from tdsproxy.cli import entry
from tdsproxy.cli.tables import Layout, lines, text_of
from tdsproxy.tds.columns import ColumnMeta
from tdsproxy.tds.types import TypeId, TypeInfo
from tests.running import PASSWORD, Running

INT = TypeInfo(TypeId.INTN, 4)
TEXT = TypeInfo(TypeId.NVARCHAR, 20)


@pytest.mark.parametrize(
    ("value", "info", "text"),
    [
        (None, INT, "NULL"),
        (b"\x01\xff", TypeInfo(TypeId.VARBINARY, 2), "0x01FF"),
        (1.0, TypeInfo(TypeId.FLTN, 8), "1"),
        (0.1, TypeInfo(TypeId.FLTN, 8), "0.1"),
        (UUID(int=10), TypeInfo(TypeId.GUID, 16), "00000000-0000-0000-0000-00000000000A"),
        ((737425,), TypeInfo(TypeId.DATE), "2020-01-02"),
        ((10_000_000,), TypeInfo(TypeId.TIME, scale=7), "00:00:01.0000000"),
        ((737425, 36_610_000_000), TypeInfo(TypeId.DATETIMN, 8), "2020-01-02 01:01:01.000"),
        ((737425, 36_610_000_000), TypeInfo(TypeId.DATETIMN, 4), "2020-01-02 01:01:01"),
        (
            (737425, 864_000_000_000 - 1, 60),
            TypeInfo(TypeId.DATETIMEOFFSET, scale=2),
            "2020-01-03 00:59:59.99 +01:00",
        ),
    ],
)
def test_values_as_text(value: object, info: TypeInfo, text: str) -> None:
    assert text_of(value, info) == text


def test_columns_are_as_wide_as_their_widest_value() -> None:
    columns = [ColumnMeta("n", INT), ColumnMeta("name", TEXT)]
    rows: Sequence[tuple[object, ...]] = [(1, "a"), (100, "表"), (None, "abcdef")]
    assert list(lines(columns, rows, Layout())) == [
        "   n name",
        "---- ------",
        "   1 a",
        " 100 表",
        "NULL abcdef",
    ]
    assert list(lines(columns, rows[:1], Layout("|", trim=True))) == ["n|name", "1|a"]
    assert list(lines(columns, rows[:1], Layout("|", headers=False))) == ["1|a"]


@dataclass(frozen=True)
class Ended:
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Ended]


@pytest.fixture
def tdsproxy(
    served: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """``tdsproxy run`` with a server, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, stdin: str = "", password: str = PASSWORD) -> Ended:
        monkeypatch.setenv("TDSPROXY_SA_PASSWORD", password)
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            entry.run(["run", "-S", f"{served.host}:{served.port}", *words])
        return Ended(int(ended.value.code or 0), *capsys.readouterr())

    return run


def test_a_script_with_everything(tdsproxy: Command, tmp_path: Path) -> None:
    (tmp_path / "part.sql").write_text("PRINT 'in part: $(who)'\nGO 2\n", encoding="utf-8")
    (tmp_path / "all.sql").write_text(
        ":setvar who me\n:r part.sql\nSELECT 1 AS a, N'é' AS b\nGO\nSELECT 1/0\nGO\nPRINT '$(given)'\n",
        encoding="utf-16",
    )
    done = tdsproxy("all.sql", "-v", "given=still here")
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "in part: me",
        "in part: me",
        "a b",
        "- -",
        "1 é",
        "",
        "(1 row affected)",
        "",
        "-",
        "still here",
    ]
    assert done.stderr.splitlines()[0].startswith("Msg 8134, Level 16, State 1, Server ")
    assert done.stderr.splitlines()[1] == "Divide by zero error encountered."


def test_an_error_ends_the_script_where_it_is_told_to(tdsproxy: Command) -> None:
    script = "RAISERROR('no', 16, 1)\nGO\nPRINT 'behind'\n"
    assert tdsproxy("-", stdin=script).stdout == "behind\n"
    for words, text in ((["-b"], script), ([], f":on error exit\n{script}")):
        done = tdsproxy(*words, stdin=text)
        assert (done.returncode, done.stdout) == (1, "")


def test_exit_gives_the_status(tdsproxy: Command) -> None:
    done = tdsproxy("--no-headers", stdin="PRINT 'first'\n:exit(SELECT 3)\nPRINT 'never'")
    assert done.returncode == 3
    assert done.stdout.splitlines() == ["first", "3", "", "(1 row affected)"]


def test_json_and_a_file(tdsproxy: Command, tmp_path: Path) -> None:
    query = "SELECT CAST(1.50 AS decimal(5,2)) AS d, NULL AS n; PRINT 'x'; RAISERROR('y', 11, 2)"
    done = tdsproxy("-q", query, "--json", "-o", "out.json")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
    found = [json.loads(line) for line in (tmp_path / "out.json").read_text().splitlines()]
    assert found[0] == {"columns": ["d", "n"], "rows": [["1.50", None]]}
    assert [(each["number"], each["severity"], each["text"]) for each in found[1:]] == [
        (0, 0, "x"),
        (50000, 11, "y"),
    ]


def test_what_goes_wrong_is_one_sentence(tdsproxy: Command) -> None:
    for words, stdin, password, status, said in (
        (["none.sql"], "", PASSWORD, 1, "'none.sql' can't be read: No such file or directory."),
        ([], "PRINT '$(TDSPROXY_SA_PASSWORD)'", PASSWORD, 1, "scripting variable not defined."),
        ([], "PRINT 1", "wrong", 1, "Login failed for user 'sa'."),
        (["-v", "a"], "", PASSWORD, 2, "'a' is not of the form NAME=VALUE."),
        (["-S", "127.0.0.1:1"], "", PASSWORD, 1, "named with --server HOST:PORT."),
    ):
        done = tdsproxy(*words, stdin=stdin, password=password)
        assert (done.returncode, done.stdout) == (status, "")
        assert done.stderr.startswith("tdsproxy: ")
        assert done.stderr.rstrip().endswith(said)
        assert len(done.stderr.splitlines()) == 1
