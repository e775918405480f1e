"""docs/runbook.md: every block of it, in its order, after the accident that it is for."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import EXACT, Running, running

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "runbook.md"
SECTION = re.compile(r"^## (\d+)\. (.*)$", re.MULTILINE)
BLOCK = re.compile(r"```(sql|sh)\n(.*?)```", re.DOTALL)
ROWS = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("runbook") / "data", env=EXACT) as made:
        with made.connect() as connection:
            cursor = connection.cursor()
            for text in (
                "CREATE DATABASE Notes",
                "CREATE TABLE Notes.dbo.accident (moment datetime2(7))",
                "CREATE DATABASE Shop",
                "CREATE TABLE Shop.dbo.item (id int PRIMARY KEY, name nvarchar(40))",
                "BACKUP DATABASE Shop TO DISK = N'Shop.bak' WITH INIT",
                "INSERT INTO Shop.dbo.item VALUES " + ", ".join(f"({n}, N'item {n}')" for n in range(ROWS)),
            ):
                execute(cursor, text)
        yield made


def execute(cursor: Any, text: str) -> list[tuple[Any, ...]]:
    cursor.execute(text)
    found = cursor.fetchall() if cursor.description else []
    while cursor.nextset():
        continue
    return list(found)


def sections() -> dict[int, list[tuple[str, str]]]:
    """The blocks of each section, as (language, text)."""
    text = PAGE.read_text()
    heads = [*SECTION.finditer(text)]
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {
        int(head[1]): BLOCK.findall(text[head.end() : end]) for head, end in zip(heads, ends, strict=True)
    }


class Drill:
    def __init__(self, server: Running) -> None:
        self.server = server
        self._said = ""

    def run(self, number: int) -> None:
        """The blocks of a section. Raises AssertionError when a command fails."""
        blocks = sections()[number]
        assert blocks or number == 8
        for language, text in blocks:
            if language == "sql":
                self.sql(text)
            else:
                for line in text.strip().splitlines():
                    self.shell(line)

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        with self.server.connect() as connection:
            return execute(connection.cursor(), text)

    def shell(self, line: str) -> None:
        kept = re.search(r"Shop-\d{8}T\d+", self._said)
        line = line.replace("NAME", kept[0] if kept else "NAME")
        program, *arguments = shlex.split(line)
        assert program == "tdsproxy"
        done = subprocess.run(
            [sys.executable, "-m", "tdsproxy", *arguments],
            env={**os.environ, "TDSPROXY_STORE": str(self.server.store)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        self._said = done.stdout

    def rows(self) -> int:
        return int(self.sql("SELECT COUNT(*) FROM Shop.dbo.item")[0][0])

    # ------------------------------------------------------------------ accidents

    def delete(self, condition: str) -> None:
        self.sql("INSERT INTO Notes.dbo.accident VALUES (SYSDATETIME())")
        self.sql(f"DELETE FROM Shop.dbo.item WHERE {condition}")

    def lose_history(self) -> None:
        self.sql("EXEC msdb.dbo.sp_delete_backuphistory @oldest_date = '2100-01-01'")

    def break_chain(self) -> None:
        self.sql("ALTER DATABASE Shop SET RECOVERY SIMPLE; ALTER DATABASE Shop SET RECOVERY FULL")

    def lose_file(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self.server.store.joinpath(f"Shop.db{suffix}").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def drill(server: Running) -> Drill:
    return Drill(server)


STEPS: list[tuple[int, Callable[[Drill], object], int]] = [
    (0, lambda drill: drill.delete("id >= 40"), 40),
    (1, lambda drill: None, ROWS),
    (3, lambda drill: None, 40),
    (1, lambda drill: None, ROWS),
    (2, lambda drill: drill.delete("id < 5"), ROWS),
    (4, lambda drill: None, ROWS),
    (5, lambda drill: drill.lose_file(), ROWS),
    (6, lambda drill: drill.lose_history(), ROWS),
    (7, lambda drill: drill.break_chain(), ROWS),
    (8, lambda drill: None, ROWS),
    (9, lambda drill: None, ROWS),
]


def test_every_section_is_tried() -> None:
    assert sorted({number for number, _, _ in STEPS}) == sorted(sections())


def test_the_runbook_from_accident_to_proof(drill: Drill) -> None:
    for number, accident, rows in STEPS:
        accident(drill)
        try:
            drill.run(number)
        except Exception as error:
            raise AssertionError(f"section {number}: {error}") from error
        assert drill.rows() == rows, f"after section {number}"
