"""docs/quick-start.md: every block of it, in its order."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.pages import ROOT, Reader, sections
from tests.clients.dbapi import CLIENTS
from tests.running import EXACT, Running, running

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "quick-start.md"
TIMES = (
    ("@freq_subday_interval = 15", "@freq_subday_interval = 15, @active_start_date = 20990101"),
    ("'weekly sun 02:00'", "'0 2 29 2 *'"),
    ("'daily 02:00'", "'0 2 29 2 *'"),
    ("'every 15m'", "'0 3 29 2 *'"),
)
"""When the page's jobs run, and later times: a job that runs by itself just now can't be run by hand."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("quick-start")
    ((_, text),) = sections(PAGE)["Start the server"]
    words = shlex.split(text)
    assert words[:3] == ["tdsproxy", "serve", "--store"]
    assert words[4:] == ["--listen", "127.0.0.1:1433"]
    with running(directory / words[3], env=EXACT) as made:
        yield made


def test_the_quick_start_from_first_to_last(server: Running) -> None:
    reader = Reader(server.store.parent, server)
    counted = {"Go back to a moment": [[(5,)], [(5,)]]}
    for heading, blocks in sections(PAGE).items():
        results = []
        for language, block in blocks:
            text = block
            for soon, late in TIMES:
                text = text.replace(soon, late)
            try:
                if language == "sql":
                    results += reader.sql(text)
                elif language == "sh" and heading != "Start the server":
                    reader.shell(text)
            except Exception as error:
                raise AssertionError(f"{heading}: {text}\n{error}") from error
        if heading in counted:
            assert [rows for rows in results if len(rows[0]) == 1 and isinstance(rows[0][0], int)] == counted[
                heading
            ]
    assert all(soon in PAGE.read_text() for soon, _ in TIMES)
    assert Path(reader.directory, "shop.db").exists()
    assert reader.sql("SELECT COUNT(*) FROM Shop.dbo.item") == [[(5,)]]


def test_the_lines_of_python(server: Running) -> None:
    client = next(one for one in CLIENTS if one.name == "msodbcsql18")
    with client.connect(server) as connection:
        connection.cursor().execute("CREATE DATABASE Shop2")
        ((_, text),) = [block for block in sections(PAGE)["Back up"] if block[0] == "python"]
        given: list[bool] = []

        def connect(_: str, *, autocommit: bool) -> object:
            given.append(autocommit)
            return connection

        exec(text.replace("Shop", "Shop2"), {"pyodbc": SimpleNamespace(connect=connect), "CONNECTION": ""})
        assert given == [True]
    assert (server.backup_directory / "Shop2-py.bak").stat().st_size > 4096
