"""Scripts that administrators keep, run unchanged through the proxy: what their headers say must come out."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.tsql.script import split_batches
from tests.running import Running, start

DATABASES = "SELECT name FROM sys.databases WHERE database_id > 4 ORDER BY source_database_id DESC"


@dataclass
class Outcome:
    """What a script's batches gave, in order: rows of result sets, texts of messages, texts of errors."""

    sets: list[list[tuple[Any, ...]]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def done(self) -> list[str]:
        """The statements that said they succeeded, by their names in 3014."""
        return [line.split(" successfully")[0] for line in self.said if " successfully processed" in line]

    def printed(self) -> list[str]:
        """What is neither progress, nor the end of a backup, nor a change of the database."""
        known = re.compile(r"Processed \d|.* successfully processed |Changed database context|\d+ percent")
        return [line for line in self.said if not known.match(line)]


class Scripts:
    """One server; each script gets the databases of the fixture anew."""

    def __init__(self, server: Running, directory: Path) -> None:
        self.server = server
        self._directory = directory
        self._connection = server.connect()

    def run(self, text: str) -> Outcome:
        found = Outcome()
        for batch in split_batches(text):
            for _ in range(batch.count):
                self._run(batch.text, found)
        return found

    def _run(self, text: str, found: Outcome) -> None:
        cursor = self._connection.cursor()
        try:
            cursor.execute(text)
            while True:
                if cursor.description:
                    found.sets.append([tuple(row) for row in cursor.fetchall()])
                if not cursor.nextset():
                    break
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "pytds":
                raise
            found.errors.append(str(error.args[0]))
        found.said += [str(error.args[0]) for _, error in cursor.messages]

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        return self.run(text).sets[-1]

    def script(self, name: str) -> Outcome:
        self._connection.close()
        self._connection = self.server.connect()
        for (database,) in self.rows(DATABASES):
            assert self.run(f"DROP DATABASE [{database}]").errors == []
        for path in self.server.backup_directory.iterdir():
            if path.is_file():
                path.unlink()
        self.run("DELETE FROM msdb.dbo.restorehistory")
        fixture = self.run((self._directory / "00-fixture.sql").read_text())
        assert fixture.errors == []
        (path,) = self._directory.glob(f"{name}-*.sql")
        return self.run(path.read_text())

    def history(self, columns: str) -> list[tuple[Any, ...]]:
        """Of backups of the present SalesDB."""
        text = (
            f"SELECT {columns} FROM msdb.dbo.backupset WHERE database_guid = (SELECT database_guid FROM"
            " sys.database_recovery_status WHERE database_id = DB_ID('SalesDB')) ORDER BY backup_set_id"
        )
        return self.rows(text)

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Scripts]:
    server = start(tmp_path_factory.mktemp("scripts") / "store")
    found = Scripts(server, shared / "admin-scripts")
    try:
        yield found
    finally:
        found.close()
        assert server.stop() == 0


BACKUP, DIFFERENTIAL, LOG = "BACKUP DATABASE", "BACKUP DATABASE WITH DIFFERENTIAL", "BACKUP LOG"
RESTORE, RESTORE_LOG = "RESTORE DATABASE", "RESTORE LOG"


def differential(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, DIFFERENTIAL]
    assert [row[1] for row in scripts.history("type, 1")] == [1, 1]
    assert scripts.rows("SELECT COUNT(*) FROM SalesDB.dbo.Orders") == [(120,)]
    (header,) = scripts.rows("RESTORE HEADERONLY FROM DISK = '/var/opt/mssql/backup/SalesDB_diff.bak'")
    assert header[2] == 5


def log_appended(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, LOG, LOG, LOG]
    ends = [line.rsplit("on ", 1)[1] for line in found.said if "file 'SalesDB_log'" in line]
    assert ends[1:] == ["file 1.", "file 2.", "file 3."]
    headers, gaps = found.sets
    assert [(row[0], row[2], row[5]) for row in headers] == [("SalesDB log", 2, n) for n in (1, 2, 3)]
    assert gaps == [(0,)]
    logs = [row for row in scripts.history("type, first_lsn, last_lsn, media_set_id") if row[0] == "L"]
    assert [row[1] for row in logs[1:]] == [row[2] for row in logs[:-1]]
    assert len({row[3] for row in logs}) == 1


def stopat(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, DIFFERENTIAL, LOG, LOG, RESTORE, RESTORE, RESTORE_LOG, RESTORE_LOG]
    assert found.sets == [[("RESTORING",)], [(1, 0, 102, "ONLINE")]]
    restores = scripts.rows(
        "SELECT restore_type, recovery, stop_at FROM msdb.dbo.restorehistory"
        " WHERE destination_database_name = 'SalesDB_PIT' ORDER BY restore_history_id"
    )
    assert [row[:2] for row in restores] == [("D", False), ("I", False), ("L", False), ("L", True)]
    assert restores[0][2] is restores[1][2] is None
    assert restores[2][2] == restores[3][2] is not None
    assert scripts.rows("SELECT COUNT(*) FROM SalesDB.dbo.Orders") == [(103,)]


def marked(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, LOG, RESTORE, RESTORE_LOG, RESTORE, RESTORE_LOG]
    assert found.sets[0][-1:] == [("price_rise", "ten percent up")]
    assert found.sets[-1] == [(Decimal("6944.00"), Decimal("6312.50"))]
    marks = scripts.rows(
        "SELECT stop_at_mark_name, stop_before FROM msdb.dbo.restorehistory WHERE restore_type = 'L'"
        " ORDER BY restore_history_id"
    )
    assert marks == [("price_rise", False), ("price_rise", True)]


def tail(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, LOG, RESTORE, RESTORE_LOG]
    assert found.printed() == ["in restore: 927"]
    assert found.sets == [[], [("RESTORING",)], [(101, "ONLINE")]]


def copy_only(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, BACKUP, LOG, DIFFERENTIAL]
    rows = scripts.history("type, is_copy_only, differential_base_guid, backup_set_uuid, first_lsn")
    first = rows[0][3]
    assert isinstance(first, uuid.UUID)
    assert [row[:3] for row in rows] == [
        ("D", False, None),
        ("D", True, None),
        ("L", True, None),
        ("I", False, first),
    ]
    base = "SELECT differential_base_guid FROM sys.master_files WHERE file_id = 1"
    assert scripts.rows(f"{base} AND database_id = DB_ID('SalesDB')") == [(first,)]
    scripts.run("BACKUP LOG SalesDB TO DISK = 'next.trn'")
    assert scripts.history("first_lsn")[-1][0] <= rows[2][4]


def snapshot(scripts: Scripts, found: Outcome) -> None:
    assert found.printed() == ["snapshot is read-only: 3906"]
    assert found.sets == [
        [("SalesDB_before", True, "SalesDB")],
        [(100, 0)],
        [(100, Decimal("6312.50"))],
        [(0,)],
    ]
    assert scripts.rows("SELECT destination_database_name, restore_type FROM msdb.dbo.restorehistory") == [
        ("SalesDB", "R")
    ]
    assert not list(scripts.server.store.glob("SalesDB_before*"))


def shipping(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, RESTORE, *[LOG] * 3, *[RESTORE_LOG] * 3, RESTORE]
    files = [f"SalesDB_00{number}.trn" for number in (1, 2, 3)]
    applied = [f"applied {name}" for name in files]
    assert found.printed() == [*applied, "applied 3, skipped 0", "applied 0, skipped 3"]
    assert found.sets == [[(103, True)], [(103, True)], [(103, False, "ONLINE")]]
    assert scripts.rows("SELECT FileName FROM DbaShip.dbo.Applied ORDER BY 1") == [(name,) for name in files]
    assert not (scripts.server.store / "Standby.tuf").exists()


CHECKS: dict[str, Callable[[Scripts, Outcome], None]] = {
    "06": differential,
    "07": log_appended,
    "13": stopat,
    "19": marked,
    "20": tail,
    "21": copy_only,
    "27": snapshot,
    "28": shipping,
}


@pytest.mark.parametrize("name", CHECKS)
def test_script(scripts: Scripts, name: str) -> None:
    found = scripts.script(name)
    assert found.errors == []
    CHECKS[name](scripts, found)
