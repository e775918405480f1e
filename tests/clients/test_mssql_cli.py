"""The scripts of administrators in the query window of the SQL Tools Service, which shows all that a driver
is told, and in mssql-cli, which is made of it.

mssql-cli cuts a script at its semicolons and shows the first message of each statement: only scripts without
variables run in it, whatever the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import mssql_cli
from tests.clients.admin_script_checks import CHECKS
from tests.clients.admin_scripts import Outcome, Scripts
from tests.clients.available import CLIENTS, need
from tests.clients.mssql_cli import Printed
from tests.clients.sql_tools_service import Service, connected
from tests.running import Running, start

pytestmark = pytest.mark.slow

SCRIPTS = ("11", "16", "25", "29")
"""One of each kind: errors, loops and rows, procedures, the dialogs' own statements. The others run
alike, but for 24, which is sqlcmd's."""
PLAIN = ("06",)
"""Of those that mssql-cli can run: 01, 03, 06, 12, 15 and 30."""
UNSHOWN = frozenset({5701, 5703})
"""Messages that clients keep to themselves."""

_ERROR = re.compile(r"Msg (\d+), Level (\d+), State (\d+)(?:, Procedure .*)?, Line \d+\n", re.DOTALL)
_AFFECTED = re.compile(
    r"\(\d+ rows? affected\)|Commands completed successfully\.|Beginning execution loop|Batch.*"
)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Scripts]:
    need("sql-tools-service")
    server = start(tmp_path_factory.mktemp("scripts") / "store")
    found = Scripts(server, shared / "admin-scripts")
    try:
        yield found
    finally:
        found.close()
        assert server.stop() == 0


@pytest.fixture(scope="module")
def service(scripts: Scripts) -> Iterator[Service]:
    server = scripts.server
    with connected(CLIENTS / "sqltools", server.host, server.port, server.password) as found:
        yield found


def plain(text: str) -> str:
    """Without what differs from run to run: numbers and identifiers."""
    text = re.sub(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", "GUID", text)
    return " ".join(re.sub(r"[0-9]+", "N", text).split())


def lines(outcome: Outcome) -> list[str]:
    """The messages that are no errors."""
    said = [each.text for each in outcome.messages if each.number not in UNSHOWN and each.severity < 11]
    return [plain(line) for text in said for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_in_the_query_window(scripts: Scripts, service: Service, name: str) -> None:
    told = scripts.script(name)
    scripts.fresh()
    shown = service.query(scripts.text(name))
    # So that no session is left in a database of the script.
    service.again()
    said = [text for text in shown.messages if not _AFFECTED.fullmatch(text)]
    assert [plain(line) for text in said for line in text.splitlines() if line.strip()] == lines(told)
    errors = [_ERROR.match(text) for text in shown.errors]
    assert [(int(found[1]), int(found[2]), int(found[3])) for found in errors if found] == [
        (each.number, each.severity, each.state) for each in told.errors
    ]
    assert [len(rows) for rows in shown.rows] == [len(each.rows) for each in told.results]
    names = [
        tuple("" if column == "(No column name)" else column for column, _ in columns)
        for columns in shown.columns
    ]
    assert names == [each.columns for each in told.results]
    CHECKS[name](scripts, told)


def run(server: Running, *arguments: str) -> Printed:
    return mssql_cli.run(
        CLIENTS / "mssql-cli", CLIENTS / "sqltools", server.host, server.port, server.password, *arguments
    )


@pytest.mark.parametrize("name", PLAIN)
def test_script_in_mssql_cli(scripts: Scripts, tmp_path: Path, name: str) -> None:
    need("mssql-cli")
    told = scripts.script(name)
    scripts.fresh()
    path = tmp_path / f"{name}.sql"
    path.write_text(scripts.text(name))
    printed = run(scripts.server, "-i", str(path))
    assert (printed.status, printed.errors) == (0, [])
    # A table begins with the names of its columns.
    assert [len(rows) - 1 for rows in printed.sets] == [len(each.rows) for each in told.results]
    expected = iter(lines(told))
    assert all(plain(line) in expected for line in printed.messages)
    CHECKS[name](scripts, told)


def test_query_in_mssql_cli(scripts: Scripts) -> None:
    need("mssql-cli")
    printed = run(scripts.server, "-d", "master", "-Q", "SELECT 1 AS a, N'ü' AS b; PRINT 'said'; SELECT 1/0")
    assert printed.sets[0] == [["a", "b"], ["1", "ü"]]
    assert printed.errors == [8134]
    assert printed.messages == ["said", "Divide by zero error encountered."]
