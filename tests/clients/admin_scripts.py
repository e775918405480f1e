"""Runs scripts that administrators keep, unchanged, and keeps what came back: batch by batch."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytds

from tdsproxy.tsql.script import split_batches
from tests.running import Running

DATABASES = "SELECT name FROM sys.databases WHERE database_id > 4 ORDER BY source_database_id DESC"
FIRST_ERROR_SEVERITY = 11
IN_USE = 3702
LIMIT = 60.0

BACKUP, DIFFERENTIAL, LOG = "BACKUP DATABASE", "BACKUP DATABASE WITH DIFFERENTIAL", "BACKUP LOG"
RESTORE, RESTORE_LOG = "RESTORE DATABASE", "RESTORE LOG"

_ORDINARY = frozenset({3014, 3211, 4035, 5701, 5703})
"""Progress, the end of a backup or restore, changes of database and language."""


@dataclass(frozen=True)
class Said:
    """A message of the server."""

    number: int
    severity: int
    state: int
    text: str


@dataclass(frozen=True)
class Set:
    """A result set: its columns' names, and its rows."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass
class Outcome:
    """What batches gave, in order; ``batches`` has it for each batch."""

    results: list[Set] = field(default_factory=list)
    messages: list[Said] = field(default_factory=list)
    batches: list[Outcome] = field(default_factory=list)

    @property
    def sets(self) -> list[list[tuple[Any, ...]]]:
        return [each.rows for each in self.results]

    @property
    def said(self) -> list[str]:
        return [each.text for each in self.messages if each.severity < FIRST_ERROR_SEVERITY]

    @property
    def errors(self) -> list[Said]:
        return [each for each in self.messages if each.severity >= FIRST_ERROR_SEVERITY]

    @property
    def refusals(self) -> list[tuple[int, int]]:
        """Numbers and severities of the errors."""
        return [(each.number, each.severity) for each in self.errors]

    def done(self) -> list[str]:
        """The statements that said they succeeded, by their names in 3014."""
        return [each.text.split(" successfully")[0] for each in self.messages if each.number == 3014]

    def printed(self) -> list[str]:
        """What is neither progress, nor the end of a backup, nor a change of the database, nor an error."""
        return [
            each.text
            for each in self.messages
            if each.number not in _ORDINARY and each.severity < FIRST_ERROR_SEVERITY
        ]

    def percents(self) -> list[int]:
        return [int(each.text.split()[0]) for each in self.messages if each.number == 3211]

    def pages(self) -> list[str]:
        """The lines about pages, with N for their count."""
        lines = [each.text for each in self.messages if each.number == 4035]
        return [re.sub(r"Processed \d+ pages", "Processed N pages", line) for line in lines]

    def add(self, batch: Outcome) -> None:
        self.batches.append(batch)
        self.results += batch.results
        self.messages += batch.messages


def run_batch(connection: Any, text: str) -> Outcome:
    """One batch on a pytds connection, read to its end also behind errors."""
    found = Outcome()
    cursor = connection.cursor()
    seen: Any = None
    more = _kept(lambda: cursor.execute(text))
    while more:
        # What a statement without rows leaves here is the description before it.
        if cursor.description and cursor.description is not seen:
            seen = cursor.description
            rows: list[tuple[Any, ...]] = []
            found.results.append(Set(tuple(column[0] for column in seen), rows))
            _kept(lambda rows=rows: rows.extend(tuple(row) for row in iter(cursor.fetchone, None)))
        more = _kept(cursor.nextset)
    found.messages += [
        Said(error.number, error.severity, error.state, error.text) for _, error in cursor.messages
    ]
    return found


def _kept(step: Callable[[], Any]) -> bool:
    """Whether something may follow ``step``: behind an error of the server it does."""
    try:
        return step() not in (None, False) or step.__name__ == "<lambda>"
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "pytds":
            raise
        return not isinstance(error, pytds.tds_base.ClosedConnectionError)


class Scripts:
    """One server; each script gets the databases of the fixture anew."""

    def __init__(self, server: Running, directory: Path, owner: Running | None = None) -> None:
        """``owner`` is the server behind a proxy, where that is another process."""
        self.server = server
        self.owner = owner or server
        self._directory = directory
        self.connection = server.connect()

    # ------------------------------------------------------------------ running

    def run(self, text: str) -> Outcome:
        """As a client that knows GO runs it."""
        found = Outcome()
        for batch in split_batches(text):
            for _ in range(batch.count):
                found.add(run_batch(self.connection, batch.text))
        return found

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        found = self.run(text)
        assert found.errors == []
        return found.sets[-1]

    def text(self, name: str) -> str:
        (path,) = self._directory.glob(f"{name}-*.sql")
        return path.read_text()

    def script(self, name: str) -> Outcome:
        self.fresh()
        return self.run(self.text(name))

    def fresh(self) -> None:
        """The fixture's databases alone, no history, no files, no jobs; a session of its own."""
        self.reconnect()
        for (database,) in self.rows(DATABASES):
            self._drop(database)
        tomorrow = "DECLARE @d datetime = DATEADD(day, 1, GETDATE()) EXEC msdb.dbo.sp_delete_backuphistory @d"
        assert self.run(tomorrow).errors == []
        # The revert to a snapshot has no backup set to go with.
        assert self.run("DELETE FROM msdb.dbo.restorehistory").errors == []
        for path in self.backups.iterdir():
            if path.is_file():
                path.unlink()
            else:
                shutil.rmtree(path)
        assert self.run(self.text("00")).errors == []

    def _drop(self, database: str) -> None:
        """As soon as it is free: who has closed his connection is in it until the server has seen that."""
        deadline = time.monotonic() + LIMIT
        while errors := self.run(f"DROP DATABASE [{database}]").errors:
            assert [each.number for each in errors] == [IN_USE], errors
            assert time.monotonic() < deadline, errors
            time.sleep(0.02)

    def reconnect(self) -> None:
        self.connection.close()
        self.connection = self.server.connect()

    def close(self) -> None:
        self.connection.close()

    # ------------------------------------------------------------------ looking

    @property
    def backups(self) -> Path:
        return self.server.backup_directory

    def files(self) -> set[str]:
        """What lies in the backup directory."""
        return {str(path.relative_to(self.backups)) for path in self.backups.rglob("*") if path.is_file()}

    def history(self, columns: str) -> list[tuple[Any, ...]]:
        return self.rows(f"SELECT {columns} FROM msdb.dbo.backupset ORDER BY backup_set_id")

    def restores(self, columns: str) -> list[tuple[Any, ...]]:
        return self.rows(f"SELECT {columns} FROM msdb.dbo.restorehistory ORDER BY restore_history_id")

    def headers(self, file: str) -> list[Mapping[str, Any]]:
        """RESTORE HEADERONLY of a file in the backup directory."""
        found = self.run(f"RESTORE HEADERONLY FROM DISK = N'/var/opt/mssql/backup/{file}'")
        assert found.errors == []
        (listed,) = found.results
        return [dict(zip(listed.columns, row, strict=True)) for row in listed.rows]
