"""Sessions that write to one database at the same time wait for each other; none is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.running import Running

SESSIONS = 3
ROUNDS = 40


@pytest.mark.parametrize("explicit", [False, True], ids=["autocommit", "transaction"])
def test_writers_wait_for_each_other(served: Running, explicit: bool) -> None:
    name = f"contended{int(explicit)}"
    with served.connect() as connection:
        cursor = connection.cursor()
        for statement in (
            f"CREATE DATABASE {name}",
            f"CREATE TABLE {name}.dbo.journal (session int, n int, PRIMARY KEY (session, n))",
            f"CREATE TABLE {name}.dbo.account (id int PRIMARY KEY, balance int NOT NULL)",
            f"INSERT INTO {name}.dbo.account VALUES (1, 0)",
        ):
            cursor.execute(statement)

    def work(session: int) -> None:
        with served.connect() as own:
            own_cursor = own.cursor()
            for n in range(ROUNDS):
                sql = (
                    f"INSERT INTO {name}.dbo.journal VALUES ({session}, {n});"
                    f" UPDATE {name}.dbo.account SET balance = balance + 1 WHERE id = 1;"
                )
                own_cursor.execute(f"BEGIN TRANSACTION; {sql} COMMIT" if explicit else sql)
                while own_cursor.nextset():
                    continue

    with ThreadPoolExecutor(SESSIONS) as pool:
        for done in [pool.submit(work, session) for session in range(SESSIONS)]:
            done.result(timeout=200)
    with served.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT COUNT(*), (SELECT balance FROM {name}.dbo.account) FROM {name}.dbo.journal")
        assert tuple(cursor.fetchone()) == (SESSIONS * ROUNDS, SESSIONS * ROUNDS)
