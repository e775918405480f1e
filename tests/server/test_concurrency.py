"""Several sessions at once: no update is lost, no error is SQLite's, every wait ends."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import apsw
import pytest

from tdsproxy.tsql.replies import Message, Reply
from tests.server.support import Client, World, errors, rows

LIMIT = 120.0


@pytest.fixture
def bank(world: World) -> World:
    """A world with the database ``bank``: ten accounts with 100 each."""
    sa = world.login()
    sa.run("CREATE DATABASE bank")
    sa.run("USE bank")
    sa.run("CREATE TABLE account (id int NOT NULL PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0))")
    sa.run("INSERT account VALUES " + ", ".join(f"({n}, 100)" for n in range(10)))
    return world


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(24) as made:
        yield made


def enter(world: World) -> Client:
    return world.login(database="bank")


def waits(world: World, client: Client) -> bool:
    """Whether a session stands in line for a lock."""
    return client.session.workspace._locker in world.engine.write_locks._wants


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.001)


def first_error(replies: list[Reply]) -> Message | None:
    found = errors(replies)
    return found[0] if found else None


# ---------------------------------------------------------------------- invariants


def test_transfers_keep_the_sum(bank: World, pool: ThreadPoolExecutor) -> None:
    """Transactions of two statements each; some are rolled back; a reader always sees the whole sum."""
    running = threading.Event()
    running.set()

    def transfer(seed: int) -> int:
        client, dice, made = enter(bank), random.Random(seed), 0
        for _ in range(25):
            source, target = dice.sample(range(10), 2)
            amount = dice.randrange(1, 60)
            end = "ROLLBACK" if dice.random() < 0.2 else "COMMIT"
            replies = client.replies(
                "BEGIN TRAN; BEGIN TRY"
                f" UPDATE account SET balance = balance - {amount} WHERE id = {source};"
                f" UPDATE account SET balance = balance + {amount} WHERE id = {target}; {end}"
                " END TRY BEGIN CATCH IF @@TRANCOUNT > 0 ROLLBACK; SELECT ERROR_NUMBER() END CATCH"
            )
            assert not errors(replies)
            assert all(row == (547,) for row in rows(replies)), rows(replies)
            made += 1
        return made

    def watch() -> int:
        client, looks = enter(bank), 0
        while running.is_set() or not looks:
            assert client.rows("SELECT SUM(balance), COUNT(*), MIN(balance) FROM account")[0][:2] == (
                1000,
                10,
            )
            looks += 1
        return looks

    watcher = pool.submit(watch)
    done = [pool.submit(transfer, seed) for seed in range(6)]
    assert sum(each.result(LIMIT) for each in done) == 150
    running.clear()
    assert watcher.result(LIMIT) > 0
    assert enter(bank).value("SELECT SUM(balance) FROM account") == 1000


@pytest.mark.parametrize("hint", ["UPDLOCK", "XLOCK, ROWLOCK", "HOLDLOCK"])
def test_rows_read_with_a_locking_hint_are_not_changed_by_others(
    bank: World, pool: ThreadPoolExecutor, hint: str
) -> None:
    def add() -> None:
        client = enter(bank)
        for _ in range(15):
            client.run(
                f"BEGIN TRAN; DECLARE @b int; SELECT @b = balance FROM account WITH ({hint}) WHERE id = 1;"
                " UPDATE account SET balance = @b + 1 WHERE id = 1; COMMIT"
            )

    for each in [pool.submit(add) for _ in range(4)]:
        each.result(LIMIT)
    assert enter(bank).value("SELECT balance FROM account WHERE id = 1") == 160


def test_insert_where_not_exists_under_a_lock_makes_one_row(bank: World, pool: ThreadPoolExecutor) -> None:
    enter(bank).run("CREATE TABLE seen (word nvarchar(20))")

    def note() -> None:
        client = enter(bank)
        for number in range(10):
            client.run(
                "BEGIN TRAN; IF NOT EXISTS (SELECT * FROM seen WITH (UPDLOCK, HOLDLOCK)"
                f" WHERE word = N'w{number}') INSERT seen VALUES (N'w{number}'); COMMIT"
            )

    for each in [pool.submit(note) for _ in range(5)]:
        each.result(LIMIT)
    assert enter(bank).value("SELECT COUNT(*) FROM seen") == 10


def test_serializable_counters_lose_nothing(bank: World, pool: ThreadPoolExecutor) -> None:
    """Read, then write: who comes too late is the victim of a deadlock, and tries again."""

    def add() -> tuple[int, int]:
        client, done, victims = enter(bank), 0, 0
        client.run("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        while done < 10:
            failure = first_error(
                client.replies(
                    "BEGIN TRAN; DECLARE @b int = (SELECT balance FROM account WHERE id = 2);"
                    " UPDATE account SET balance = @b + 1 WHERE id = 2; COMMIT"
                )
            )
            if failure is None:
                done += 1
            else:
                assert failure.number == 1205
                assert client.value("SELECT @@TRANCOUNT") == 0
                victims += 1
        return done, victims

    total = sum(each.result(LIMIT)[0] for each in [pool.submit(add) for _ in range(4)])
    assert enter(bank).value("SELECT balance FROM account WHERE id = 2") == 100 + total


# ---------------------------------------------------------------------- isolation levels


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE", "SNAPSHOT"])
def test_a_transaction_reads_one_moment(bank: World, level: str) -> None:
    reader, writer = enter(bank), enter(bank)
    reader.run(f"SET TRANSACTION ISOLATION LEVEL {level}; BEGIN TRAN")
    writer.run("UPDATE account SET balance = 1 WHERE id = 0")
    assert reader.value("SELECT balance FROM account WHERE id = 0") == 1  # the moment of the first look
    writer.run("UPDATE account SET balance = 2 WHERE id = 0; DELETE account WHERE id = 9")
    assert reader.value("SELECT balance FROM account WHERE id = 0") == 1
    assert reader.value("SELECT COUNT(*) FROM account") == 10
    assert reader.value("DECLARE @n int = (SELECT COUNT(*) FROM account); SELECT @n") == 10
    reader.run("COMMIT")
    assert reader.value("SELECT balance FROM account WHERE id = 0") == 2


def test_read_committed_sees_each_commit(bank: World) -> None:
    reader, writer = enter(bank), enter(bank)
    reader.run("BEGIN TRAN")
    assert reader.value("SELECT COUNT(*) FROM account") == 10
    writer.run("BEGIN TRAN; DELETE account WHERE id = 3")
    assert reader.value("SELECT COUNT(*) FROM account") == 10
    writer.run("COMMIT")
    assert reader.value("SELECT COUNT(*) FROM account") == 9


def test_a_snapshot_that_writes_too_late_is_aborted(bank: World) -> None:
    late, other = enter(bank), enter(bank)
    late.run("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN; SELECT * FROM account")
    other.run("UPDATE account SET balance = 5 WHERE id = 1")
    assert late.error("UPDATE account SET balance = 6 WHERE id = 1") == 3960
    assert late.value("SELECT @@TRANCOUNT") == 0
    assert late.value("SELECT balance FROM account WHERE id = 1") == 5


def test_a_temporary_table_first_makes_no_stale_snapshot(bank: World, pool: ThreadPoolExecutor) -> None:
    first, second = enter(bank), enter(bank)
    first.run("CREATE TABLE #t (a int)")
    first.run("BEGIN TRAN; INSERT #t VALUES (1)")
    change = pool.submit(second.run, "UPDATE account SET balance = balance + 1 WHERE id = 1")
    until(lambda: waits(bank, second))
    first.run("UPDATE account SET balance = balance + 10 WHERE id = 1; COMMIT")
    change.result(LIMIT)
    assert first.rows("SELECT balance, (SELECT COUNT(*) FROM #t) FROM account WHERE id = 1") == [(111, 1)]


def test_a_table_variable_takes_no_part_in_the_transaction(bank: World) -> None:
    first, second = enter(bank), enter(bank)
    made = first.session.run_batch(
        "BEGIN TRAN; DECLARE @t TABLE (a int); INSERT @t VALUES (1); SELECT 1;"
        " SELECT balance FROM account WHERE id = 1; UPDATE account SET balance = balance + 1 WHERE id = 1;"
        " SELECT balance, (SELECT COUNT(*) FROM @t) FROM account WHERE id = 1; ROLLBACK;"
        " SELECT COUNT(*) FROM @t"
    )
    seen: list[Reply] = []
    for reply in made:  # the batch goes on as its replies are taken
        seen.append(reply)
        if rows([reply]) == [(1,)]:
            second.run("UPDATE account SET balance = 7 WHERE id = 1")
            break
    seen += list(made)
    assert not errors(seen)
    assert rows(seen) == [(1,), (7,), (8, 1), (1,)]


# ---------------------------------------------------------------------- waits and deadlocks


def test_a_lock_is_handed_on_in_the_order_of_asking(bank: World, pool: ThreadPoolExecutor) -> None:
    enter(bank).run("CREATE TABLE log (n int IDENTITY, who int)")
    holder = enter(bank)
    holder.run("BEGIN TRAN; INSERT log VALUES (-1)")
    line: list[Future[None]] = []
    for number in range(5):
        client = enter(bank)
        line.append(pool.submit(client.run, f"INSERT log VALUES ({number})"))
        until(lambda client=client: waits(bank, client))  # type: ignore[misc]
    holder.run("COMMIT")
    for each in line:
        each.result(LIMIT)
    assert enter(bank).rows("SELECT who FROM log ORDER BY n") == [(-1,), (0,), (1,), (2,), (3,), (4,)]


def test_lock_timeout_leaves_the_transaction_as_it_was(bank: World) -> None:
    holder, client = enter(bank), enter(bank)
    holder.run("BEGIN TRAN; UPDATE account SET balance = 0 WHERE id = 0")
    client.run("SET LOCK_TIMEOUT 20; BEGIN TRAN")
    assert client.error("UPDATE account SET balance = 1 WHERE id = 1") == 1222
    assert client.value("SELECT @@TRANCOUNT") == 1
    holder.run("COMMIT")
    assert client.value("SELECT balance FROM account WHERE id = 0") == 0  # no snapshot of before was kept
    client.run("UPDATE account SET balance = 1 WHERE id = 1; COMMIT")
    assert client.rows("SELECT balance FROM account WHERE id < 2 ORDER BY id") == [(0,), (1,)]


def test_of_two_databases_locked_crosswise_one_session_gives_way(
    bank: World, pool: ThreadPoolExecutor
) -> None:
    enter(bank).run("CREATE DATABASE other")
    enter(bank).run("CREATE TABLE other.dbo.t (a int)")
    one, two = enter(bank), enter(bank)
    one.run("BEGIN TRAN; UPDATE account SET balance = 1 WHERE id = 1")
    two.run("BEGIN TRAN; INSERT other.dbo.t VALUES (1)")
    waiting = pool.submit(one.replies, "INSERT other.dbo.t VALUES (2); COMMIT")
    until(lambda: waits(bank, one))
    failure = first_error(two.replies("UPDATE account SET balance = 2 WHERE id = 1; COMMIT"))
    assert failure is not None
    assert failure.number == 1205
    assert f"(Process ID {two.session.spid})" in failure.text
    assert not errors(waiting.result(LIMIT))
    assert two.value("SELECT @@TRANCOUNT") == 0
    assert two.rows(
        "SELECT (SELECT balance FROM account WHERE id = 1), MAX(a), COUNT(*) FROM other.dbo.t"
    ) == [(1, 2, 1)]


def test_cancelling_a_wait_ends_it_at_once_and_leaves_no_place_in_line(
    bank: World, pool: ThreadPoolExecutor
) -> None:
    holder, client, third = enter(bank), enter(bank), enter(bank)
    holder.run("BEGIN TRAN; DELETE account WHERE id = 0")
    client.run("BEGIN TRAN")
    waiting = pool.submit(client.replies, "DELETE account WHERE id = 1")
    until(lambda: waits(bank, client))
    client.session.cancel()
    assert not errors(waiting.result(LIMIT))
    assert client.value("SELECT @@TRANCOUNT") == 1
    client.run("ROLLBACK")
    holder.run("COMMIT")
    third.run("DELETE account WHERE id = 2")
    assert third.value("SELECT COUNT(*) FROM account") == 8


@pytest.mark.parametrize("end", ["kill", "close"])
def test_a_session_that_ends_gives_up_its_locks(bank: World, pool: ThreadPoolExecutor, end: str) -> None:
    gone, waiting = enter(bank), enter(bank)
    gone.run("BEGIN TRAN; UPDATE account SET balance = 0")
    blocked = pool.submit(waiting.run, "UPDATE account SET balance = balance + 1 WHERE id = 1")
    until(lambda: waits(bank, waiting))
    getattr(gone.session, end)()
    blocked.result(LIMIT)
    assert waiting.value("SELECT SUM(balance) FROM account") == 1001


def test_two_sessions_that_kill_each_other_both_end(bank: World, pool: ThreadPoolExecutor) -> None:
    one, two = enter(bank), enter(bank)
    loop = "DECLARE @n int = 0; WHILE @n < 50 BEGIN SET @n += 1; KILL {spid} END"
    running = [
        pool.submit(one.replies, loop.format(spid=two.session.spid)),
        pool.submit(two.replies, loop.format(spid=one.session.spid)),
    ]
    for each in running:
        each.exception(LIMIT)
    assert enter(bank).value("SELECT COUNT(*) FROM account") == 10


# ---------------------------------------------------------------------- statements are whole or not at all


def test_a_failing_statement_takes_only_itself_back(bank: World) -> None:
    client = enter(bank)
    client.run(
        "CREATE TABLE parent (id int PRIMARY KEY);"
        " CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent(id) ON DELETE CASCADE);"
        " CREATE TABLE guard (c int REFERENCES child(id));"
        " INSERT parent VALUES (1), (2), (3); INSERT child VALUES (10, 1), (20, 2), (30, 3);"
        " INSERT guard VALUES (30)"
    )
    client.run("BEGIN TRAN; INSERT parent VALUES (4)")
    assert client.error("INSERT parent VALUES (5), (6), (1), (7)") == 2627
    assert client.error("INSERT parent SELECT id + 3 FROM parent") == 2627
    assert client.error("DELETE parent") == 547  # the cascade to child 30 meets guard
    assert client.error("UPDATE c SET p = 99 FROM child c JOIN parent p ON p.id = c.p") == 547
    assert client.error("UPDATE account SET balance = balance - id * 20") == 547
    assert client.value("SELECT @@TRANCOUNT") == 1
    client.run("COMMIT")
    assert client.rows("SELECT id FROM parent ORDER BY id") == [(1,), (2,), (3,), (4,)]
    assert client.rows("SELECT id, p FROM child ORDER BY id") == [(10, 1), (20, 2), (30, 3)]
    assert client.value("SELECT SUM(balance) FROM account") == 1000


def test_keys_may_be_exchanged_within_a_statement(bank: World) -> None:
    client = enter(bank)
    client.run(
        "CREATE TABLE pair (id int PRIMARY KEY, code varchar(10) NOT NULL UNIQUE, note nvarchar(10));"
        " INSERT pair VALUES (1, 'a', N'x'), (2, 'b', N'y'), (3, 'c', N'z');"
        " CREATE TABLE leaf (p int REFERENCES pair(id)); INSERT leaf VALUES (1), (2)"
    )
    client.run("UPDATE pair SET code = CASE code WHEN 'a' THEN 'b' ELSE 'a' END WHERE id < 3")
    client.run("UPDATE pair SET id = CASE id WHEN 1 THEN 2 WHEN 2 THEN 3 ELSE 1 END")
    assert client.rows("SELECT id, code, note FROM pair ORDER BY id") == [
        (1, "c", "z"),
        (2, "b", "x"),
        (3, "a", "y"),
    ]
    assert client.error("UPDATE pair SET code = CASE id WHEN 1 THEN 'b' ELSE 'a' END") == 2627
    assert client.error("UPDATE pair SET id = CASE id WHEN 1 THEN 2 WHEN 2 THEN 7 ELSE 8 END") == 547
    assert client.value("SELECT COUNT(*) FROM leaf l JOIN pair p ON p.id = l.p") == 2


@pytest.mark.parametrize("explicit", [False, True])
def test_an_attention_takes_the_running_statement_back(
    bank: World, pool: ThreadPoolExecutor, explicit: bool
) -> None:
    client = enter(bank)
    client.run("CREATE TABLE many (id int PRIMARY KEY, v int)")
    client.run("INSERT many SELECT a.id * 100 + b.id * 10 + c.id, 0 FROM account a, account b, account c")
    if explicit:
        client.run("BEGIN TRAN; INSERT many VALUES (-1, 0)")
    running = pool.submit(client.replies, "WHILE 1 = 1 UPDATE many SET v = v + 1")
    until(lambda: client.session.activity.running)
    time.sleep(0.05)
    client.session.cancel()
    assert not errors(running.result(LIMIT))
    assert client.value("SELECT COUNT(DISTINCT v) FROM many WHERE id >= 0") == 1  # none half
    if explicit:
        assert client.value("SELECT @@TRANCOUNT") == 1
        client.run("COMMIT")
        assert enter(bank).value("SELECT COUNT(*) FROM many") == 1001


# ---------------------------------------------------------------------- identity, rowversion, #tables


def test_identity_values_are_given_once(bank: World, pool: ThreadPoolExecutor) -> None:
    enter(bank).run("CREATE TABLE a (id int IDENTITY PRIMARY KEY, who int)")
    enter(bank).run("CREATE TABLE b (id int IDENTITY(100, 10), who int)")

    def add(who: int) -> list[object]:
        client, given = enter(bank), []
        for _ in range(10):
            given += client.rows(f"INSERT a VALUES ({who}); SELECT SCOPE_IDENTITY()")[0]
            client.run(f"INSERT b VALUES ({who}); DELETE b WHERE id = SCOPE_IDENTITY()")
        return given

    every = [number for each in [pool.submit(add, who) for who in range(6)] for number in each.result(LIMIT)]
    assert sorted(map(int, every)) == list(range(1, 61))  # type: ignore[call-overload]
    client = enter(bank)
    client.run("DELETE a WHERE id = 60; INSERT a VALUES (0); INSERT b VALUES (0)")
    assert client.value("SELECT MAX(id) FROM a") == 61
    assert client.value("SELECT id FROM b") == 100 + 60 * 10


def test_rowversions_never_come_twice(bank: World, pool: ThreadPoolExecutor) -> None:
    enter(bank).run("CREATE TABLE v (id int PRIMARY KEY, n int, stamp rowversion)")
    enter(bank).run("INSERT v(id, n) VALUES (1, 0), (2, 0)")

    def change(row: int) -> list[bytes]:
        client, seen = enter(bank), []
        for _ in range(15):
            made = client.value(f"UPDATE v SET n = n + 1 OUTPUT inserted.stamp WHERE id = {row}")
            assert isinstance(made, bytes)
            seen.append(made)
        return seen

    lists = [each.result(LIMIT) for each in [pool.submit(change, 1 + n % 2) for n in range(4)]]
    stamps = [stamp for each in lists for stamp in each]
    assert len(set(stamps)) == 60
    assert all(each == sorted(each) for each in lists)


def test_each_session_has_its_own_temporary_table(bank: World, pool: ThreadPoolExecutor) -> None:
    def use(number: int) -> object:
        client = enter(bank)
        client.run(f"CREATE TABLE #mine (n int); INSERT #mine VALUES ({number})")
        for _ in range(5):
            client.run("UPDATE #mine SET n = n + (SELECT COUNT(*) FROM account WHERE id = 1)")
        return client.value("SELECT SUM(n) FROM #mine")

    done = [pool.submit(use, number) for number in range(8)]
    assert [each.result(LIMIT) for each in done] == [number + 5 for number in range(8)]


# ---------------------------------------------------------------------- DDL beside others


def test_columns_added_by_two_sessions_are_both_there(bank: World, pool: ThreadPoolExecutor) -> None:
    """Each ALTER TABLE rebuilds the table: one that was planned before another must be planned anew."""

    def alter(session: int) -> None:
        client = enter(bank)
        for number in range(6):
            client.run(f"ALTER TABLE account ADD c{session}_{number} int NOT NULL DEFAULT {number}")

    def write() -> None:
        client = enter(bank)
        for _ in range(30):
            client.run("UPDATE account SET balance = balance + 1 WHERE id = 4")
            assert client.rows("SELECT * FROM account WHERE id = 5")[0][:2] == (5, 100)

    running = [pool.submit(alter, n) for n in range(3)] + [pool.submit(write) for _ in range(2)]
    for each in running:
        each.result(LIMIT)
    client = enter(bank)
    names = {
        str(row[0])
        for row in client.rows("SELECT name FROM sys.columns WHERE object_id = OBJECT_ID('account')")
    }
    assert names == {"id", "balance"} | {f"c{s}_{n}" for s in range(3) for n in range(6)}
    assert client.value("SELECT balance FROM account WHERE id = 4") == 160


def test_a_table_that_comes_and_goes_is_there_or_missing_never_an_internal_error(
    bank: World, pool: ThreadPoolExecutor
) -> None:
    def flip() -> None:
        client = enter(bank)
        for number in range(15):
            kind = "int" if number % 2 else "varchar(20)"
            client.run(
                f"CREATE TABLE flip (a {kind}, b int); INSERT flip VALUES (7, {number}); DROP TABLE flip"
            )

    def look() -> set[str]:
        client, texts = enter(bank), set()
        for _ in range(60):
            replies = client.replies("SELECT a, b FROM flip; INSERT flip VALUES (8, -1)")
            texts |= {message.text for message in errors(replies)}
            assert {str(row[0]) for row in rows(replies)} <= {"7", "8"}
        return texts

    looks = [pool.submit(look) for _ in range(3)]
    pool.submit(flip).result(LIMIT)
    for each in looks:
        assert each.result(LIMIT) <= {"Invalid object name 'flip'."}


def test_a_rebuild_that_fails_leaves_the_table_as_it_was(bank: World) -> None:
    client = enter(bank)
    client.run("CREATE TABLE w (id int IDENTITY PRIMARY KEY, t varchar(20) NOT NULL DEFAULT 'd')")
    client.run("CREATE INDEX ix ON w(t); INSERT w(t) VALUES ('1'), ('x')")
    path = client.session.workspace.database("bank").path

    def schema() -> list[tuple[str, ...]]:
        return apsw.Connection(str(path)).execute("SELECT sql FROM sqlite_schema ORDER BY 1").fetchall()

    before = schema()
    assert client.error("ALTER TABLE w ALTER COLUMN t int") in (245, 8114, 5074)
    assert client.error("ALTER TABLE w ADD CONSTRAINT c CHECK (t <> 'x')") == 547
    assert schema() == before
    client.run("BEGIN TRAN; ALTER TABLE w ADD n int NULL; INSERT w(t, n) VALUES ('y', 3); ROLLBACK")
    assert schema() == before
    client.run("INSERT w DEFAULT VALUES")
    assert client.rows("SELECT t FROM w ORDER BY id") == [("1",), ("x",), ("d",)]


@pytest.mark.parametrize("explicit", [False, True])
def test_a_cancelled_rebuild_leaves_the_table_as_it_was(
    bank: World, pool: ThreadPoolExecutor, explicit: bool
) -> None:
    client = enter(bank)
    client.run("CREATE TABLE big (id int PRIMARY KEY, v varchar(100))")
    client.run(
        "INSERT big SELECT a.id * 1000 + b.id * 100 + c.id * 10 + d.id, REPLICATE('v', 100)"
        " FROM account a, account b, account c, account d"
    )
    if explicit:
        client.run("BEGIN TRAN; DELETE big WHERE id = 0")
    altering = pool.submit(
        client.replies, "ALTER TABLE big ADD n int NOT NULL DEFAULT 1; WAITFOR DELAY '00:00:20'"
    )
    until(lambda: client.session.activity.running)
    time.sleep(0.03)
    client.session.cancel()
    assert not errors(altering.result(LIMIT))
    if explicit:
        assert client.value("SELECT @@TRANCOUNT") == 1
        client.run("COMMIT")
    assert client.value("SELECT COUNT(*) FROM big") == 10000 - explicit
    assert client.value("SELECT COUNT(*) FROM sys.columns WHERE object_id = OBJECT_ID('big')") in (2, 3)
    assert client.value("DBCC CHECKDB WITH NO_INFOMSGS; SELECT 1") == 1


# ---------------------------------------------------------------------- other processes

WRITER = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for n in range(int(sys.argv[2])):
    c.execute("BEGIN IMMEDIATE")
    (old,) = c.execute("SELECT balance FROM account WHERE id = 7").fetchone()
    c.execute("UPDATE account SET balance = ? WHERE id = 7", (old + 1,))
    c.execute("COMMIT")
"""


def _python(code: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)])


def test_writers_of_other_processes_lose_nothing(bank: World, pool: ThreadPoolExecutor) -> None:
    path = enter(bank).session.engine.resolve("bank").path  # type: ignore[union-attr]
    others = [_python(WRITER, path, 60) for _ in range(2)]

    def add() -> None:
        client = enter(bank)
        for _ in range(30):
            client.run(
                "BEGIN TRAN; DECLARE @b int; SELECT @b = balance FROM account WITH (UPDLOCK) WHERE id = 7;"
                " UPDATE account SET balance = @b + 1 WHERE id = 7; COMMIT;"
                " UPDATE account SET balance = balance + 1 WHERE id = 7"
            )

    for each in [pool.submit(add) for _ in range(3)]:
        each.result(LIMIT)
    assert [other.wait(LIMIT) for other in others] == [0, 0]
    assert enter(bank).value("SELECT balance FROM account WHERE id = 7") == 100 + 2 * 60 + 3 * 60


CHANGER = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
for n in range(12):
    c.execute(f"ALTER TABLE plain ADD COLUMN c{n} INTEGER DEFAULT {n}")
    c.execute("INSERT INTO plain (id) VALUES (?)", (1000 + n,))
    c.execute("VACUUM")
c.execute("CREATE TABLE theirs (a INTEGER)")
c.execute("INSERT INTO theirs VALUES (42)")
"""


def test_schema_changes_and_vacuum_by_other_processes(bank: World, pool: ThreadPoolExecutor) -> None:
    client = enter(bank)
    client.run("CREATE TABLE plain (id int NOT NULL, v int)")  # a heap: VACUUM may number its rows anew
    client.run("INSERT plain VALUES (1, 0), (2, 0), (3, 0); DELETE plain WHERE id = 1")
    path = client.session.engine.resolve("bank").path  # type: ignore[union-attr]
    assert path is not None
    other = _python(CHANGER, path)

    def add(row: int) -> None:
        mine = enter(bank)
        for _ in range(25):
            mine.run(f"UPDATE plain SET v = v + 1 WHERE id = {row}")

    for each in [pool.submit(add, row) for row in (2, 3)]:
        each.result(LIMIT)
    assert other.wait(LIMIT) == 0
    assert client.rows("SELECT id, v FROM plain WHERE id < 1000 ORDER BY id") == [(2, 25), (3, 25)]
    assert len(client.rows("SELECT * FROM plain WHERE id = 1011")[0]) == 14
    assert client.value("SELECT a FROM theirs") == 42


# ---------------------------------------------------------------------- many sessions, durability of commits


@pytest.mark.slow
def test_a_hundred_sessions_at_once(bank: World, pool: ThreadPoolExecutor) -> None:
    clients = [enter(bank) for _ in range(100)]
    assert len({client.session.spid for client in clients}) == 100
    work = [pool.submit(c.run, "UPDATE account SET balance = balance + 1 WHERE id = 8") for c in clients]
    for each in work:
        each.result(LIMIT)
    assert clients[99].value("SELECT balance FROM account WHERE id = 8") == 200
    for client in clients:
        client.session.close()


def test_every_attached_database_syncs_its_commits(bank: World) -> None:
    client = enter(bank)
    client.run("CREATE DATABASE second")
    client.run(
        "BEGIN TRAN; UPDATE account SET balance = 1 WHERE id = 1; SELECT COUNT(*) FROM second.sys.tables;"
        " COMMIT"
    )
    client.run("CREATE TABLE second.dbo.t (a int)")
    workspace = client.session.workspace

    def levels() -> dict[str, tuple[object, object]]:
        return {
            file.name: (
                workspace.value(f"PRAGMA d{file.database_id}.synchronous"),
                workspace.value(f"PRAGMA d{file.database_id}.journal_mode"),
            )
            for file in workspace.attached()
        }

    assert levels()["bank"] == levels()["second"] == (2, "wal")
    client.session.release("bank")
    client.run("BEGIN TRAN; SELECT 1; INSERT second.dbo.t VALUES (1); SELECT COUNT(*) FROM account; COMMIT")
    assert levels()["bank"] == (2, "wal")


def test_a_single_user_database_has_one_writer(bank: World) -> None:
    owner, other = enter(bank), enter(bank)
    other.run("USE master")
    owner.run("ALTER DATABASE bank SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
    assert other.error("UPDATE bank.dbo.account SET balance = 0") == 924
    owner.run("UPDATE account SET balance = 3 WHERE id = 3; ALTER DATABASE bank SET MULTI_USER")
    other.run("UPDATE bank.dbo.account SET balance = 4 WHERE id = 4")
    assert owner.rows("SELECT balance FROM account WHERE id IN (3, 4) ORDER BY id") == [(3,), (4,)]
