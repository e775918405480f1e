"""Random work through the server, random backups and restores in between, then random moments: each restored
database must be what the journal of the work says."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytds
import pytest

from tests.running import running

OPERATIONS = 60
MOMENTS = 12
MOVE = "MOVE 'x' TO '/var/opt/mssql/data/y.mdf', MOVE 'x_log' TO '/var/opt/mssql/data/y.ldf'"


def run(connection: Any, text: str) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    cursor.execute(text)
    rows: list[tuple[Any, ...]] = []
    while True:
        if cursor.description:
            rows = [tuple(row) for row in cursor.fetchall()]
        if not cursor.nextset():
            return rows


class Work:
    """A table of numbers with texts, what it must hold, and what it held when."""

    def __init__(self, connections: list[Any], source: random.Random) -> None:
        self.connections = connections
        self.random = source
        self.state: dict[int, int] = {}
        self.journal: list[tuple[str, dict[int, int]]] = []
        self.restores = 0
        self.note()

    def note(self) -> None:
        now = run(self.connections[0], "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")[0][0]
        self.journal.append((now, dict(self.state)))

    def step(self) -> None:
        connection = self.random.choice(self.connections)
        choice = self.random.random()
        length = self.random.randrange(1, 3000)
        if choice < 0.5 or not self.state:
            number = self.random.randrange(10**8)
            run(connection, f"INSERT x.dbo.t VALUES ({number}, REPLICATE(N'a', {length}))")
            self.state[number] = length
        elif choice < 0.65:
            number = self.random.choice(list(self.state))
            run(connection, f"DELETE x.dbo.t WHERE n = {number}")
            del self.state[number]
        elif choice < 0.75:
            number = self.random.choice(list(self.state))
            run(connection, f"UPDATE x.dbo.t SET v = REPLICATE(N'b', {length}) WHERE n = {number}")
            self.state[number] = length
        elif choice < 0.8:
            run(connection, "BEGIN TRAN; DELETE x.dbo.t; ROLLBACK")
        elif choice < 0.87:
            self.back_up_log(connection)
        elif choice < 0.93:
            run(connection, "BACKUP DATABASE x TO DISK = 'x.dif' WITH DIFFERENTIAL")
        elif choice < 0.96:
            run(connection, f"CREATE TABLE x.dbo.u{length}_{self.random.randrange(10**6)} (a int)")
        else:
            moment, state = self.random.choice(self.journal)
            run(connection, f"RESTORE DATABASE x FROM DISK = 'x.bak' WITH REPLACE, STOPAT = '{moment}'")
            assert dict(run(connection, "SELECT n, LEN(v) FROM x.dbo.t")) == state, moment
            self.state = dict(state)
            self.restores += 1
        self.note()

    def back_up_log(self, connection: Any) -> None:
        """Log that lies on more than two forks fits into no log backup; a differential begins a new chain."""
        text = f"BACKUP LOG x TO DISK = 'log{self.random.randrange(3)}.trn'"
        try:
            run(connection, text)
        except pytds.Error as error:
            if "there is no current database backup" not in str(error) or self.restores < 2:
                raise
            run(connection, "BACKUP DATABASE x TO DISK = 'x.dif' WITH DIFFERENTIAL")
            run(connection, text)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_every_moment_comes_back(tmp_path: Path, seed: int) -> None:
    source = random.Random(seed)
    with running(tmp_path / "store") as server, server.connect() as one, server.connect() as other:
        run(one, "CREATE DATABASE x")
        run(one, "CREATE TABLE x.dbo.t (n int PRIMARY KEY, v nvarchar(3000))")
        run(one, "BACKUP DATABASE x TO DISK = 'x.bak'")
        work = Work([one, other], source)
        for _ in range(OPERATIONS):
            work.step()
        for moment, state in source.sample(work.journal, MOMENTS):
            run(one, f"RESTORE DATABASE y FROM DISK = 'x.bak' WITH REPLACE, {MOVE}, STOPAT = '{moment}'")
            assert dict(run(one, "SELECT n, LEN(v) FROM y.dbo.t")) == state, moment
